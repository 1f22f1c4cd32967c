"""History of the LAN in SQLite: bytes and flows of each client and application, by hour and by day."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from dpi_dual.lan.kinds import Pending, fold
from dpi_dual.model import Problem

#: Hourly rows are kept this long; after that only the daily ones are.
HOURS_KEPT = 72
#: Before this the clock has not been set yet: routers without a battery start in 1970 or at their build date.
SANE_AFTER = 1_704_067_200.0  # 2024-01-01 UTC
#: After a longer gap the clock is not believed on its first day: one set years ahead would end the whole history.
CREDIBLE_GAP_DAYS = 7
MAX_HOUR_ROWS = 200_000
MAX_DAY_ROWS = 300_000
#: Devices that are remembered as seen before.
MAX_DEVICES = 10_000
#: Rows of one hour or one day: 500 clients with 20 applications each, twice. What is beyond goes to `(others)`.
MAX_ROWS_EACH = 20_000

_HOUR = 3600
_SCHEMA = """
CREATE TABLE IF NOT EXISTS lan_name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS lan_device (mac TEXT PRIMARY KEY, first_seen_at REAL NOT NULL, last_seen_at REAL NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lan_hour (start INTEGER, client INTEGER, application INTEGER, bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL, bytes_unsplit INTEGER NOT NULL, flows INTEGER NOT NULL,
    PRIMARY KEY (start, client, application)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lan_day (start INTEGER, client INTEGER, application INTEGER, bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL, bytes_unsplit INTEGER NOT NULL, flows INTEGER NOT NULL,
    PRIMARY KEY (start, client, application)) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    bytes_in = bytes_in + excluded.bytes_in, bytes_out = bytes_out + excluded.bytes_out,
    bytes_unsplit = bytes_unsplit + excluded.bytes_unsplit, flows = flows + excluded.flows
"""
_ADD_HOUR = _ADD.format(table="lan_hour")
_ADD_DAY = _ADD.format(table="lan_day")

PERIODS = ("hour", "day", "week", "month")


def day_of(at: float) -> int:
    """The day of a moment in the router's own time zone, as `date.toordinal` numbers it."""
    return datetime.fromtimestamp(at).date().toordinal()


def day_start(ordinal: int) -> float:
    """When that day begins, Unix seconds; a day with a change of the clocks is 23 or 25 hours long."""
    return datetime.combine(date.fromordinal(ordinal), datetime.min.time()).timestamp()


class History:
    """Writes batches, answers charts. The connection is shared: each write is one short transaction of its own.

    `start` is Unix seconds in `lan_hour`, an ordinal of a local day in `lan_day`.
    """

    def __init__(self, db: sqlite3.Connection, history_days: int, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self.history_days = history_days
        self._clock = clock
        self._ids: dict[str, int] = {}
        self._failed = ""
        self._pruned_day = 0
        self.write_errors = 0
        self.rows_dropped = 0
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        if db.in_transaction:
            db.commit()

    def is_time_sane(self) -> bool:
        """False while the clock has obviously not been set."""
        return self._clock() >= SANE_AFTER

    def add(self, pending: Pending, now: float) -> bool:
        """Writes a batch under the hour and the day of `now`, all or nothing; False if the caller must keep it."""
        if now < SANE_AFTER:
            return False
        hour, day = int(now) // _HOUR * _HOUR, day_of(now)
        try:
            with _Transaction(self._db):
                for table, start, statement in (("lan_hour", hour, _ADD_HOUR), ("lan_day", day, _ADD_DAY)):
                    rows = [
                        (start, self._id(client), self._id(application), *figures)
                        for (client, application), figures in self._fitting(table, start, pending).items()
                        if any(figures)
                    ]
                    self._db.executemany(statement, rows)
                if day != self._pruned_day:
                    self._prune(now)
                    self._pruned_day = day
        except sqlite3.Error as error:
            self._ids.clear()
            self.write_errors += 1
            self._failed = str(error)
            return False
        self._failed = ""
        return True

    def _fitting(self, table: str, start: int, pending: Pending) -> Pending:
        """The batch so that this hour or day does not get more than `MAX_ROWS_EACH` rows."""
        where = f"FROM {table} WHERE start = ?"
        room = MAX_ROWS_EACH - int(self._db.execute(f"SELECT COUNT(*) {where}", (start,)).fetchone()[0])
        if len(pending) <= room:
            return pending
        names = "(SELECT name FROM lan_name WHERE id = client), (SELECT name FROM lan_name WHERE id = application)"
        return fold(pending, room, set(self._db.execute(f"SELECT {names} {where}", (start,))))

    def rename_client(self, old: str, new: str, since: float) -> None:
        """Gives what was written under an address since `since` to the MAC that it turned out to be."""
        since = max(since, SANE_AFTER)
        try:
            with _Transaction(self._db):
                from_id, to_id = self._id(old), self._id(new)
                for table, start in (("lan_hour", int(since) // _HOUR * _HOUR), ("lan_day", day_of(since))):
                    # S608: table names are ours.
                    rows = self._db.execute(
                        "SELECT start, application, bytes_in, bytes_out, bytes_unsplit, flows"  # noqa: S608
                        f" FROM {table} WHERE start >= ? AND client = ?",
                        (start, from_id),
                    ).fetchall()
                    self._db.executemany(_ADD.format(table=table), [(row[0], to_id, *row[1:]) for row in rows])
                    self._db.execute(
                        f"DELETE FROM {table} WHERE start >= ? AND client = ?",  # noqa: S608
                        (start, from_id),
                    )
        except sqlite3.Error as error:
            self._ids.clear()
            self.write_errors += 1
            self._failed = str(error)

    def remember(self, macs: dict[str, tuple[float, float]]) -> list[str] | None:
        """Notes when devices (MAC → first and last seen) were there; returns the new ones, None on failure."""
        if not self.is_time_sane():
            return None
        fresh = []
        try:
            with _Transaction(self._db):
                for mac, (first, last) in macs.items():
                    known = self._db.execute("SELECT 1 FROM lan_device WHERE mac = ?", (mac,)).fetchone()
                    if known is None:
                        fresh.append(mac)
                    self._db.execute(
                        "INSERT INTO lan_device VALUES (?, ?, ?)"
                        " ON CONFLICT DO UPDATE SET last_seen_at = excluded.last_seen_at",
                        (mac, max(first, SANE_AFTER), last),
                    )
                count = self._db.execute("SELECT COUNT(*) FROM lan_device").fetchone()[0]
                if count > MAX_DEVICES:
                    # Those seen for a moment only, long ago: a flood of invented MAC addresses, not the household.
                    self._db.execute(
                        "DELETE FROM lan_device WHERE mac IN (SELECT mac FROM lan_device"
                        " ORDER BY last_seen_at - first_seen_at, last_seen_at LIMIT ?)",
                        (count - MAX_DEVICES * 9 // 10,),
                    )
        except sqlite3.Error as error:
            self.write_errors += 1
            self._failed = str(error)
            return None
        return fresh

    def has_client(self, client: str) -> bool:
        """True if anything is stored about it."""
        return self._db.execute("SELECT 1 FROM lan_name WHERE name = ?", (client,)).fetchone() is not None

    def points(self, period: str, client: str, application: str, pending: Pending) -> list[dict[str, object]]:
        """One point a `period` from the first that has figures to the present one, gaps as zero.

        hour: the last 72 hours; day: `history_days`; week (from Monday) and month: the same days, added up. `pending`
        is what has not been written yet: it belongs to the present point.
        """
        now = self._clock()
        table, first, present = self._range(period, now)
        figures: dict[int, list[int]] = {}
        for start, *values in self._sums(table, first, present, client, application, "start"):
            self._sum_into(figures, _bucket(period, start), values)
        present = _bucket(period, present)
        for (key, name), values in pending.items():
            if client in ("", key) and application in ("", name):
                self._sum_into(figures, present, values)
        if not figures:
            return []
        points: list[dict[str, object]] = []
        at = min(figures)
        while at <= present:
            following = _following(period, at)
            bytes_in, bytes_out, unsplit, flows = figures.get(at, (0, 0, 0, 0))
            begins = float(at) if period == "hour" else day_start(at)
            ends = float(following) if period == "hour" else day_start(following)
            points.append(
                {
                    "start_at": begins,
                    "seconds": int(ends - begins),
                    "bytes": bytes_in + bytes_out + unsplit,
                    "bytes_in": bytes_in,
                    "bytes_out": bytes_out,
                    "bytes_unsplit": unsplit,
                    "flows": flows,
                }
            )
            at = following
        return points

    def largest(
        self, period: str, client: str, application: str, by: str, pending: Pending, count: int = 10
    ) -> list[dict[str, object]]:
        """The largest applications (`by` application) or clients (`by` client) of the time that `points` covers."""
        table, first, present = self._range(period, self._clock())
        sums = {name: list(figures) for name, *figures in self._sums(table, first, present, client, application, by)}
        for key, figures in pending.items():
            if client in ("", key[0]) and application in ("", key[1]):
                self._sum_into(sums, key[by == "application"], figures)
        found: list[dict[str, object]] = []
        for name, figures in sorted(sums.items(), key=lambda item: sum(item[1][:3]), reverse=True)[:count]:
            bytes_in, bytes_out, unsplit, flows = figures
            size = bytes_in + bytes_out + unsplit
            found.append({by: name, "bytes": size, "bytes_in": bytes_in, "bytes_out": bytes_out, "flows": flows})
        return found

    def problems(self) -> list[Problem]:
        """Whether the history is being written."""
        found = []
        if self._failed:
            found.append(
                Problem(
                    "lan_history_failed",
                    f"the history of the LAN cannot be written ({self._failed}); figures are kept in memory meanwhile.",
                    "Free some space where dpi-dual.settings.stats_dir is.",
                )
            )
        if not self.is_time_sane():
            found.append(
                Problem(
                    "lan_clock_unset",
                    "the clock has not been set since the start; the history of the LAN waits for it.",
                    "Check NTP (UCI system.ntp).",
                    "info",
                )
            )
        return found

    def counters(self) -> dict[str, int]:
        """Drops and oddities."""
        return {"lan_history_write_errors": self.write_errors, "lan_history_rows_dropped": self.rows_dropped}

    def _range(self, period: str, now: float) -> tuple[str, int, int]:
        """The table, and the first and the present start in it. What is later was written by a clock gone wrong."""
        if period == "hour":
            present = int(now) // _HOUR * _HOUR
            return "lan_hour", present - (HOURS_KEPT - 1) * _HOUR, present
        return "lan_day", day_of(now) - max(1, self.history_days) + 1, day_of(now)

    def _sums(
        self, table: str, first: int, present: int, client: str, application: str, by: str
    ) -> list[tuple[Any, ...]]:
        """(start, or name of what `by` says; bytes in, out, unsplit; flows) of each group."""
        # S608: all that is pasted in are column and table names of ours.
        group = "start" if by == "start" else f"(SELECT name FROM lan_name WHERE id = {by})"  # noqa: S608
        where = ""
        values: list[int | str] = [first, present]
        for column, name in (("client", client), ("application", application)):
            if name:
                where += f" AND {column} = (SELECT id FROM lan_name WHERE name = ?)"  # noqa: S608
                values.append(name)
        return self._db.execute(
            f"SELECT {group}, SUM(bytes_in), SUM(bytes_out), SUM(bytes_unsplit), SUM(flows) FROM {table}"  # noqa: S608
            f" WHERE start BETWEEN ? AND ?{where} GROUP BY {by}",
            values,
        ).fetchall()

    @staticmethod
    def _sum_into(figures: dict[Any, list[int]], at: object, values: list[int]) -> None:
        sums = figures.setdefault(at, [0, 0, 0, 0])
        for index, value in enumerate(values):
            sums[index] += value

    def _id(self, name: str) -> int:
        known = self._ids.get(name)
        if known is None:
            self._db.execute("INSERT INTO lan_name (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            known = int(self._db.execute("SELECT id FROM lan_name WHERE name = ?", (name,)).fetchone()[0])
            if len(self._ids) >= 4000:
                self._ids.clear()
            self._ids[name] = known
        return known

    def _prune(self, now: float) -> None:
        """Once a day, and at the first write: what is too old, and the oldest where there is too much."""
        today = day_of(now)
        before = self._db.execute("SELECT MAX(start) FROM lan_day WHERE start < ?", (today,)).fetchone()[0]
        if before is not None and today - before <= CREDIBLE_GAP_DAYS:
            self._forget_before(now, today - max(1, self.history_days) + 1)
        for table, limit in (("lan_hour", MAX_HOUR_ROWS), ("lan_day", MAX_DAY_ROWS)):
            count = self._db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
            while count > limit:
                gone = self._db.execute(
                    f"DELETE FROM {table} WHERE start = (SELECT MIN(start) FROM {table})"  # noqa: S608 - ours
                ).rowcount
                self.rows_dropped += gone
                count -= gone
        self._db.execute(
            "DELETE FROM lan_name WHERE id NOT IN (SELECT client FROM lan_hour UNION SELECT application FROM lan_hour"
            " UNION SELECT client FROM lan_day UNION SELECT application FROM lan_day)"
        )
        self._ids.clear()

    def _forget_before(self, now: float, oldest_day: int) -> None:
        hours = int(now) // _HOUR * _HOUR - (HOURS_KEPT - 1) * _HOUR
        self._db.execute("DELETE FROM lan_hour WHERE start < ?", (hours,))
        self._db.execute("DELETE FROM lan_day WHERE start < ?", (oldest_day,))
        self._db.execute("DELETE FROM lan_device WHERE last_seen_at < ?", (day_start(oldest_day),))


class _Transaction:
    """One transaction whatever isolation level the connection was opened with."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:
            self._db.execute("ROLLBACK")


def _bucket(period: str, start: int) -> int:
    """The start of the period that an hour (Unix seconds) or a day (ordinal) falls into, in the same unit."""
    if period == "week":
        return start - date.fromordinal(start).weekday()
    if period == "month":
        return date.fromordinal(start).replace(day=1).toordinal()
    return start


def _following(period: str, start: int) -> int:
    if period == "hour":
        return start + _HOUR
    if period == "day":
        return start + 1
    if period == "week":
        return start + 7
    return (date.fromordinal(start) + timedelta(days=31)).replace(day=1).toordinal()
