"""Aligned tables that fit: narrow a column that may be cut, leave out what is least wanted, never wrap a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dpi_dual.cli.terminal import Style, clip, clip_middle, columns, safe

Row = Mapping[str, Any]

_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, and how a row becomes its text."""

    title: str
    cell: Callable[[Row], object]
    right: bool = False
    """Figures stand right."""
    least: int = 0
    """It may be cut down to this many columns; 0: it is never cut."""
    keep_end: bool = False
    """When cut, the end is worth more than the start (a host name's domain)."""
    keep_ends: bool = False
    """When cut, both ends are worth more than the middle (an address)."""
    rank: int = 0
    """Left out to save room, the highest rank first; 0: always there."""


def _needed(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _fit(shown: list[Column], natural: list[int], room: int) -> tuple[list[Column], list[int]]:
    """The columns that stay within `room`, and how wide each may be."""
    pairs = list(zip(shown, natural, strict=True))
    while _needed([min(width, column.least or width) for column, width in pairs]) > room:
        rank = max(column.rank for column, _ in pairs)
        if not rank:
            break
        pairs = [pair for pair in pairs if pair[0].rank != rank]
    widths = [width for _, width in pairs]
    kept = [column for column, _ in pairs]
    while _needed(widths) > room:
        # The widest column that can still give, gives one.
        giving = [(widths[i], i) for i, column in enumerate(kept) if column.least and widths[i] > column.least]
        if not giving:
            break
        widths[max(giving)[1]] -= 1
    return kept, widths


def _line(cells: Iterable[str], kept: Sequence[Column], widths: Sequence[int]) -> str:
    parts = []
    for text, column, width in zip(cells, kept, widths, strict=True):
        cut = clip_middle(text, width) if column.keep_ends else clip(text, width, column.keep_end)
        blank = " " * (width - columns(cut))
        parts.append(blank + cut if column.right else cut + blank)
    return (" " * _GAP).join(parts).rstrip()


def table(layout: Sequence[Column], rows: Iterable[Row], room: int, style: Style) -> list[str]:
    """Title line and one line a row, in `room` columns (0: as wide as it gets). A column nobody fills is left out."""
    texts = [[safe("" if (text := column.cell(row)) is None else text) for column in layout] for row in rows]
    filled = [i for i in range(len(layout)) if any(line[i] for line in texts)]
    if not filled:
        return []
    natural = [max(columns(layout[i].title), *(columns(line[i]) for line in texts)) for i in filled]
    shown = [layout[i] for i in filled]
    kept, widths = _fit(shown, natural, room) if room else (shown, natural)
    where = [layout.index(column) for column in kept]
    lines = [_line([column.title for column in kept], kept, widths)]
    lines += [_line([line[i] for i in where], kept, widths) for line in texts]
    if room:
        lines = [clip(line, room) for line in lines]
    return [style.title(lines[0]), *lines[1:]]
