"""Lists of decisions are the same in pieces of any size; anything else is an error with a name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.correlation.crowdsec_reader import MAX_ITEM, DecisionReader
from dpi_dual.correlation.lapi import LapiError
from tests.correlation.test_crowdsec_decisions import Table, item


def read(text: bytes, size: int) -> list[tuple[str, dict[str, Any]]]:
    reader = DecisionReader()
    found = [entry for at in range(0, len(text), size) for entry in reader.feed(text[at : at + size])]
    reader.finish()
    return found


ITEMS = [item("192.0.2.1"), item("2001:db8::/32", scenario='ü "quoted" {[,]} \\'), {}]


@pytest.mark.parametrize("size", [1, 2, 7, 64, 100_000])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"new": ITEMS, "deleted": ITEMS[:1]}, [("new", i) for i in ITEMS] + [("deleted", ITEMS[0])]),
        ({"deleted": None, "new": None}, []),
        ({"deleted": [], "other": {"a": [1, {}]}, "new": ITEMS}, [("new", i) for i in ITEMS]),
        (ITEMS, [("", i) for i in ITEMS]),
        (None, []),
        ({}, []),
        ([], []),
    ],
)
def test_an_answer_is_the_same_in_pieces_of_any_size(content: Any, found: Any, size: int) -> None:
    assert read(json.dumps(content).encode(), size) == found
    assert read(json.dumps(content, ensure_ascii=False, indent=3).encode() + b"\n", size) == found


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[", b"{", b'{"new":[', b'{"new":[{}', b'{"new":[{}]', b"nul", b"true", b"7", b'"x"', b"[1]", b'["x"]',
        b"[[]]", b"[{}{}]", b"[,{}]", b'{"new" [{}]}', b'{"new":[{}]}x', b"{} {}", b'{new:[]}', b'{"new":5}', b"<html>",
        b"[" * 100_000, b'[{"a":' + b"[" * 100_000, b'[{"a":"' + b"x" * (MAX_ITEM + 10) + b'"}]'[:-3], b"\xff\xfe",
    ],
)  # fmt: skip
def test_what_is_no_list_of_decisions_is_an_error_with_a_name(text: bytes) -> None:
    with pytest.raises(LapiError) as bad:
        read(text, 5000)
    assert bad.value.code == "bad_answer"


@given(st.lists(st.binary(max_size=40), max_size=20), st.sampled_from([b"", b'{"new":[', b"[{}"]))
def test_nothing_else_is_ever_raised(pieces: list[bytes], before: bytes) -> None:
    reader = DecisionReader()
    table = Table()
    table.decisions.begin(True)
    try:
        for piece in (before, *pieces):
            for change, found in reader.feed(piece):
                table.decisions.take(change or "new", found)
        reader.finish()
    except LapiError:
        table.decisions.abandon()
