"""The history: what is written, when it is thrown away, and what charts get."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from dpi_dual.lan.history import HOURS_KEPT, SANE_AFTER, History, day_of, day_start
from dpi_dual.lan.kinds import Pending

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone with summer time."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(params=[None, ""], ids=["autocommit", "implicit transactions"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "state.db", isolation_level=request.param)
    yield connection
    connection.close()


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def batch(client: str = A, application: str = "youtube", size: int = 100) -> Pending:
    return {(client, application): [size, size // 10, 1, 2]}


def rows(db: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    return db.execute(
        f"SELECT start, c.name, a.name, bytes_in, bytes_out, bytes_unsplit, flows FROM {table}"
        " JOIN lan_name c ON c.id = client JOIN lan_name a ON a.id = application ORDER BY 1, 2, 3"
    ).fetchall()


def test_batches_add_up_by_hour_and_by_day(db: sqlite3.Connection) -> None:
    history = History(db, 30)
    now = at("2026-11-22T10:30:00")
    assert history.add(batch(), now) and history.add(batch(), now + 60) and history.add(batch(), now + 3600)
    hour = int(now) // 3600 * 3600
    assert rows(db, "lan_hour") == [(hour, A, "youtube", 200, 20, 2, 4), (hour + 3600, A, "youtube", 100, 10, 1, 2)]
    assert rows(db, "lan_day") == [(day_of(now), A, "youtube", 300, 30, 3, 6)]
    assert not db.in_transaction


def test_days_are_the_routers_own(db: sqlite3.Connection) -> None:
    history = History(db, 30)
    history.add(batch(), at("2026-11-21T23:59:59"))
    history.add(batch(), at("2026-11-22T00:00:01"))
    assert [row[0] for row in rows(db, "lan_day")] == [
        datetime(2026, 11, 21).toordinal(),
        datetime(2026, 11, 22).toordinal(),
    ]
    # The day on which summer time ends is 25 hours long.
    day = datetime(2026, 10, 25).toordinal()
    assert day_start(day + 1) - day_start(day) == 25 * 3600


def test_nothing_is_written_before_the_clock_is_set(db: sqlite3.Connection) -> None:
    now = [1000.0]
    history = History(db, 30, lambda: now[0])
    assert not history.add(batch(), now[0])
    assert rows(db, "lan_hour") == [] and rows(db, "lan_day") == []
    assert history.remember({A: (1.0, 2.0)}) is None
    assert [problem.code for problem in history.problems()] == ["lan_clock_unset"]
    now[0] = at("2026-11-22T10:30:00")
    assert history.add(batch(), now[0]) and history.problems() == []
    assert history.remember({A: (1.0, now[0])}) == [A]
    assert db.execute("SELECT first_seen_at FROM lan_device").fetchone()[0] == SANE_AFTER


def test_old_rows_are_pruned_once_a_day(db: sqlite3.Connection) -> None:
    history = History(db, 3)
    start = at("2026-11-01T12:00:00")
    for day in range(10):
        history.add(batch(application=f"app{day}"), start + day * 86400)
    last = day_of(start) + 9
    assert [row[0] for row in rows(db, "lan_day")] == [last - 2, last - 1, last]
    hours = [row[0] for row in rows(db, "lan_hour")]
    assert min(hours) >= start + 9 * 86400 - HOURS_KEPT * 3600  # type: ignore[type-var, operator]
    names = {name for (name,) in db.execute("SELECT name FROM lan_name")}
    assert "app0" not in names and "app9" in names


def test_too_many_rows_lose_the_oldest(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpi_dual.lan.history.MAX_DAY_ROWS", 50)
    history = History(db, 30)
    start = at("2026-11-01T12:00:00")
    for day in range(4):
        history.add({(A, f"app{n}"): [1, 1, 0, 1] for n in range(20)}, start + day * 86400)
    assert history.rows_dropped == 40 and len(rows(db, "lan_day")) == 40
    assert rows(db, "lan_day")[0][0] == day_of(start) + 2


def test_points_fill_gaps_and_hold_what_is_not_written(db: sqlite3.Connection) -> None:
    now = at("2026-11-22T10:30:00")
    history = History(db, 30, lambda: now)
    history.add(batch(), now - 3 * 3600)
    points = history.points("hour", "", "", batch(B, "zoom", 50))
    assert [point["bytes"] for point in points] == [111, 0, 0, 56]
    assert [point["seconds"] for point in points] == [3600] * 4
    assert points[-1]["start_at"] == at("2026-11-22T10:00:00")
    assert history.points("hour", B, "", batch(B, "zoom", 50))[0]["bytes_in"] == 50
    assert history.points("hour", "", "youtube", batch(B, "zoom", 50))[0]["bytes_in"] == 100
    assert history.points("hour", B, "youtube", {}) == []


@pytest.mark.parametrize(
    ("period", "starts", "sizes"),
    [
        ("day", ["2026-11-10", "2026-11-11", "2026-11-12"], [111, 0, 111]),
        ("week", ["2026-11-02", "2026-11-09"], [111, 222]),
        ("month", ["2026-10-01", "2026-11-01"], [111, 222]),
    ],
)
def test_periods(db: sqlite3.Connection, period: str, starts: list[str], sizes: list[int]) -> None:
    now = at("2026-11-12T10:00:00")
    history = History(db, 60, lambda: now)
    early = {"day": "2026-11-12T09:00:00", "week": "2026-11-08T23:00:00", "month": "2026-10-31T23:30:00"}[period]
    history.add(batch(), at(early))
    history.add(batch(B), at("2026-11-10T08:00:00"))
    if period != "day":
        history.add(batch(), now)
    points = history.points(period, "", "", {})
    assert [datetime.fromtimestamp(float(str(point["start_at"]))).date().isoformat() for point in points] == starts
    assert [point["bytes"] for point in points] == sizes
    ends = [float(str(point["start_at"])) + int(str(point["seconds"])) for point in points]
    assert ends[:-1] == [point["start_at"] for point in points[1:]]


def test_largest(db: sqlite3.Connection) -> None:
    now = at("2026-11-22T10:30:00")
    history = History(db, 30, lambda: now)
    history.add({(A, "youtube"): [500, 0, 0, 1], (B, "youtube"): [50, 0, 0, 1], (B, "zoom"): [100, 0, 0, 1]}, now)
    assert [(row["application"], row["bytes"]) for row in history.largest("day", "", "", "application", {})] == [
        ("youtube", 550),
        ("zoom", 100),
    ]
    assert [row["client"] for row in history.largest("hour", "", "", "client", {}, 1)] == [A]
    pending = {(B, "zoom"): [900, 0, 0, 1]}
    assert [row["bytes"] for row in history.largest("hour", "", "", "client", pending)] == [1050, 500]
    assert history.largest("hour", A, "", "application", pending)[0]["bytes"] == 500
    assert [row["application"] for row in history.largest("day", B, "", "application", {})] == ["zoom", "youtube"]


def test_an_address_becomes_a_mac(db: sqlite3.Connection) -> None:
    now = at("2026-11-22T10:30:00")
    history = History(db, 30, lambda: now)
    history.add(batch("192.168.1.9"), now - 3 * 86400)  # somebody else had the address then
    history.add(batch("192.168.1.9"), now)
    history.add(batch(A), now)
    history.rename_client("192.168.1.9", A, now - 100)
    assert [(row[1], row[3]) for row in rows(db, "lan_day")] == [("192.168.1.9", 100), (A, 200)]
    assert [(row[1], row[3]) for row in rows(db, "lan_hour") if row[0] > now - 7200] == [(A, 200)]  # type: ignore[operator]


def test_devices_are_new_once(db: sqlite3.Connection) -> None:
    now = at("2026-11-22T10:30:00")
    assert History(db, 30, lambda: now).remember({A: (now, now), B: (now, now)}) == [A, B]
    assert History(db, 30, lambda: now).remember({A: (now, now + 5)}) == []


def test_a_database_that_refuses_loses_nothing(db: sqlite3.Connection) -> None:
    now = at("2026-11-22T10:30:00")
    history = History(db, 30, lambda: now)
    db.execute("PRAGMA query_only = 1")
    assert not history.add(batch(), now) and not db.in_transaction
    assert [problem.code for problem in history.problems()] == ["lan_history_failed"]
    assert history.remember({A: (now, now)}) is None
    history.rename_client("192.168.1.9", A, now)
    db.execute("PRAGMA query_only = 0")
    assert history.add(batch(), now) and history.problems() == []
    assert rows(db, "lan_hour")[0][3] == 100


def test_the_schema_is_kept_over_restarts(db: sqlite3.Connection) -> None:
    now = at("2026-11-22T10:30:00")
    History(db, 30, lambda: now).add(batch(), now)
    assert History(db, 30, lambda: now).points("day", "", "", {})[0]["bytes"] == 111
    assert History(db, 30, lambda: now).has_client(A) and not History(db, 30).has_client(B)


@pytest.mark.parametrize("period", ["hour", "day", "week", "month"])
def test_what_a_clock_gone_wrong_wrote_does_not_stretch_the_charts(db: sqlite3.Connection, period: str) -> None:
    now = at("2026-11-22T10:30:00")
    history = History(db, 30, lambda: now)
    history.add(batch(B), at("2037-01-01T00:00:00"))
    history.add(batch(A), now)
    points = history.points(period, "", "", {})
    assert [point["bytes"] for point in points] == [111]
    assert [row["client"] for row in history.largest(period, "", "", "client", {})] == [A]


def test_a_clock_set_years_ahead_for_a_while_does_not_end_the_history(db: sqlite3.Connection) -> None:
    now = at("2026-11-22T10:30:00")
    history = History(db, 3)
    history.add(batch(), now)
    history.remember({A: (now, now)})
    history.add(batch(), at("2037-01-01T00:00:00"))
    assert day_of(now) in [row[0] for row in rows(db, "lan_day")]
    assert history.has_client(A) and history.remember({A: (now, now)}) == []
    # A router that was away so long forgets a day later.
    history.add(batch(), at("2037-01-02T00:00:00"))
    assert day_of(now) not in [row[0] for row in rows(db, "lan_day")]


def test_invented_clients_fill_neither_the_disk_nor_push_out_the_real_ones(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpi_dual.lan.history.MAX_ROWS_EACH", 3)
    now = at("2026-11-22T10:30:00")
    history = History(db, 30, lambda: now)
    history.add(batch(A), now)
    for minute in range(5):
        flood = {(f"02:00:00:00:{minute:02x}:{n:02x}", "youtube"): [1, 0, 0, 1] for n in range(10)}
        history.add(flood | batch(A), now + minute)
    for table in ("lan_hour", "lan_day"):
        found = {str(row[1]): row[3] for row in rows(db, table)}
        assert len(found) <= 4
        assert found[A] == 600
        assert found["(others)"] == 48
    assert len(db.execute("SELECT 1 FROM lan_name").fetchall()) <= 6


def test_invented_devices_are_forgotten_before_the_household(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpi_dual.lan.history.MAX_DEVICES", 10)
    now = at("2026-11-22T10:30:00")
    history = History(db, 30, lambda: now)
    history.remember({A: (now - 9000, now - 60), B: (now - 9000, now)})
    for number in range(50):
        history.remember({f"02:00:00:00:01:{number:02x}": (now, now)})
    assert db.execute("SELECT COUNT(*) FROM lan_device").fetchone()[0] <= 10
    assert history.remember({A: (now, now), B: (now, now)}) == []
