"""The pages have one place for the words of a score, and cut the scale where the engine does."""

from __future__ import annotations

import re
from pathlib import Path

from dpi_dual.correlation import events

RESOURCES = Path(__file__).resolve().parents[2] / "luci-app-dpi-dual/htdocs/luci-static/resources"


def test_the_pages_cut_the_scale_where_the_engine_does() -> None:
    script = (RESOURCES / "dpi-dual/severity.js").read_text()
    limits = re.search(r"^const LIMITS = (.*);$", script, re.MULTILINE)
    assert limits
    found = [(name, int(least)) for name, least in re.findall(r"\[ '(\w+)', (\d+) \]", limits[1])]
    assert found == [("critical", events.CRITICAL), ("high", events.HIGH), ("medium", events.MEDIUM)]
    assert [events.severity(least) for _, least in found] == [name for name, _ in found]
    assert all(f"{name}: [ _('{name}')" in script for name, _ in found)


def test_no_page_has_words_of_its_own_for_them() -> None:
    said = {path.name for path in RESOURCES.rglob("*.js") if "_('critical')" in path.read_text()}
    assert said == {"severity.js"}
