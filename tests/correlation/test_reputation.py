"""Scores rise to 100, fall with time, and are as they should be after whatever came in between."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.correlation import reputation as module
from dpi_dual.correlation.reputation import Reputation

T = 1_800_000_000.0


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        yield db


def test_up_capped_and_down(db: sqlite3.Connection) -> None:
    one = Reputation(db, 5, 3600, T)
    assert one.add("a", 60, "scanner", T) == (0, 60)
    assert one.add("a", 60, "scanner", T + 1) == (60, 100)
    assert one.score("a", T + 3599) == 100
    assert one.score("a", T + 3600) == 95
    assert one.score("a", T + 20 * 3600) == 0
    assert one.add("a", 10, "waf_alert", T + 30 * 3600) == (0, 10)
    standing = one.of("a", T + 30 * 3600)
    assert standing is not None
    assert (standing.events, standing.last_event) == (3, "waf_alert")


def test_a_stranger_is_not_known(db: sqlite3.Connection) -> None:
    one = Reputation(db, 5, 3600, T)
    assert one.of("a", T) is None
    assert not one.reset("a")
    one.add("a", 1, "x", T)
    assert one.reset("a")
    assert one.score("a", T) == 0


def test_another_rate_holds_from_now_on_and_is_kept(db: sqlite3.Connection) -> None:
    one = Reputation(db, 5, 3600, T)
    one.add("a", 100, "x", T)
    one.change_rate(10, 60, T + 7200)
    assert one.score("a", T + 7200) == 90
    assert one.score("a", T + 7260) == 80
    again = Reputation(db, 10, 60, T + 7261)
    assert again.score("a", T + 7260) == 80
    restarted_otherwise = Reputation(db, 0, 60, T + 7260)
    assert restarted_otherwise.score("a", T + 10**9) == 80


def test_a_step_by_hand(db: sqlite3.Connection) -> None:
    one = Reputation(db, 5, 3600, T)
    for actor, points in (("a", 3), ("b", 50)):
        one.add(actor, points, "x", T)
    assert one.lower_all(5, T) == 2
    assert (one.score("a", T), one.score("b", T)) == (0, 45)
    assert Reputation(db, 5, 3600, T).score("b", T) == 45
    assert one.count(T) == 1


def test_the_worst_come_first_in_pages(db: sqlite3.Connection) -> None:
    one = Reputation(db, 5, 3600, T)
    for number in range(10):
        one.add(f"a{number}", number * 10, "x", T)
    found = [row.actor for row in [*one.worst(T, 4), *one.worst(T, 100, 4)]]
    assert found == [f"a{number}" for number in (9, 8, 7, 6, 5, 4, 3, 2, 1)]


def test_a_clock_set_back_neither_raises_nor_freezes_for_ever(db: sqlite3.Connection) -> None:
    one = Reputation(db, 5, 60, T)
    one.add("a", 50, "x", T)
    early = T - 10**8
    assert one.score("a", early) == 50
    assert one.score("a", early + 60) == 45


def test_the_forgotten(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Reputation(db, 5, 60, T)
    one.add("gone", 5, "x", T)
    one.add("bad", 100, "x", T + module.FORGET_S)
    assert one.prune(T + module.FORGET_S) == 1
    assert one.of("gone", T) is None
    for number in range(4):
        one.add(f"n{number}", number + 1, "x", T + module.FORGET_S)
    monkeypatch.setattr(module, "MAX_ADDRESSES", 2)
    assert one.prune(T + module.FORGET_S) == 3
    assert [row.actor for row in one.worst(T + module.FORGET_S, 9)] == ["bad", "n3"]


def test_ever_new_addresses_push_out_the_least_bad(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Reputation(db, 5, 3600, T)
    monkeypatch.setattr(module, "MAX_ADDRESSES", 3)
    one.add("bad", 40, "scanner", T)
    one.add("worse", 50, "scanner", T)
    for number in range(20):
        assert one.add(f"new{number}", 10, "waf_alert", T + number) == (0, 10)
        assert one.count(T + number) == 3
    assert [row.actor for row in one.worst(T + 20, 9)] == ["worse", "bad", "new19"]
    assert one.forgotten == 19


events = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 50), st.integers(0, 20)), max_size=30)


@given(events, st.integers(0, 7))
def test_as_a_plain_count_of_steps_says(given_events: list[tuple[str, int, int]], decay: int) -> None:
    """Against the plainest model there is: a step for everybody each minute."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        one = Reputation(db, decay, 60, T)
        model = {"a": 0.0, "b": 0.0}
        minute = 0
        for actor, points, minutes in given_events:
            for _ in range(minutes):
                minute += 1
                model = {name: max(0.0, score - decay) for name, score in model.items()}
            now = T + minute * 60
            before = model[actor]
            model[actor] = min(100.0, before + points)
            assert one.add(actor, points, "x", now) == pytest.approx((before, model[actor]))
            for name, score in model.items():
                assert one.score(name, now) == pytest.approx(score)
