"""Curves as SVG: what `echomox filter eval --plots` writes, without any plotting library. Pure.

A chart is one or more polylines over two linear axes; text is escaped, numbers have two decimals of a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Any

Points = Sequence[tuple[float, float]]
COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#17777a", "#7f8c8d", "#34495e")
WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 62, 150, 34, 46
TICKS = 5


@dataclass(frozen=True, slots=True)
class Chart:
    """lines: name -> points. x, y: (lowest, highest) of the axes, None for those of the points."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Points]
    x: tuple[float, float] | None = None
    y: tuple[float, float] | None = None


def svg(chart: Chart) -> str:
    """The chart as an SVG document."""
    x = chart.x or _range([point[0] for points in chart.lines.values() for point in points])
    y = chart.y or _range([point[1] for points in chart.lines.values() for point in points])
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 20, chart.title, 'font-size="15"'),
        *_axes(chart, x, y),
    ]
    for number, (name, points) in enumerate(chart.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{_x(a, x):.2f},{_y(b, y):.2f}" for a, b in points)
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{path}"/>')
        at = TOP + 14 + 18 * number
        out.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{at - 9}" width="12" height="3" fill="{colour}"/>')
        out.append(_text(WIDTH - RIGHT + 30, at - 3, name))
    return "\n".join([*out, "</svg>", ""])


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _x(value: float, axis: tuple[float, float]) -> float:
    part = min(1.0, max(0.0, (value - axis[0]) / (axis[1] - axis[0])))
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _y(value: float, axis: tuple[float, float]) -> float:
    part = min(1.0, max(0.0, (value - axis[0]) / (axis[1] - axis[0])))
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


def _axes(chart: Chart, x: tuple[float, float], y: tuple[float, float]) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    out = [f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#333"/>']
    for value in ticks(x):
        at = _x(value, x)
        out.append(f'<path d="M{at:.2f} {TOP}V{bottom}" stroke="#eee"/>')
        out.append(_text(at, bottom + 16, f"{value:g}", 'text-anchor="middle"'))
    for value in ticks(y):
        at = _y(value, y)
        out.append(f'<path d="M{LEFT} {at:.2f}H{right}" stroke="#eee"/>')
        out.append(_text(LEFT - 6, at + 4, f"{value:g}", 'text-anchor="end"'))
    middle = (TOP + bottom) / 2
    out.append(_text((LEFT + right) / 2, HEIGHT - 10, chart.x_label, 'text-anchor="middle"'))
    out.append(_text(16, middle, chart.y_label, f'text-anchor="middle" transform="rotate(-90 16 {middle:.0f})"'))
    return out


def ticks(axis: tuple[float, float]) -> list[float]:
    """Round numbers within the axis, about TICKS of them."""
    rough = (axis[1] - axis[0]) / TICKS
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first = ceil(axis[0] / step - 1e-9)
    last = floor(axis[1] / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.2f}" y="{y:.2f}" {more}>{escape(text)}</text>'


# -- of a report ---------------------------------------------------------------


def charts(report: Mapping[str, Any]) -> dict[str, str]:
    """File name -> SVG, for the protocols of `evaluate` that are in the report."""
    out = {}
    for protocol in ("online", "delayed", "drift"):
        found = report.get(protocol)
        if found:
            out[f"{protocol}-roc.svg"] = svg(_roc(protocol, found))
            out[f"{protocol}-reliability.svg"] = svg(_reliability(protocol, found))
            out[f"{protocol}-learning.svg"] = svg(_learning(protocol, found))
    if report.get("cold"):
        out["cold.svg"] = svg(_cold(report["cold"]))
    if report.get("attack"):
        out["attack.svg"] = svg(_attack(report["attack"]))
    return out


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
