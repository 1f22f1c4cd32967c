"""The alerts that the engine keeps: paged, filtered, bounded, none lost to a full database."""

from __future__ import annotations

import contextlib
import ipaddress
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dpi_dual.errors import QueryError
from dpi_dual.mitm.alerts import Alerts, Wanted
from tests.mitm.feeder import Engine

Make = Callable[..., Engine]


def test_alerts_are_paged_and_bounded(engine: Make) -> None:
    one = engine()
    event: dict[str, Any] = {"client_ip": "192.0.2.1", "path": "/\x1b[2J" + "x" * 9999, "categories": ["sqli", "evil"]}
    last = one.link.store.take("s", [{"n": n, "id": f"id{n:06}", "at": 1e18, **event} for n in range(1, 1205)])
    assert last == 1204
    assert one.link.store.take("s", [{"n": 1204, "id": "id-other", **event}]) == 1204
    assert len(one.told) == 1204
    assert one.link.store.total() == 1000
    seen, before = [], ""
    while True:
        page = one.link.alerts(limit=300, before=before)
        seen += page["alerts"]
        before = page.get("next", "")
        if not before:
            break
    assert [alert["id"] for alert in seen] == [f"id{n:06}" for n in range(1204, 204, -1)]
    assert len(seen[0]["path"]) == 512
    assert "\x1b" not in seen[0]["path"]
    assert seen[0]["categories"] == ["sqli"]
    with pytest.raises(QueryError, match="next"):
        one.link.alerts(before="1; drop")


def test_a_full_database_loses_no_alert(engine: Make, tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    one = engine(db)
    db.execute("PRAGMA max_page_count=1")
    one.link.store.take("s", [{"n": 1, "id": "abcd", "client_ip": "192.0.2.1", "path": "/" * 100_000}] * 1)
    events = [{"n": n, "id": f"abcd{n}", "client_ip": "192.0.2.1", "path": "/" * 500} for n in range(2, 300)]
    one.link.store.take("s", events)
    assert len(one.told) == 299
    assert [problem.code for problem in one.link.problems()][:1] == ["mitm_alerts_not_stored"]


NOW = 1_800_000_000.0


def _event(number: int, **more: Any) -> dict[str, Any]:
    return {
        "n": number,
        "id": f"id{number:06}",
        "request_id": f"ref{number // 2:06}",
        "client_ip": f"198.51.100.{number % 4}",
        "at": NOW - 1000 + number,
        "host": "shop.example.org" if number % 2 else "wiki.example.org",
        "threat_score": number % 100,
        "categories": ["sqli"] if number % 3 else ["xss", "scanner"],
        "blocked": number % 5 == 0,
        "rule": f"rule-{number % 7}",
        "rules": [{"rule": "rule-below", "score": 5}] if number == 9 else [],
        **more,
    }


@pytest.fixture
def alerts() -> Iterator[Alerts]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        kept = Alerts(db)
        kept.take("s", [_event(number) for number in range(1, 101)], now=NOW)
        yield kept


def _numbers(page: dict[str, Any]) -> list[int]:
    return [int(alert["id"][2:]) for alert in page["alerts"]]


def test_a_request_is_found_by_the_reference_on_its_block_page(alerts: Alerts) -> None:
    found = alerts.page(wanted=Wanted(id="ref000021"))
    assert (_numbers(found), found["total"]) == ([43, 42], 2)
    assert _numbers(alerts.page(wanted=Wanted(id="id000042"))) == [42]
    assert alerts.page(wanted=Wanted(id="ref")) == {"alerts": [], "total": 0}


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Wanted(network=ipaddress.ip_network("198.51.100.2")), lambda n: n % 4 == 2),
        (Wanted(network=ipaddress.ip_network("198.51.100.2/31")), lambda n: n % 4 in (2, 3)),
        (Wanted(network=ipaddress.ip_network("2001:db8::/32")), lambda n: False),
        (Wanted(category="scanner"), lambda n: n % 3 == 0),
        (Wanted(rule="rule-6"), lambda n: n % 7 == 6),
        (Wanted(rule="rule-below"), lambda n: n == 9),
        (Wanted(host="SHOP.example.org"), lambda n: n % 2 == 1),
        (Wanted(min_score=90), lambda n: n % 100 >= 90),
        (Wanted(blocked=True), lambda n: n % 5 == 0),
        (Wanted(blocked=False), lambda n: n % 5 != 0),
        (Wanted(since=NOW - 950, until=NOW - 940), lambda n: 50 <= n <= 60),
        (Wanted(category="xss", blocked=True), lambda n: n % 15 == 0),
        (Wanted(), lambda n: True),
    ],
)
def test_filters_page_without_a_gap(alerts: Alerts, wanted: Wanted, fits: Any) -> None:
    expected = [number for number in range(100, 0, -1) if fits(number)]
    seen, before = [], ""
    while True:
        page = alerts.page(3, before, wanted)
        assert page["total"] == len(expected)
        seen += _numbers(page)
        before = page.get("next", "")
        if not before:
            break
    assert seen == expected


def test_alerts_that_come_between_two_pages_shift_nothing(alerts: Alerts) -> None:
    wanted = Wanted(category="sqli")
    first = alerts.page(5, "", wanted)
    alerts.take("s", [_event(number) for number in range(101, 140)], now=NOW)
    second = alerts.page(5, first["next"], wanted)
    assert _numbers(first) + _numbers(second) == [number for number in range(100, 80, -1) if number % 3][:10]
