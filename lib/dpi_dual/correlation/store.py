"""The records of what happened, in the state's SQLite: written with their event in one transaction, found by index."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

from dpi_dual import retention
from dpi_dual.correlation.actors import Actor, packed
from dpi_dual.correlation.events import HIGH, Event
from dpi_dual.correlation.records import COLUMNS, Kept, Record, Wanted, of_row, page_mark, timestamp

#: Records kept, the newest; with their context one is two to four kilobytes.
KEPT = 2000
#: Events that are remembered as counted, so that one told twice counts once.
REMEMBERED = 20_000
HOURS_KEPT = 31 * 24
NOTIFICATIONS_KEPT = 100
#: A page stays below what ubus carries (and rpcd survives).
PAGE_BYTES = 200 * 1024

_TABLES = (
    "CREATE TABLE IF NOT EXISTS correlation_threats (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL,"
    " last_at REAL NOT NULL, actor TEXT NOT NULL, packed BLOB NOT NULL, event_type TEXT NOT NULL, rule TEXT NOT NULL,"
    " score INTEGER NOT NULL, count INTEGER NOT NULL, state TEXT NOT NULL, crowdsec TEXT NOT NULL,"
    " before REAL NOT NULL, after REAL NOT NULL, community_id TEXT NOT NULL, body TEXT NOT NULL,"
    " context TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS correlation_threats_cause ON correlation_threats (actor, event_type, rule)",
    "CREATE INDEX IF NOT EXISTS correlation_threats_packed ON correlation_threats (packed)",
    "CREATE TABLE IF NOT EXISTS correlation_seen (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL)",
    "CREATE TABLE IF NOT EXISTS correlation_totals (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS correlation_hours (hour INTEGER NOT NULL, event_type TEXT NOT NULL,"
    " n INTEGER NOT NULL, PRIMARY KEY (hour, event_type)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS correlation_notifications (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS correlation_listeners (place TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
)


class Store:
    """The tables `correlation_*` of the state's database, all but that of the mutes."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.failed = ""
        """Why the last write failed; '' if it did not."""
        for statement in _TABLES:
            db.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- events

    def remember(self, identity: str) -> bool:
        """Notes that an event was counted; False if it had been."""
        done = self._db.execute("INSERT OR IGNORE INTO correlation_seen (id) VALUES (?)", (identity,))
        return done.rowcount > 0

    def knows(self, identity: str) -> bool:
        """True for an event that was counted."""
        return bool(self._db.execute("SELECT 1 FROM correlation_seen WHERE id = ?", (identity,)).fetchone())

    def tally(self, at: float, event_type: str, **totals: int) -> None:
        """Counts for the totals and the trend."""
        self._db.execute(
            "INSERT INTO correlation_hours VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
            (int(at // 3600), event_type),
        )
        self.total(**totals)

    def total(self, **totals: int) -> None:
        """Adds to the totals."""
        self._db.executemany(
            "INSERT INTO correlation_totals VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
            [(name, number) for name, number in totals.items() if number],
        )

    def totals(self) -> dict[str, int]:
        """What was counted since the state began."""
        return dict(self._db.execute("SELECT name, n FROM correlation_totals").fetchall())

    def hours(self, since: float) -> list[tuple[int, str, int]]:
        """(hour since 1970, event type, events), oldest first."""
        rows = self._db.execute(
            "SELECT hour, event_type, n FROM correlation_hours WHERE hour >= ? ORDER BY hour", (int(since // 3600),)
        )
        return rows.fetchall()

    # --- records

    def open_record(self, actor: str, event_type: str, rule: str, since: float, muted: bool) -> tuple[int, str]:
        """Number and state of the record that an event of this cause belongs to; number 0 if it begins a new one."""
        row = self._db.execute(
            "SELECT id, state FROM correlation_threats WHERE actor = ? AND event_type = ? AND rule = ?"
            " AND last_at >= ? AND (state = 'muted') = ? ORDER BY id DESC LIMIT 1",
            (actor, event_type, rule, since, muted),
        ).fetchone()
        return (int(row[0]), str(row[1])) if row else (0, "")

    def add(
        self,
        event: Event,
        actor: Actor,
        state: str,
        crowdsec: str,
        before: float,
        after: float,
        community_id: str,
        context: Record,
    ) -> int:
        """A new record's number."""
        body = {
            "ip": actor.ip,
            "reason": event.reason,
            "kind": actor.kind,
            "source": event.source,
            **({"mac": actor.mac} if actor.mac else {}),
            **({"hostname": actor.hostname} if actor.hostname else {}),
            **({"port": event.port} if event.port else {}),
            **({"outbound": True} if event.outbound else {}),
            **event.details,
        }
        done = self._db.execute(
            "INSERT INTO correlation_threats (at, last_at, actor, packed, event_type, rule, score, count, state,"
            " crowdsec, before, after, community_id, body, context)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(event.at, event.at, actor.key, packed(ip_address(actor.ip)), event.type, event.rule, event.score),
                *(state, crowdsec, before, after, community_id),
                json.dumps(body, separators=(",", ":")),
                json.dumps(context, separators=(",", ":")),
            ),
        )
        return int(done.lastrowid or 0)

    def merge(self, number: int, event: Event, after: float) -> None:
        """One more event of a record's cause."""
        self._db.execute(
            "UPDATE correlation_threats SET count = count + 1, last_at = MAX(last_at, ?), score = MAX(score, ?),"
            " after = ? WHERE id = ?",
            (event.at, event.score, after, number),
        )

    def enrich(self, number: int, community_id: str = "", **parts: list[Any]) -> None:
        """Adds to a record's context what it has none of yet: `mitm_requests`, `dpi_flows`, `waf_alerts`."""
        row = self._db.execute("SELECT context FROM correlation_threats WHERE id = ?", (number,)).fetchone()
        if row is None:
            return
        context = json.loads(row[0])
        for name, value in parts.items():
            # The flow with the very ports is worth more than the others of that address.
            if value and (not context.get(name) or community_id):
                context[name] = value
        self._db.execute(
            "UPDATE correlation_threats SET context = ?,"
            " community_id = CASE WHEN ? = '' THEN community_id ELSE ? END WHERE id = ?",
            (json.dumps(context, separators=(",", ":")), community_id, community_id, number),
        )

    def mark(self, number: int, crowdsec: str = "", state: str = "") -> bool:
        """Sets a record's state, CrowdSec's or ours; False if there is no such record."""
        done = self._db.execute(
            "UPDATE correlation_threats SET crowdsec = CASE WHEN ? = '' THEN crowdsec ELSE ? END,"
            " state = CASE WHEN ? = '' THEN state ELSE ? END WHERE id = ?",
            (crowdsec, crowdsec, state, state, number),
        )
        return done.rowcount > 0

    def mark_actor(self, actor: str, crowdsec: str, state: str, before_state: str) -> int:
        """The same for all records of an actor that are in `before_state`."""
        done = self._db.execute(
            "UPDATE correlation_threats SET crowdsec = ?, state = ? WHERE actor = ? AND state = ?",
            (crowdsec, state, actor, before_state),
        )
        return done.rowcount

    def acknowledge(self, wanted: Wanted, rule: str, state: str) -> int:
        """Sets the state of the open records that fit; how many."""
        where, values = wanted.where()
        if rule:
            where += " AND rule = ?"
            values.append(rule)
        done = self._db.execute(
            f"UPDATE correlation_threats SET state = ? WHERE state = 'new' AND {where}",  # noqa: S608 - `where` has no text of others
            [state, *values],
        )
        return done.rowcount

    def record(self, number: int) -> Record | None:
        """One record with its context."""
        row = self._db.execute(
            f"SELECT {COLUMNS}, context FROM correlation_threats WHERE id = ?",  # noqa: S608
            (number,),
        ).fetchone()
        return of_row(row, row[14]) if row else None

    def page(self, wanted: Wanted, limit: int, before: str = "", context: bool = False) -> dict[str, Any]:
        """Records, newest first, the `total` that fit, and `next` if there are more."""
        where, values = wanted.where()
        (total,) = self._db.execute(f"SELECT COUNT(*) FROM correlation_threats WHERE {where}", values).fetchone()  # noqa: S608
        rows = self._db.execute(
            f"SELECT {COLUMNS}, context FROM correlation_threats WHERE {where} AND id < ? ORDER BY id DESC LIMIT ?",  # noqa: S608
            [*values, page_mark(before), limit + 1],
        )
        shown: list[Record] = []
        size = 0
        answer: dict[str, Any] = {"threats": shown, "total": total}
        for row in rows:
            record = of_row(row, row[14] if context else "")
            size += len(json.dumps(record)) + 2
            if len(shown) == limit or (shown and size > PAGE_BYTES):
                answer["next"] = f"t{shown[-1]['id']:x}"
                break
            shown.append(record)
        return answer

    def lines(self, limit: int) -> Iterator[str]:
        """The newest for the file: JSON texts with context, oldest first. Records may change between two of them."""
        numbers = self._db.execute("SELECT id FROM correlation_threats ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
        for (number,) in reversed(numbers):
            row = self._db.execute(
                f"SELECT {COLUMNS}, context FROM correlation_threats WHERE id = ?",  # noqa: S608
                (number,),
            ).fetchone()
            if row is not None:
                # The context is JSON already.
                yield f'{json.dumps(of_row(row), separators=(",", ":"))[:-1]},"context":{row[14]}}}'

    def by_state(self) -> dict[str, int]:
        """How many of the kept records are in which state."""
        return dict(self._db.execute("SELECT state, COUNT(*) FROM correlation_threats GROUP BY state").fetchall())

    def kept(self) -> Kept:
        """The kept records in figures."""
        return Kept(
            *self._db.execute(
                "SELECT COUNT(*), COUNT(DISTINCT actor), COUNT(CASE WHEN score >= ? THEN 1 END),"
                " COALESCE(MAX(last_at), 0) FROM correlation_threats",
                (HIGH,),
            ).fetchone()
        )

    def gravest(self, since: float) -> int:
        """The highest score of an open record, 0 if there is none."""
        (score,) = self._db.execute(
            "SELECT COALESCE(MAX(score), 0) FROM correlation_threats WHERE state = 'new' AND last_at >= ?", (since,)
        ).fetchone()
        return int(score)

    def categories(self, since: float) -> Counter[str]:
        """Events of the kept records by what they are about: WAF categories, else the rule or type."""
        found: Counter[str] = Counter()
        for event_type, rule, count, body in self._db.execute(
            "SELECT event_type, rule, count, body FROM correlation_threats WHERE last_at >= ?", (since,)
        ):
            known = json.loads(body).get("categories") or [rule if ":" in rule else event_type]
            for category in known[:8]:
                found[category] += count
        return found

    def offences(self, actors: list[str]) -> dict[str, tuple[int, int, str]]:
        """Of these actors: records, worst score, the address seen last."""
        found: dict[str, tuple[int, int, str]] = {}
        for actor in actors:
            row = self._db.execute(
                "SELECT COUNT(*), MAX(score), body FROM (SELECT score, body FROM correlation_threats"
                " WHERE actor = ? ORDER BY id DESC)",
                (actor,),
            ).fetchone()
            if row[0]:
                found[actor] = (row[0], row[1], json.loads(row[2])["ip"])
        return found

    # --- listeners

    def listeners(self) -> set[str]:
        """Places that were seen answering the outside."""
        return {place for (place,) in self._db.execute("SELECT place FROM correlation_listeners")}

    def add_listener(self, place: str, now: float) -> None:
        """One more."""
        self._db.execute("INSERT OR IGNORE INTO correlation_listeners VALUES (?, ?)", (place, now))

    # --- notifications

    def add_notification(self, notification: Record) -> int:
        """Keeps the newest; returns its number."""
        text = json.dumps(notification, separators=(",", ":"))
        done = self._db.execute("INSERT INTO correlation_notifications (body) VALUES (?)", (text,))
        number = int(done.lastrowid or 0)
        self._db.execute("DELETE FROM correlation_notifications WHERE id <= ?", (number - NOTIFICATIONS_KEPT,))
        return number

    def notifications(self) -> list[Record]:
        """All that are kept, oldest first."""
        rows = self._db.execute("SELECT id, body FROM correlation_notifications ORDER BY id").fetchall()
        return [{"id": number, **json.loads(text)} for number, text in rows]

    # --- bounds

    def prune(self, now: float) -> None:
        """Forgets what is beyond the bounds."""
        self._db.execute(
            "DELETE FROM correlation_threats WHERE id <= (SELECT COALESCE(MAX(id), 0) FROM correlation_threats) - ?",
            (KEPT,),
        )
        self._db.execute(
            "DELETE FROM correlation_seen WHERE n <= (SELECT COALESCE(MAX(n), 0) FROM correlation_seen) - ?",
            (REMEMBERED,),
        )
        self._db.execute("DELETE FROM correlation_hours WHERE hour < ?", (int(now // 3600) - HOURS_KEPT,))
        oldest = retention.oldest(self._db, "correlation", now)
        if oldest:
            self._db.execute("DELETE FROM correlation_threats WHERE last_at < ?", (oldest,))
            # Written in UTC, so that texts compare as times do.
            gone = [(row["id"],) for row in self.notifications() if row["timestamp"] < timestamp(oldest)]
            self._db.executemany("DELETE FROM correlation_notifications WHERE id = ?", gone)
