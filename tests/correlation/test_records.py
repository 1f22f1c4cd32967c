"""Which records a question is about, and the mark of a page."""

from __future__ import annotations

import pytest

from dpi_dual.correlation.actors import parse_network
from dpi_dual.correlation.records import Wanted, page_mark, timestamp
from dpi_dual.errors import QueryError
from tests.correlation.scene import NOW, Scene


@pytest.fixture
def known(scene: Scene) -> Scene:
    scene.alert("198.51.100.7", 1, categories=["sqli"], threat_score=90)
    scene.time += 100
    scene.alert("198.51.100.70", 2, event="waf_alert", threat_score=35, path="/grüße")
    scene.time += 100
    scene.alert("2001:db8:2::7", 3, rule='x"y', threat_score=60)
    scene.one.store.mark(1, state="acknowledged")
    return scene


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Wanted(), [3, 2, 1]),
        (Wanted(network=parse_network("198.51.100.7")), [1]),
        (Wanted(network=parse_network("198.51.100.64/26")), [2]),
        (Wanted(network=parse_network("0.0.0.0/0")), [2, 1]),
        (Wanted(network=parse_network("2001:db8:2::/64")), [3]),
        (Wanted(network=parse_network("198.51.100.7"), actor="198.51.100.70"), [2, 1]),
        (Wanted(actor="2001:db8:2::/64"), [3]),
        (Wanted(event_type="waf_alert"), [2]),
        (Wanted(min_score=60), [3, 1]),
        (Wanted(since=NOW + 100), [3, 2]),
        (Wanted(until=NOW + 99), [1]),
        (Wanted(state="acknowledged"), [1]),
        (Wanted(text="GRÜSSE"), []),
        (Wanted(text="/Grü"), [2]),
        (Wanted(text='X"Y'), [3]),
        (Wanted(text="%"), []),
        (Wanted(text="' OR 1=1 --"), []),
        (Wanted(min_score=60, event_type="waf_block", until=NOW), [1]),
    ],
)
def test_what_a_page_is_narrowed_to(known: Scene, wanted: Wanted, ids: list[int]) -> None:
    page = known.one.store.page(wanted, 50)
    assert [record["id"] for record in page["threats"]] == ids
    assert page["total"] == len(ids)


def test_pages_follow_each_other(known: Scene) -> None:
    first = known.one.store.page(Wanted(), 2)
    last = known.one.store.page(Wanted(), 2, first["next"])
    assert [record["id"] for page in (first, last) for record in page["threats"]] == [3, 2, 1]
    assert "next" not in last


@pytest.mark.parametrize("mark", ["t", "x1", "t-1", "tz", "t" + "1" * 16, "tA", "1"])
def test_a_mark_that_no_page_gave_is_refused(mark: str) -> None:
    with pytest.raises(QueryError, match="`before` must be"):
        page_mark(mark)


def test_a_time_is_told_in_utc() -> None:
    assert timestamp(NOW + 0.5) == "2027-01-15T08:00:00.500+00:00"
