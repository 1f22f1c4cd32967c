"""Curves as SVG: text as text, both axes labelled, legible in light and dark, told apart without colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 680, 340
LEFT, RIGHT, TOP, BOTTOM = 74, 32, 44, 78

#: How the lines of one chart differ: dashes, and the mark at each point.
DASHES = ("", "7 4", "2 4")
MARKS = (
    '<circle cx="{x}" cy="{y}" r="4"/>',
    '<rect x="{x4}" y="{y4}" width="8" height="8"/>',
    '<path d="M{x} {y5}l5 9h-10z"/>',
)

_STYLE = (
    ":root{color-scheme:light dark;color:black}@media(prefers-color-scheme:dark){:root{color:white}}"
    "text{font:13px system-ui,sans-serif;fill:currentColor}.title{font-weight:600;font-size:15px}"
    ".grid{stroke:currentColor;stroke-opacity:.2}.axis{stroke:currentColor;stroke-opacity:.7}"
    ".line{fill:none;stroke:currentColor;stroke-width:2}.mark{fill:currentColor}"
    ".bound{stroke:currentColor;stroke-dasharray:1 3;stroke-width:1.5}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Chart:
    """`bound` is an x where something is full, `budget` a y that is not to be passed; both are drawn and named."""

    title: str
    x_label: str
    y_label: str
    x: Sequence[float]
    lines: Sequence[Line]
    bound: tuple[float, str] | None = None
    budget: tuple[float, str] | None = None


class _Axis:
    """From values to pixels; logarithmic where the values span more than a decade and none is zero."""

    def __init__(self, values: Sequence[float], start: float, end: float, from_zero: bool) -> None:
        low, high = min(values), max(values)
        self.logarithmic = low > 0 and high / low > 10
        if self.logarithmic:
            self.low, self.high = math.floor(math.log10(low)), math.ceil(math.log10(high))
            self.ticks = [10.0**power for power in range(self.low, self.high + 1)]
        else:
            step = _step((high if from_zero else high - low) or 1)
            self.low = 0 if from_zero else math.floor(low / step)
            self.high = max(self.low + 1, math.ceil(high / step))
            self.ticks = [step * number for number in range(self.low, self.high + 1)]
            self.low, self.high = self.ticks[0], self.ticks[-1]
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        place = math.log10(value) if self.logarithmic else value
        return round(self._start + (place - self.low) / (self.high - self.low) * (self._end - self._start), 1)


def _step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten, that makes four to eight of them."""
    power = 10.0 ** math.floor(math.log10(span / 4))
    return next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 8)


def number(value: float) -> str:
    """As an axis shows it: 1,000 · 0.05 · 100 k · 1 M."""
    for size, letter in ((1e6, " M"), (1e5, None)):
        if value >= size:
            return f"{value / 1e6:g} M" if letter else f"{value / 1e3:g} k"
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def svg(chart: Chart) -> str:
    """The chart as a document of its own; the same chart gives the same bytes."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    x = _Axis(chart.x, LEFT, right, from_zero=False)
    heights = [value for line in chart.lines for value in line.values] + ([chart.budget[0]] if chart.budget else [])
    y = _Axis(heights, bottom, TOP, from_zero=True)
    described = "; ".join(
        f"{line.name}: " + ", ".join(f"{number(at)}: {value:g}" for at, value in zip(chart.x, line.values, strict=True))
        for line in chart.lines
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(chart.title)}</title>',
        f'<desc id="desc">{escape(f"{chart.y_label} against {chart.x_label}. {described}")}</desc>',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="20">{escape(chart.title)}</text>',
        f'<text x="{LEFT}" y="{TOP - 8}">{escape(chart.y_label)}</text>',
    ]
    for tick in y.ticks:
        height = y.at(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{height}" x2="{right}" y2="{height}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{height + 4}" text-anchor="end">{number(tick)}</text>')
    for tick in x.ticks:
        place = x.at(tick)
        parts.append(f'<line class="grid" x1="{place}" y1="{TOP}" x2="{place}" y2="{bottom}"/>')
        parts.append(f'<text x="{place}" y="{bottom + 18}" text-anchor="middle">{number(tick)}</text>')
    parts.append(f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    parts.append(
        f'<text x="{(LEFT + right) / 2:g}" y="{bottom + 38}" text-anchor="middle">{escape(chart.x_label)}</text>'
    )
    if chart.bound is not None:
        place = x.at(chart.bound[0])
        parts.append(f'<line class="bound" x1="{place}" y1="{TOP}" x2="{place}" y2="{bottom}"/>')
        parts.append(f'<text x="{place - 5}" y="{TOP + 14}" text-anchor="end">{escape(chart.bound[1])}</text>')
    if chart.budget is not None:
        height = y.at(chart.budget[0])
        parts.append(f'<line class="bound" x1="{LEFT}" y1="{height}" x2="{right}" y2="{height}"/>')
        parts.append(f'<text x="{LEFT + 6}" y="{height - 5}">{escape(chart.budget[1])}</text>')
    for order, line in enumerate(chart.lines):
        points = [(x.at(at), y.at(value)) for at, value in zip(chart.x, line.values, strict=True)]
        dashes = f' stroke-dasharray="{DASHES[order]}"' if DASHES[order] else ""
        drawn = " ".join(f"{across},{up}" for across, up in points)
        parts.append(f'<polyline class="line"{dashes} points="{drawn}"/>')
        parts += [_mark(order, *point) for point in points]
        across = LEFT + order * (right - LEFT) / len(chart.lines)
        legend = f"M{across:g} {HEIGHT - 14}h34"
        parts.append(f'<path class="line"{dashes} d="{legend}"/>{_mark(order, across + 17, HEIGHT - 14)}')
        parts.append(f'<text x="{across + 42:g}" y="{HEIGHT - 10}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _mark(order: int, x: float, y: float) -> str:
    places = {"x": x, "y": y, "x4": x - 4, "y4": y - 4, "y5": y - 5}
    shape = MARKS[order].format(**{name: f"{place:g}" for name, place in places.items()})
    return f'<g class="mark">{shape}</g>'
