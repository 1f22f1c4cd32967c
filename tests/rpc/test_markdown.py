"""The page of the ubus objects is what the schema says."""

from __future__ import annotations

from pathlib import Path

from dpi_dual.rpc.markdown import document

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ubus.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == document(), "make generate"
