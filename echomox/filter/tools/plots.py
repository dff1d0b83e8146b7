"""Curves, and the course of a message through the network: what `echomox filter eval --plots` and `explain --plot`
write, as SVG and PNG.

A chart is one or more lines over two linear axes, a field of squares, bars, or lines of text of an outline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

from echomox.filter.tools.canvas import Canvas, NoPillow, Png, Points, Svg

COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#17777a", "#7f8c8d", "#34495e")
WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 62, 150, 34, 46
TICKS = 5
MARGIN, INDENT, ROW = 12, 18, 26
NAME = 18
"""Characters of a bar's name."""
TRACED = ("word_mean", "word_max", "word_min", "spammy", "hammy", "unknown", "weight")
"""The inputs of the network that are drawn."""


@dataclass(frozen=True, slots=True)
class Chart:
    """lines: name -> points. x, y: (lowest, highest) of the axes, None for those of the points. cells: (rows, columns)
    of values in [-1, 1] instead of lines, the first row below. bars: name -> length, from 0 to the left or to the
    right, the first above. outline: (depth, text) of lines of text, in place of axes."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Points] = field(default_factory=dict)
    x: tuple[float, float] | None = None
    y: tuple[float, float] | None = None
    cells: Sequence[Sequence[float]] = ()
    bars: Mapping[str, float] = field(default_factory=dict)
    outline: Sequence[tuple[int, str]] = ()


def svg(chart: Chart) -> bytes:
    """The chart as an SVG document."""
    canvas = Svg(WIDTH, HEIGHT)
    draw(chart, canvas)
    return canvas.document()


def png(chart: Chart) -> bytes:
    """The chart as an image. Raises NoPillow."""
    canvas = Png(WIDTH, HEIGHT)
    draw(chart, canvas)
    return canvas.document()


def draw(chart: Chart, canvas: Canvas) -> None:
    x = chart.x or _range([point[0] for points in chart.lines.values() for point in points])
    y = chart.y or _range([point[1] for points in chart.lines.values() for point in points])
    canvas.text(MARGIN if chart.outline else LEFT, 20, chart.title, size=15)
    if chart.outline:
        _outline(chart.outline, canvas)
        return
    _cells(chart.cells, canvas)
    _axes(chart, x, y, canvas)
    _bars(chart.bars, x, canvas)
    for number, (name, points) in enumerate(chart.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        if len(points) > 1:
            canvas.line([(_x(a, x), _y(b, y)) for a, b in points], colour, 1.8)
        at = TOP + 14 + 18 * number
        canvas.rectangle(WIDTH - RIGHT + 12, at - 9, (12, 3), colour)
        canvas.text(WIDTH - RIGHT + 30, at - 3, name)


def _cells(cells: Sequence[Sequence[float]], canvas: Canvas) -> None:
    """Red for 1, blue for -1, white for 0."""
    for row, values in enumerate(cells):
        size = ((WIDTH - LEFT - RIGHT) / len(values), (HEIGHT - TOP - BOTTOM) / len(cells))
        for column, value in enumerate(values):
            rest = round(255 * (1 - min(1.0, abs(value))))
            colour = f"#ff{rest:02x}{rest:02x}" if value > 0 else f"#{rest:02x}{rest:02x}ff"
            canvas.rectangle(LEFT + column * size[0], HEIGHT - BOTTOM - (row + 1) * size[1], size, colour)


def _bars(bars: Mapping[str, float], x: tuple[float, float], canvas: Canvas) -> None:
    """Each as high as there is room for, its name and length beside the axis."""
    height = (HEIGHT - TOP - BOTTOM) / max(1, len(bars))
    for number, (name, value) in enumerate(bars.items()):
        left, right = sorted((_x(0.0, x), _x(value, x)))
        top = TOP + number * height
        canvas.rectangle(left, top + 0.15 * height, (right - left, 0.7 * height), COLOURS[value > 0])
        canvas.text(WIDTH - RIGHT + 6, top + height / 2 + 4, f"{value:+.2f} {_printable(name[:NAME])}")
    if bars:
        canvas.line([(_x(0.0, x), TOP), (_x(0.0, x), HEIGHT - BOTTOM)], "#333333")


def _outline(rows: Sequence[tuple[int, str]], canvas: Canvas) -> None:
    """A line of text for each, joined to the one it is within."""
    step = min(ROW, (HEIGHT - TOP - MARGIN) / max(1, len(rows)))
    parents: list[float] = []
    for number, (depth, text) in enumerate(rows):
        x, y = MARGIN + INDENT * depth, TOP + step * (number + 0.7)
        if depth:
            at = x - INDENT + 3
            canvas.line([(at, parents[depth - 1] + 4), (at, y - 4), (x - 3, y - 4)], "#999999")
        parents[depth:] = [y]
        canvas.text(x, y, _printable(text))


def _printable(text: str) -> str:
    """Words come from strangers; an SVG document has no control characters."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _x(value: float, axis: tuple[float, float]) -> float:
    part = min(1.0, max(0.0, (value - axis[0]) / (axis[1] - axis[0])))
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _y(value: float, axis: tuple[float, float]) -> float:
    part = min(1.0, max(0.0, (value - axis[0]) / (axis[1] - axis[0])))
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


