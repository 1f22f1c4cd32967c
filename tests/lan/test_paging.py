"""Pages of lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.errors import QueryError
from dpi_dual.lan.paging import MAX_PAGE_BYTES, encoded_size, page


@dataclass
class Row:
    serial: int
    size: float
    name: str = ""
    text: str = ""


def pages(rows: list[Row], value: Callable[[Row], float | str], limit: int) -> list[list[int]]:
    found, before = [], ""
    while True:
        shown, before = page(rows, value, lambda row: row.serial, lambda row: {"n": row.serial}, limit, before)
        found.append([int(str(row["n"])) for row in shown])
        assert len(before) <= 128
        if not before:
            return found


@given(st.lists(st.one_of(st.integers(0, 5), st.floats(0, 1e12)), max_size=40), st.integers(1, 7))
def test_every_row_once_largest_first(sizes: list[float], limit: int) -> None:
    rows = [Row(number, size) for number, size in enumerate(sizes)]
    found = pages(rows, lambda row: row.size, limit)
    flat = [number for part in found for number in part]
    assert sorted(flat) == list(range(len(sizes)))
    assert [sizes[number] for number in flat] == sorted(sizes, reverse=True)
    assert all(len(part) == limit for part in found[:-1])


def test_names_are_sorted_from_a_and_the_nameless_come_last() -> None:
    rows = [Row(1, 0, "Zoe"), Row(2, 0, ""), Row(3, 0, "adam"), Row(4, 0, "Bert" * 60), Row(5, 0, "")]
    assert pages(rows, lambda row: row.name, 2) == [[3, 4], [1, 5], [2]]


def test_a_row_that_grew_meanwhile_is_not_shown_for_another() -> None:
    rows = [Row(number, 100 - number) for number in range(6)]
    first, before = page(rows, lambda row: row.size, lambda row: row.serial, lambda row: {"n": row.serial}, 2)
    rows[0].size = 0
    second, _ = page(rows, lambda row: row.size, lambda row: row.serial, lambda row: {"n": row.serial}, 2, before)
    assert [row["n"] for row in (*first, *second)] == [0, 1, 2, 3]


def test_a_page_is_bounded_in_size() -> None:
    rows = [Row(number, number, text="ü" * 500) for number in range(400)]
    shown, before = page(rows, lambda row: row.size, lambda row: row.serial, lambda row: {"t": row.text}, 400)
    assert before and 50 < len(shown) < 400
    assert sum(encoded_size(row) for row in shown) <= MAX_PAGE_BYTES


@pytest.mark.parametrize("before", ["x", "1.x", ".", "1.2.3.x", "\x00"])
def test_a_mark_of_ones_own_is_refused(before: str) -> None:
    with pytest.raises(QueryError) as error:
        page([Row(1, 1)], lambda row: row.size, lambda row: row.serial, lambda row: {}, 1, before)
    assert error.value.code == "bad_page" and error.value.answer()["error"]


def test_a_mark_of_another_order_is_refused() -> None:
    rows = [Row(1, 1, "a"), Row(2, 2, "b")]
    _, before = page(rows, lambda row: row.size, lambda row: row.serial, lambda row: {}, 1)
    with pytest.raises(QueryError):
        page(rows, lambda row: row.name, lambda row: row.serial, lambda row: {}, 1, before)


def test_the_row_of_a_mark_is_gone() -> None:
    rows = [Row(1, 1, "a"), Row(2, 2, "b")]
    _, before = page(rows, lambda row: row.name, lambda row: row.serial, lambda row: {}, 1)
    with pytest.raises(QueryError) as error:
        page(rows[1:], lambda row: row.name, lambda row: row.serial, lambda row: {}, 1, before)
    assert error.value.code == "page_gone"
