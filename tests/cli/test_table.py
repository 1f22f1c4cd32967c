"""Tables that fit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.cli.table import Column, table
from dpi_dual.cli.terminal import Style, columns

PLAIN = Style(False)
LAYOUT = (
    Column("Name", lambda row: row["name"], least=8),
    Column("Bytes", lambda row: row["bytes"], right=True),
    Column("Note", lambda row: row.get("note"), rank=1),
    Column("More", lambda row: row.get("more"), rank=2),
)
ROWS = [
    {"name": "a-rather-long-name", "bytes": "1.2 MB", "note": "first", "more": "xxxxxxxxxx"},
    {"name": "b", "bytes": "12 B", "note": "", "more": "y"},
]


def test_aligned_with_room() -> None:
    assert table(LAYOUT, ROWS, 80, PLAIN) == [
        "Name                 Bytes  Note   More",
        "a-rather-long-name  1.2 MB  first  xxxxxxxxxx",
        "b                     12 B         y",
    ]


def test_narrowed_then_left_out_by_rank() -> None:
    assert table(LAYOUT, ROWS, 26, PLAIN) == [
        "Name          Bytes  Note",
        "a-rather-l…  1.2 MB  first",
        "b              12 B",
    ]


def test_no_room_asked_for_means_all_of_it() -> None:
    assert table(LAYOUT, ROWS, 0, PLAIN) == table(LAYOUT, ROWS, 500, PLAIN)


def test_a_column_nobody_fills_is_not_shown() -> None:
    rows = [{"name": "a", "bytes": "1 B"}]
    assert table(LAYOUT, rows, 80, PLAIN) == ["Name  Bytes", "a       1 B"]


def test_nothing_to_show() -> None:
    assert table(LAYOUT, [], 80, PLAIN) == []


def test_only_the_title_is_dressed() -> None:
    first, *rest = table(LAYOUT, ROWS, 80, Style(True))
    assert first.startswith("\x1b[1m") and first.endswith("\x1b[0m")
    assert not any("\x1b" in line for line in rest)


@given(st.lists(st.tuples(st.text(max_size=80), st.text(max_size=12)), min_size=1, max_size=5), st.integers(20, 120))
def test_never_wider_than_the_room_and_one_line_a_row(cells: list[tuple[str, str]], room: int) -> None:
    rows = [{"name": name or "-", "bytes": size, "note": name, "more": size} for name, size in cells]
    lines = table(LAYOUT, rows, room, PLAIN)
    assert len(lines) == len(rows) + 1
    assert all(columns(line) <= room and (line.isprintable() or not line) for line in lines)
