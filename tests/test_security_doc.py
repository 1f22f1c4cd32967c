"""docs/security.md promises nothing that no test proves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def _rows() -> list[list[str]]:
    lines = [line for line in PAGE.split("\n") if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[-1] != "proved by"]


def test_every_line_of_a_table_names_a_test() -> None:
    rows = _rows()
    assert len(rows) > 60
    for row in rows:
        assert all(row), row
        assert re.fullmatch(r"(`tests/[\w/]+\.py::\w+`(, )?)+", row[-1]), row


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_the_named_test_exists(file: str, name: str) -> None:
    assert re.search(rf"^(?:    )?(?:async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_what_is_not_protected_is_said() -> None:
    assert len(PAGE.partition("## Not protected")[2].partition("\n## ")[0].split("\n- ")) > 10
