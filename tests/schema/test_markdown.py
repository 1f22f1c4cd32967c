"""The configuration page is the one that the schema gives."""

from __future__ import annotations

from pathlib import Path

from dpi_dual.schema import markdown

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_schema_gives() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == markdown.document(), "make generate"
