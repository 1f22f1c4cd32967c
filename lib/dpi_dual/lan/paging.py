"""Pages of a list: sorted rows, cut to a number and to a size, with an opaque mark where the next page begins."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from dpi_dual.errors import QueryError

MAX_LIMIT = 500
#: rpcd dies of answers near 1 MiB; ours stay under 256 KiB, the rest is for what surrounds the rows.
MAX_PAGE_BYTES = 240 * 1024

Row = TypeVar("Row")


def encoded_size(row: object) -> int:
    """Bytes of a row as JSON in plain ASCII with spaces: no encoder makes more of it."""
    return len(json.dumps(row)) + 2


def page(
    rows: Iterable[Row],
    value: Callable[[Row], float | str],
    serial: Callable[[Row], int],
    show: Callable[[Row], dict[str, object]],
    limit: int = 50,
    before: str = "",
) -> tuple[list[dict[str, object]], str]:
    """The rows after the mark `before` and the mark of the page that follows (empty after the last).

    Numbers are sorted from the largest, texts from A with empty ones last; rows of equal value newest first. Values
    change while somebody turns pages: the mark holds the value itself, so that no row is shown twice for one that grew.
    """
    ordered = sorted(rows, key=lambda row: _order(value(row), serial(row)))
    if before:
        ordered = _after(ordered, value, serial, before)
    limit = max(1, min(limit, MAX_LIMIT))
    shown: list[dict[str, object]] = []
    size = 0
    for row in ordered[:limit]:
        answer = show(row)
        size += encoded_size(answer)
        if shown and size > MAX_PAGE_BYTES:
            break
        shown.append(answer)
    if len(shown) >= len(ordered):
        return shown, ""
    last = ordered[len(shown) - 1]
    mark = value(last)
    return shown, f"{serial(last)}" if isinstance(mark, str) else f"{serial(last)}.{mark!r}"


def _order(value: float | str, serial: int) -> tuple[bool, float | str, int]:
    if isinstance(value, str):
        return (not value, value.casefold(), -serial)
    return (False, -value, -serial)


def _after(
    ordered: list[Row], value: Callable[[Row], float | str], serial: Callable[[Row], int], before: str
) -> list[Row]:
    number, _, text = before.partition(".")
    try:
        last = int(number)
        mark = float(text) if text else None
    except ValueError:
        raise QueryError("bad_page", "`before` must be the `next` of the page before it") from None
    if mark is not None:
        if ordered and isinstance(value(ordered[0]), str):
            raise QueryError("bad_page", "`before` is the `next` of a list that was sorted otherwise")
        place = _order(mark, last)
        return [row for row in ordered if _order(value(row), serial(row)) > place]
    for index, row in enumerate(ordered):
        if serial(row) == last:
            return ordered[index + 1 :]
    raise QueryError("page_gone", "the row that `before` stands for is gone; begin again with the first page")
