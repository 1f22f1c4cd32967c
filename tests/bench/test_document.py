"""docs/performance.md and its charts belong to the figures that are recorded beside them."""

from __future__ import annotations

import json
import re

import pytest

from bench import document


def test_the_page_and_its_charts_are_made_of_what_is_recorded() -> None:
    for path, content in document.written().items():
        assert path.read_text() == content, f"{path.name} is old: python -m bench.document"


def test_every_chart_is_on_the_page_and_no_other_is_there() -> None:
    shown = set(re.findall(r"\(performance/([\w-]+\.svg)\)", document.PAGE.read_text()))
    assert shown == {picture.file for picture in document.PICTURES}
    assert shown == {path.name for path in document.RECORDED.glob("*.svg")}


def test_the_curves_reach_as_far_as_they_are_said_to() -> None:
    curves = json.loads((document.RECORDED / "curves.json").read_text())["curves"]
    reach = {name: [next(iter(point.values())) for point in points] for name, points in curves.items()}
    assert {name: (steps[0], steps[-1]) for name, steps in reach.items()} == {
        "flows": (1_000, 100_000),
        "addresses": (1_000, 1_000_000),
        "events": (10, 1_000),
    }
    assert all(list(points[0]) == list(document.COLUMNS[name]) for name, points in curves.items())


def test_a_part_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for flows"):
        document.filled("nothing here", {"flows": "x"})


def test_parts_are_put_where_they_belong() -> None:
    page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb"
    once = document.filled(page, {"x": r"new \1"})
    assert once == "a\n<!-- begin x -->\nnew \\1\n<!-- end x -->\nb"
    assert document.filled(once, {"x": r"new \1"}) == once
