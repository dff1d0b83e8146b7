"""What charts are drawn on: an SVG document, or a PNG image by Pillow. Positions are pixels from the upper left.

Pillow is wanted for PNG only (`pip install echomox[plots]`); without it `png` raises `NoPillow`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import import_module
from io import BytesIO
from typing import Any, Protocol

Points = Sequence[tuple[float, float]]
SIZE = 12
SCALE = 2
"""Pixels of an image for one of the drawing, which makes text and lines smooth."""
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


class NoPillow(Exception):
    """str() says what to do."""


class Canvas(Protocol):
    def rectangle(self, x: float, y: float, size: tuple[float, float], colour: str) -> None: ...

    def line(self, points: Points, colour: str, width: float = 1.0) -> None: ...

    def text(self, x: float, y: float, text: str, anchor: str = "start", size: int = SIZE) -> None:
        """anchor: "start", "middle" or "end" stands at x, the foot of the letters at y."""

    def upwards(self, x: float, y: float, text: str) -> None:
        """Text that is read from below, its middle at x, y."""


class Svg:
    def __init__(self, width: int, height: int) -> None:
        self._out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="sans-serif" font-size="{SIZE}">',
        ]
        self.rectangle(0, 0, (width, height), "white")

    def rectangle(self, x: float, y: float, size: tuple[float, float], colour: str) -> None:
        width, height = size
        self._out.append(f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{colour}"/>')

    def line(self, points: Points, colour: str, width: float = 1.0) -> None:
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
        self._out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" points="{path}"/>')

    def text(self, x: float, y: float, text: str, anchor: str = "start", size: int = SIZE) -> None:
        more = f' font-size="{size}"' if size != SIZE else ""
        self._out.append(f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}"{more}>{escape(text)}</text>')

    def upwards(self, x: float, y: float, text: str) -> None:
        turn = f'transform="rotate(-90 {x:.0f} {y:.0f})"'
        self._out.append(f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="middle" {turn}>{escape(text)}</text>')

    def document(self) -> bytes:
        return "\n".join([*self._out, "</svg>", ""]).encode()


class Png:
    """Raises NoPillow."""

    def __init__(self, width: int, height: int) -> None:
        try:
            self._image_module: Any = import_module("PIL.Image")
            self._fonts: Any = import_module("PIL.ImageFont")
            draw: Any = import_module("PIL.ImageDraw")
        except ImportError:
            raise NoPillow("PNG needs Pillow: pip install echomox[plots]") from None
        self._image = self._image_module.new("RGB", (width * SCALE, height * SCALE), "white")
        self._draw = draw.Draw(self._image)

    def rectangle(self, x: float, y: float, size: tuple[float, float], colour: str) -> None:
        box = [x * SCALE, y * SCALE, (x + size[0]) * SCALE - 1, (y + size[1]) * SCALE - 1]
        self._draw.rectangle([box[0], box[1], max(box[0], box[2]), max(box[1], box[3])], fill=colour)

    def line(self, points: Points, colour: str, width: float = 1.0) -> None:
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self._draw.line(scaled, fill=colour, width=max(1, round(width * SCALE)), joint="curve")

    def text(self, x: float, y: float, text: str, anchor: str = "start", size: int = SIZE) -> None:
        font = self._fonts.load_default(size * SCALE)
        self._draw.text((x * SCALE, y * SCALE), text, fill="black", font=font, anchor=ANCHORS[anchor])

    def upwards(self, x: float, y: float, text: str) -> None:
        if not text:
            return
        font = self._fonts.load_default(SIZE * SCALE)
        left, top, right, bottom = (round(value) for value in font.getbbox(text))
        label = self._image_module.new("RGB", (right - left + 4, bottom - top + 4), "white")
        import_module("PIL.ImageDraw").Draw(label).text((2 - left, 2 - top), text, fill="black", font=font)
        turned = label.rotate(90, expand=True)
        self._image.paste(turned, (round(x * SCALE - turned.width), round(y * SCALE - turned.height / 2)))

    def document(self) -> bytes:
        out = BytesIO()
        self._image.save(out, "PNG", optimize=True)
        return out.getvalue()
