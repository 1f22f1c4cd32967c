"""The queue for CrowdSec: durable when it says so, bounded, and honest about what it cannot keep."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dpi_dual.correlation import crowdsec_queue
from dpi_dual.correlation.crowdsec_queue import Queue, Waiting
from dpi_dual.errors import QueryError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def db(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def waiting(target: str = "203.0.113.1", mode: str = "decision") -> Waiting:
    return Waiting(target, "dpi-dual/x", "why 'quoted' ü", mode, 60.0, 3, 1.5, {"path": "/a"}, "record 7")


def test_what_is_accepted_is_there_for_the_next_engine_in_order_and_unsure(db: sqlite3.Connection, file: Path) -> None:
    queue = Queue(db)
    alerts = [waiting(f"203.0.113.{number}") for number in range(3)]
    for alert in alerts:
        queue.accept(alert)
    assert [entry.unsure for entry in queue] == [False] * 3
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        again = Queue(other)
        assert [entry.alert for entry in again] == alerts
        assert [entry.unsure for entry in again] == [True] * 3
        again.forget(next(iter(again)))
    assert len(Queue(db)) == 2


def test_marks_are_not_repeated() -> None:
    assert len({waiting().uuid for _ in range(1000)}) == 1000


def test_a_full_queue_refuses_and_keeps_what_it_has(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowdsec_queue, "MOST", 2)
    queue = Queue(db)
    queue.accept(waiting())
    queue.accept(waiting())
    with pytest.raises(QueryError, match="not accepted") as full:
        queue.accept(waiting())
    assert full.value.code == "queue_full" and len(queue) == len(Queue(db)) == 2


def test_what_cannot_be_stored_is_not_accepted(db: sqlite3.Connection) -> None:
    queue = Queue(db)
    db.execute("PRAGMA query_only = 1")
    with pytest.raises(QueryError) as refused:
        queue.accept(waiting())
    assert refused.value.code == "not_stored" and len(queue) == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"target": "x"}', '{"stranger": 1}', "[" * 50])
def test_a_damaged_row_is_dropped_and_counted(db: sqlite3.Connection, text: str) -> None:
    Queue(db).accept(waiting())
    db.execute("INSERT INTO crowdsec_queue (alert) VALUES (?)", (text,))
    queue = Queue(db)
    assert (len(queue), queue.unreadable) == (1, 1)
    assert Queue(db).unreadable == 0


def test_bans_come_first_and_have_half_of_the_room_for_themselves(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowdsec_queue, "MOST", 4)
    queue = Queue(db)
    for mode in ("record", "record"):
        queue.accept(waiting(mode=mode))
    with pytest.raises(QueryError):
        queue.accept(waiting(mode="record"))
    queue.accept(waiting(mode="decision"))
    queue.accept(waiting(mode="profile"))
    order = []
    while (entry := queue.next(1.0)) is not None:
        entry.due_at = 2.0
        order.append(entry.alert.mode)
    assert order == ["decision", "profile", "record", "record"]


def test_an_alert_of_a_transaction_that_was_rolled_back_was_never_accepted(db: sqlite3.Connection) -> None:
    queue = Queue(db)
    db.execute("BEGIN")
    queue.accept(waiting())
    db.execute("ROLLBACK")
    entry = queue.next(0.0)
    assert entry is not None and not queue.holds(entry)
    assert queue.next(0.0) is None and queue.next_due_at() is None and len(queue) == 0


def test_what_was_under_way_when_the_engine_was_killed_is_known_to_be(db: sqlite3.Connection) -> None:
    queue = Queue(db)
    for number in range(2):
        queue.accept(waiting(f"203.0.113.{number}"))
    first = queue.next(0.0)
    assert first is not None
    queue.under_way(first)
    again, second = Queue(db)
    assert again.alert == first.alert and again.unsure and again.settled_at > time.monotonic()
    assert second.unsure and second.settled_at == 0.0


def test_one_that_is_put_off_lets_the_others_pass(db: sqlite3.Connection) -> None:
    queue = Queue(db)
    for number in range(2):
        queue.accept(waiting(f"203.0.113.{number}"))
    first = queue.next(10.0)
    assert first is not None
    first.due_at = 20.0
    second = queue.next(10.0)
    assert second is not None and second.number != first.number
    second.due_at = 15.0
    assert queue.next(10.0) is None and queue.next_due_at() == 15.0
    assert queue.next(15.0) is second
