"""What waits to be told to CrowdSec: kept in SQLite, so that nothing accepted is lost if LAPI or the engine is down."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from dpi_dual.errors import QueryError

#: Some 600 bytes each. Half of it is for bans: mere records of what happened are refused first.
MOST = 2000
#: A request of ours that was cut off, or answered with an error, may still take effect for so long. We search for the
#: alert meanwhile, and send it again only if it is nowhere then.
SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """One alert for LAPI. `mode`: profile (LAPI's profiles decide), decision (a ban for `duration_s`) or record."""

    target: str
    scenario: str
    reason: str
    mode: str
    duration_s: float
    events: int
    started_at: float
    meta: dict[str, str] = field(default_factory=dict)
    reference: str = ""
    uuid: str = field(default_factory=lambda: os.urandom(16).hex())


@dataclass(slots=True)
class Entry:
    """A row of the queue. `unsure`: it may have reached LAPI already (an answer that did not come, a killed engine)."""

    number: int
    alert: Waiting
    unsure: bool
    settled_at: float = 0.0
    """Monotonic: before that an unsure one is only searched for, not sent again."""
    due_at: float = 0.0
    """Monotonic: before that it is left alone."""
    tries: int = 0
    refusals: int = 0


class Queue:
    """First in, first out, bans before mere records; `crowdsec_queue` in the engine's database.

    `accept` may be part of a transaction of the caller's: rolled back, the alert was never accepted.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._entries: dict[int, Entry] = {}
        self.unreadable = 0
        db.execute(
            "CREATE TABLE IF NOT EXISTS crowdsec_queue (number INTEGER PRIMARY KEY AUTOINCREMENT, alert TEXT NOT NULL)"
        )
        bad = []
        for number, text in db.execute("SELECT number, alert FROM crowdsec_queue ORDER BY number").fetchall():
            try:
                given = json.loads(text)
                # One that was under way when the engine was killed may be so still, at a slow LAPI.
                settled_at = time.monotonic() + SETTLE_S if given.pop("under_way", False) else 0.0
                # The engine before us, or a copy on flash, may have been stopped between sending and forgetting.
                self._entries[number] = Entry(number, Waiting(**given), unsure=True, settled_at=settled_at)
            except (ValueError, TypeError, AttributeError):
                bad.append((number,))
        self.unreadable = len(bad)
        db.executemany("DELETE FROM crowdsec_queue WHERE number = ?", bad)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def next(self, now: float) -> Entry | None:
        """The one to send at `now` (monotonic), if any is due."""
        record = None
        for entry in self._entries.values():
            if entry.due_at > now:
                continue
            if entry.alert.mode != "record":
                return entry
            record = record or entry
        return record

    def next_due_at(self) -> float | None:
        """When (monotonic) the next one is due; None when nothing waits."""
        return min((entry.due_at for entry in self._entries.values()), default=None)

    def holds(self, entry: Entry) -> bool:
        """False when the transaction that had accepted `entry` was rolled back; it is forgotten then."""
        try:
            row = self._db.execute("SELECT 1 FROM crowdsec_queue WHERE number = ?", (entry.number,)).fetchone()
        except sqlite3.Error:
            return True  # it is at least in memory
        if row is None:
            self._entries.pop(entry.number, None)
        return row is not None

    def accept(self, alert: Waiting) -> None:
        """Durable once this returns; QueryError when it is full or cannot be stored."""
        if len(self._entries) >= (MOST // 2 if alert.mode == "record" else MOST):
            text = f"{len(self._entries)} alerts wait for CrowdSec already; this one was not accepted"
            raise QueryError("queue_full", text)
        text = json.dumps(asdict(alert), separators=(",", ":"))
        try:
            (number,) = self._db.execute(
                "INSERT INTO crowdsec_queue (alert) VALUES (?) RETURNING number", (text,)
            ).fetchone()
        except sqlite3.Error as error:
            raise QueryError("not_stored", f"the alert for CrowdSec cannot be stored: {error}") from None
        self._entries[number] = Entry(number, alert, unsure=False)

    def under_way(self, entry: Entry) -> None:
        """`entry` is about to be sent: should the engine be killed now, the next one knows."""
        text = json.dumps({**asdict(entry.alert), "under_way": True}, separators=(",", ":"))
        try:
            self._db.execute("UPDATE crowdsec_queue SET alert = ? WHERE number = ?", (text, entry.number))
        except sqlite3.Error:
            self.unreadable += 1

    def forget(self, entry: Entry) -> None:
        """`entry` is done with. Where the database cannot say so, LAPI is asked first after a restart."""
        self._entries.pop(entry.number, None)
        try:
            self._db.execute("DELETE FROM crowdsec_queue WHERE number = ?", (entry.number,))
        except sqlite3.Error:
            self.unreadable += 1