def _axes(chart: Chart, x: tuple[float, float], y: tuple[float, float], canvas: Canvas) -> None:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value in ticks(x):
        at = _x(value, x)
        if not chart.cells:
            canvas.line([(at, TOP), (at, bottom)], "#eeeeee")
        canvas.text(at, bottom + 16, f"{value:g}", "middle")
    for value in ticks(y) if not chart.bars else ():
        at = _y(value, y)
        if not chart.cells:
            canvas.line([(LEFT, at), (right, at)], "#eeeeee")
        canvas.text(LEFT - 6, at + 4, f"{value:g}", "end")
    canvas.line([(LEFT, TOP), (LEFT, bottom), (right, bottom)], "#333333")
    canvas.text((LEFT + right) / 2, HEIGHT - 10, chart.x_label, "middle")
    canvas.upwards(16, (TOP + bottom) / 2, chart.y_label)


def ticks(axis: tuple[float, float]) -> list[float]:
    """Round numbers within the axis, about TICKS of them."""
    rough = (axis[1] - axis[0]) / TICKS
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first = ceil(axis[0] / step - 1e-9)
    last = floor(axis[1] / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


# -- of a report ---------------------------------------------------------------


def charts(report: Mapping[str, Any]) -> dict[str, Chart]:
    """Name -> chart, for the protocols of `evaluate` that are in the report."""
    out = {}
    for protocol in ("online", "delayed", "drift"):
        found = report.get(protocol)
        if found:
            out[f"{protocol}-roc"] = _roc(protocol, found)
            out[f"{protocol}-reliability"] = _reliability(protocol, found)
            out[f"{protocol}-learning"] = _learning(protocol, found)
    if report.get("cold"):
        out["cold"] = _cold(report["cold"])
    if report.get("attack"):
        out["attack"] = _attack(report["attack"])
    return out


def trace(esn: Mapping[str, Any]) -> dict[str, Chart]:
    """Name -> chart of what `explain` says of the network: the inputs, and the state of each neuron, chunk by chunk."""
    inputs, states = esn["inputs"], esn["states"]
    end = (0.5, max(1, len(states)) + 0.5)
    lines = {name: [(float(step), row[name]) for step, row in enumerate(inputs, 1)] for name in TRACED}
    neurons = [list(row) for row in zip(*states)]
    step = "chunk of the message"
    said = f"P {esn['probability']:.3f}, trust {esn['weight']:.2f}"
    return {
        "inputs": Chart(f"What the network reads: {said}", step, "input", lines, end),
        "states": Chart("States of the network", step, "neuron", {}, end, (0, len(neurons) or 1), neurons),
    }


def _roc(protocol: str, found: Mapping[str, Any]) -> Chart:
    points = [(100 * lost, 100 * caught) for lost, caught in found["roc"]]
    return Chart(f"ROC, {protocol}", "ham lost %", "spam caught %", {"all": points}, (0, 2), (90, 100))


def _reliability(protocol: str, found: Mapping[str, Any]) -> Chart:
    points = [(row["said"], row["true"]) for row in found["calibration"]]
    lines = {"all": points, "perfect": [(0.0, 0.0), (1.0, 1.0)]}
    return Chart(f"Reliability, {protocol}", "P(spam) said", "share of spam", lines, (0, 1), (0, 1))


def _learning(protocol: str, found: Mapping[str, Any]) -> Chart:
    lines = {
        "wrong at 1/2, %": [(row["from"], row["wrong"]) for row in found["learning"]],
        "log-loss x 10": [(row["from"], 10 * row["log_loss"]) for row in found["learning"]],
    }
    return Chart(f"Learning, {protocol}", "messages", "", lines)


def _cold(found: Mapping[str, Any]) -> Chart:
    """Running totals over all starts."""
    curves = found["curves"]

    def running(part: str, whole: str) -> Points:
        points, one, all_of = [], 0, 0
        for at, (a, b) in enumerate(zip(curves[part], curves[whole])):
            one, all_of = one + a, all_of + b
            points.append((float(at + 1), 100.0 * one / all_of if all_of else 0.0))
        return points

    lines = {
        "spam caught": running("caught", "spam"),
        "ham in Junk": running("ham_junk", "ham"),
        "ham refused": running("ham_rejected", "ham"),
    }
    return Chart("The first messages of a fresh account", "messages", "% so far", lines, None, (0, 100))


def _attack(found: Mapping[str, Any]) -> Chart:
    amounts = found["amounts"]
    names = list(next(iter(amounts.values()))) if amounts else []
    lines = {name: [(float(amount), row[name][0]) for amount, row in amounts.items()] for name in names}
    return Chart(
        "Good-word attack", "good text appended, % of the body", "spam not in the Inbox, %", lines, None, (0, 100)
    )


def write(directory: Path, charts: Mapping[str, Chart]) -> list[str]:
    """Each chart as NAME.svg and, where Pillow is there, NAME.png; returns the names. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    out = []
    for name, chart in charts.items():
        (directory / f"{name}.svg").write_bytes(svg(chart))
        out.append(f"{name}.svg")
        try:
            image = png(chart)
        except NoPillow:
            continue
        (directory / f"{name}.png").write_bytes(image)
        out.append(f"{name}.png")
    return out
