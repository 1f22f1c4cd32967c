"""Mutes: what they match, how long they hold, and that they outlive the process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from dpi_dual.correlation import mutes
from dpi_dual.correlation.actors import Actor
from dpi_dual.correlation.events import Event
from dpi_dual.correlation.mutes import Mutes
from dpi_dual.errors import QueryError

NOW = 1_800_000_000.0
ATTACKER = Actor("198.51.100.7", "198.51.100.7", "remote")
PHONE = Actor("02:00:5e:00:01:64", "192.168.1.100", "client", "02:00:5e:00:01:64")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def event(rule: str = "sqli-1", kind: str = "waf_alert") -> Event:
    return Event(type=kind, ip="198.51.100.7", at=NOW, score=50, reason="", source="waf", rule=rule)


@pytest.mark.parametrize(
    ("rule", "source", "matches"),
    [
        ("sqli-1", "", True),
        ("waf_alert", "", True),
        ("xss-1", "", False),
        ("", "198.51.100.7", True),
        ("", "198.51.100.0/24", True),
        ("", "2001:db8::/32", False),
        ("sqli-1", "203.0.113.0/24", False),
        ("", PHONE.key, False),
    ],
)
def test_a_mute_is_of_a_rule_or_type_and_of_an_actor_or_network(
    db: sqlite3.Connection, rule: str, source: str, matches: bool
) -> None:
    known = Mutes(db, NOW)
    known.add(rule, source, "", NOW)
    assert known.match(event(), ATTACKER, NOW) is matches


def test_a_client_is_muted_by_its_mac(db: sqlite3.Connection) -> None:
    known = Mutes(db, NOW)
    known.add("", PHONE.key, "", NOW)
    assert known.match(event(), PHONE, NOW)


def test_it_holds_for_its_time_or_for_good_and_in_the_next_process(db: sqlite3.Connection) -> None:
    known = Mutes(db, NOW)
    known.add("sqli-1", "", "30m", NOW)
    known.add("xss-1", "", "", NOW)
    assert known.match(event(), ATTACKER, NOW + 1799)
    assert not known.match(event(), ATTACKER, NOW + 1800)
    assert [row[0] for row in Mutes(db, NOW + 1799).rows(NOW + 1799)] == ["sqli-1", "xss-1"]
    known.prune(NOW + 1800)
    assert db.execute("SELECT rule, made_at, until_at FROM correlation_mutes").fetchall() == [("xss-1", NOW, 0.0)]


def test_said_again_it_is_the_same_with_another_end_and_ended_it_is_gone(db: sqlite3.Connection) -> None:
    known = Mutes(db, NOW)
    known.add("sqli-1", "", "30m", NOW)
    known.add("sqli-1", "", "4h", NOW)
    assert known.rows(NOW) == [("sqli-1", "", NOW, NOW + 4 * 3600)]
    assert (known.end("sqli-1", "", NOW), known.end("sqli-1", "", NOW)) == (1, 0)
    assert not known.match(event(), ATTACKER, NOW)


def test_a_bad_duration_and_too_many_are_refused(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Mutes(db, NOW)
    with pytest.raises(QueryError, match="'soon' is not a duration"):
        known.add("sqli-1", "", "soon", NOW)
    monkeypatch.setattr(mutes, "MOST", 1)
    known.add("sqli-1", "", "", NOW)
    with pytest.raises(QueryError, match="1 mutes already"):
        known.add("xss-1", "", "", NOW)
