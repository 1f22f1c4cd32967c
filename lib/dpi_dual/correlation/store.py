"""The records of what happened, in the state's SQLite: written with their event in one transaction, found by index."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from dpi_dual import retention
from dpi_dual.correlation.actors import Actor, Network, bounds, packed
from dpi_dual.correlation.events import HIGH, Event, severity
from dpi_dual.errors import QueryError

Record = dict[str, Any]

#: Records kept, the newest; with their context one is two to four kilobytes.
KEPT = 2000
#: Events that are remembered as counted, so that one told twice counts once.
REMEMBERED = 20_000
HOURS_KEPT = 31 * 24
NOTIFICATIONS_KEPT = 100
STATES = ("new", "acknowledged", "muted", "crowdsec_ban")
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
    "CREATE TABLE IF NOT EXISTS correlation_mutes (id INTEGER PRIMARY KEY, rule TEXT NOT NULL, source TEXT NOT NULL,"
    " made_at REAL NOT NULL, until_at REAL NOT NULL, UNIQUE (rule, source))",
    "CREATE TABLE IF NOT EXISTS correlation_notifications (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS correlation_listeners (place TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
)

_COLUMNS = "id, at, last_at, actor, event_type, rule, score, count, state, crowdsec, before, after, community_id, body"


def timestamp(at: float) -> str:
    """ISO-8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _record(row: tuple[Any, ...], context: str = "") -> Record:
    number, at, last_at, actor, event_type, rule, score, count, state, crowdsec, before, after, community, body = row[
        :14
    ]
    known: Record = json.loads(body)
    return {
        "id": number,
        "ip": known.pop("ip"),
        "timestamp": timestamp(at),
        "event_type": event_type,
        "reason": known.pop("reason"),
        "threat_score": score,
        "severity": severity(score),
        "reputation_score": round(after, 1),
        "reputation_before": round(before, 1),
        "crowdsec_status": crowdsec,
        "state": state,
        "actor": actor,
        "rule": rule,
        "count": count,
        "first_at": round(at, 3),
        "last_at": round(last_at, 3),
        "community_id": community,
        **known,
        **({"context": json.loads(context)} if context else {}),
    }


@dataclass(frozen=True, slots=True)
class Kept:
    """How many records there are, of how many actors, how many of high severity or worse, and the latest event."""

    records: int
    actors: int
    high: int
    last_at: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a page of records is narrowed to; empty means any."""

    network: Network | None = None
    actor: str = ""
    event_type: str = ""
    min_score: int = 0
    since: float = 0.0
    until: float = 0.0
    state: str = ""
    text: str = ""

    def where(self) -> tuple[str, list[Any]]:
        """An SQL condition and its values."""
        terms, values = ["1"], list[Any]()
        if self.network is not None and self.actor:
            terms.append("((packed >= ? AND packed <= ?) OR actor = ?)")
            values += (*bounds(self.network), self.actor)
        elif self.network is not None:
            terms.append("packed >= ? AND packed <= ?")
            values += bounds(self.network)
        elif self.actor:
            terms.append("actor = ?")
            values.append(self.actor)
        for term, value in (
            ("event_type = ?", self.event_type),
            ("score >= ?", self.min_score),
            ("last_at >= ?", self.since),
            ("at <= ?", self.until),
            ("state = ?", self.state),
        ):
            if value:
                terms.append(term)
                values.append(value)
        if self.text:
            terms.append("(instr(lower(body), ?) OR instr(lower(rule), ?) OR instr(event_type, ?) OR instr(actor, ?))")
            # As it stands inside the JSON text, where a quote or an umlaut is an escape.
            inside = json.dumps(self.text.lower())[1:-1]
            values += (inside, self.text.lower(), self.text.lower(), self.text.lower())
        return " AND ".join(terms), values


class Store:
    """Tables `correlation_*` of the state's database."""

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
            f"SELECT {_COLUMNS}, context FROM correlation_threats WHERE id = ?",  # noqa: S608
            (number,),
        ).fetchone()
        return _record(row, row[14]) if row else None

    def page(self, wanted: Wanted, limit: int, before: str = "", context: bool = False) -> dict[str, Any]:
        """Records, newest first, the `total` that fit, and `next` if there are more."""
        where, values = wanted.where()
        (total,) = self._db.execute(f"SELECT COUNT(*) FROM correlation_threats WHERE {where}", values).fetchone()  # noqa: S608
        rows = self._db.execute(
            f"SELECT {_COLUMNS}, context FROM correlation_threats WHERE {where} AND id < ? ORDER BY id DESC LIMIT ?",  # noqa: S608
            [*values, _mark(before), limit + 1],
        )
        shown: list[Record] = []
        size = 0
        answer: dict[str, Any] = {"threats": shown, "total": total}
        for row in rows:
            record = _record(row, row[14] if context else "")
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
                f"SELECT {_COLUMNS}, context FROM correlation_threats WHERE id = ?",  # noqa: S608
                (number,),
            ).fetchone()
            if row is not None:
                # The context is JSON already.
                yield f'{json.dumps(_record(row), separators=(",", ":"))[:-1]},"context":{row[14]}}}'

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

    # --- mutes and listeners

    def mute(self, rule: str, source: str, now: float, until: float) -> None:
        """Events of `rule` ('' any) from `source` (an actor or a network, '' any) alarm nobody until then (0: ever)."""
        self._db.execute(
            "INSERT INTO correlation_mutes (rule, source, made_at, until_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET until_at = excluded.until_at",
            (rule, source, now, until),
        )

    def unmute(self, rule: str, source: str) -> int:
        """Ends a mute; how many that were."""
        return self._db.execute("DELETE FROM correlation_mutes WHERE rule = ? AND source = ?", (rule, source)).rowcount

    def mutes(self, now: float) -> list[tuple[str, str, float, float]]:
        """(rule, source, made_at, until_at) of those that hold."""
        rows = self._db.execute(
            "SELECT rule, source, made_at, until_at FROM correlation_mutes WHERE until_at = 0 OR until_at > ?", (now,)
        )
        return rows.fetchall()

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
        self._db.execute("DELETE FROM correlation_mutes WHERE until_at > 0 AND until_at <= ?", (now,))
        oldest = retention.oldest(self._db, "correlation", now)
        if oldest:
            self._db.execute("DELETE FROM correlation_threats WHERE last_at < ?", (oldest,))
            # Written in UTC, so that texts compare as times do.
            gone = [(row["id"],) for row in self.notifications() if row["timestamp"] < timestamp(oldest)]
            self._db.executemany("DELETE FROM correlation_notifications WHERE id = ?", gone)


def _mark(before: str) -> int:
    if not before:
        return 1 << 62
    if not (before[0] == "t" and 1 < len(before) <= 16 and all(char in "0123456789abcdef" for char in before[1:])):
        raise QueryError("bad_page", "`before` must be the `next` of the page before it")
    return int(before[1:], 16)
