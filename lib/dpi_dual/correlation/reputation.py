"""How bad an address has been: 0–100, raised by events, falling with time, in SQLite so that a kill loses nothing.

A score is stored with the time it was brought up to date, and what it has lost since is worked out when it is read:
100,000 addresses need no pass over them. `zero_at`, when a score will have fallen to nothing, orders them by how
bad they are now, since all fall alike.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

TOP = 100.0
#: Rows that one step of a pass over all addresses changes: a few milliseconds.
STEP = 2000
MAX_ADDRESSES = 100_000
#: An address whose score has fallen to nothing is forgotten so long after its last event.
FORGET_S = 7 * 86400.0

_NEVER = 1e15


@dataclass(frozen=True, slots=True)
class Standing:
    """An address's reputation as it is now."""

    actor: str
    score: float
    events: int = 0
    last_event: str = ""
    updated_at: float = 0.0


class Reputation:
    """Scores by actor. `decay` points are lost every `interval_s`."""

    def __init__(self, db: sqlite3.Connection, decay: float, interval_s: float) -> None:
        self._db = db
        self.decay = decay
        self.interval_s = interval_s
        self.forgotten = 0
        db.execute(
            "CREATE TABLE IF NOT EXISTS correlation_reputation (id INTEGER PRIMARY KEY, actor TEXT UNIQUE NOT NULL,"
            " score REAL NOT NULL, decayed_at REAL NOT NULL, zero_at REAL NOT NULL, events INTEGER NOT NULL,"
            " last_event TEXT NOT NULL, updated_at REAL NOT NULL, asked_at REAL NOT NULL DEFAULT 0)"
        )
        db.execute("CREATE INDEX IF NOT EXISTS correlation_reputation_zero ON correlation_reputation (zero_at)")

    def _fallen(self, score: float, decayed_at: float, now: float) -> tuple[float, float]:
        """The score now, and the time up to which it has been lowered."""
        if not self.decay or now <= decayed_at:
            # A clock that was set back must not keep a score for ever.
            return score, min(decayed_at, now)
        steps = int((now - decayed_at) / self.interval_s)
        return max(0.0, score - steps * self.decay), decayed_at + steps * self.interval_s

    def _zero_at(self, score: float, decayed_at: float) -> float:
        if not self.decay:
            return _NEVER + score
        # The millisecond at most puts the higher of two scores that reach nothing at the same step first.
        return decayed_at + math.ceil(score / self.decay) * self.interval_s + score / TOP / 1000

    def add(self, actor: str, points: float, event_type: str, now: float) -> tuple[float, float]:
        """Counts an event and returns the score before and after; part of the caller's transaction."""
        row = self._db.execute(
            "SELECT id, score, decayed_at FROM correlation_reputation WHERE actor = ?", (actor,)
        ).fetchone()
        if row is None:
            after = min(TOP, max(0.0, points))
            self._db.execute(
                "INSERT INTO correlation_reputation (actor, score, decayed_at, zero_at, events, last_event, updated_at)"
                " VALUES (?, ?, ?, ?, 1, ?, ?)",
                (actor, after, now, self._zero_at(after, now), event_type, now),
            )
            return 0.0, after
        before, decayed_at = self._fallen(row[1], row[2], now)
        if not before:
            decayed_at = now
        after = min(TOP, max(0.0, before + points))
        self._db.execute(
            "UPDATE correlation_reputation SET score = ?, decayed_at = ?, zero_at = ?, events = events + 1,"
            " last_event = ?, updated_at = ? WHERE id = ?",
            (after, decayed_at, self._zero_at(after, decayed_at), event_type, now, row[0]),
        )
        return before, after

    def asked_at(self, actor: str) -> float:
        """When a ban was asked for, 0 if it was not."""
        row = self._db.execute("SELECT asked_at FROM correlation_reputation WHERE actor = ?", (actor,)).fetchone()
        return float(row[0]) if row else 0.0

    def ask(self, actor: str, now: float) -> None:
        """Notes that a ban was asked for."""
        self._db.execute("UPDATE correlation_reputation SET asked_at = ? WHERE actor = ?", (now, actor))

    def of(self, actor: str, now: float) -> Standing | None:
        """What is known about an actor; None if nothing."""
        row = self._db.execute(
            "SELECT actor, score, decayed_at, events, last_event, updated_at FROM correlation_reputation"
            " WHERE actor = ?",
            (actor,),
        ).fetchone()
        return None if row is None else self._standing(row, now)

    def score(self, actor: str, now: float) -> float:
        """The score now; 0 of a stranger."""
        standing = self.of(actor, now)
        return standing.score if standing else 0.0

    def _standing(self, row: tuple[str, float, float, int, str, float], now: float) -> Standing:
        actor, score, decayed_at, events, last_event, updated_at = row
        return Standing(actor, round(self._fallen(score, decayed_at, now)[0], 3), events, last_event, updated_at)

    def worst(self, now: float, limit: int, offset: int = 0) -> list[Standing]:
        """The actors with the highest scores, the worst first."""
        rows = self._db.execute(
            "SELECT actor, score, decayed_at, events, last_event, updated_at FROM correlation_reputation"
            " WHERE zero_at > ? ORDER BY zero_at DESC LIMIT ? OFFSET ?",
            (now, limit, offset),
        )
        return sorted((self._standing(row, now) for row in rows), key=lambda entry: -entry.score)

    def count(self, now: float) -> int:
        """How many have a score above 0."""
        (number,) = self._db.execute("SELECT COUNT(*) FROM correlation_reputation WHERE zero_at > ?", (now,)).fetchone()
        return int(number)

    def reset(self, actor: str) -> bool:
        """Forgets an actor; False if there was nothing to forget."""
        return self._db.execute("DELETE FROM correlation_reputation WHERE actor = ?", (actor,)).rowcount > 0

    # --- passes over all of them, in steps that let the loop breathe

    def _steps(self) -> Iterator[tuple[int, int]]:
        """Spans of row numbers, each of about `STEP` rows; rows that come meanwhile are new and need no pass."""
        (last,) = self._db.execute("SELECT COALESCE(MAX(id), 0) FROM correlation_reputation").fetchone()
        for first in range(0, last + 1, STEP):
            yield first, first + STEP

    async def lower_all(self, now: float, points: float) -> int:
        """Takes `points` off everybody at once, as one interval does; how many had any."""
        lowered = 0
        for first, end in self._steps():
            lowered += self._bring_up_to(first, end, now, points)
            await asyncio.sleep(0)
        return lowered

    async def change_rate(self, decay: float, interval_s: float, now: float) -> None:
        """From `now` on scores fall at another rate; what they have lost so far stays lost at the old one."""
        if (decay, interval_s) == (self.decay, self.interval_s):
            return
        old = Reputation.__new__(Reputation)
        old._db, old.decay, old.interval_s = self._db, self.decay, self.interval_s
        self.decay, self.interval_s = decay, interval_s
        for first, end in self._steps():
            self._rebase(old, first, end, now)
            await asyncio.sleep(0)

    def _rebase(self, old: Reputation, first: int, end: int, now: float) -> None:
        rows = self._db.execute(
            "SELECT id, score, decayed_at FROM correlation_reputation WHERE id >= ? AND id < ? AND updated_at < ?",
            (first, end, now),
        ).fetchall()
        changed = []
        for number, score, decayed_at in rows:
            left = old._fallen(score, decayed_at, now)[0]
            changed.append((left, now, self._zero_at(left, now), number))
        self._write(changed)

    def _bring_up_to(self, first: int, end: int, now: float, points: float) -> int:
        rows = self._db.execute(
            "SELECT id, score, decayed_at FROM correlation_reputation WHERE id >= ? AND id < ? AND zero_at > ?",
            (first, end, now),
        ).fetchall()
        changed = []
        for number, score, decayed_at in rows:
            left, until = self._fallen(score, decayed_at, now)
            left = max(0.0, left - points)
            changed.append((left, until, self._zero_at(left, until), number))
        self._write(changed)
        return len(changed)

    def _write(self, changed: list[tuple[float, float, float, int]]) -> None:
        self._db.execute("BEGIN")
        try:
            self._db.executemany(
                "UPDATE correlation_reputation SET score = ?, decayed_at = ?, zero_at = ? WHERE id = ?", changed
            )
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def prune(self, now: float) -> int:
        """Forgets who has had no score for long, and who is beyond the limit; a bounded part of them a call."""
        gone = self._db.execute(
            "DELETE FROM correlation_reputation WHERE id IN (SELECT id FROM correlation_reputation"
            " WHERE zero_at <= ? AND updated_at <= ? ORDER BY zero_at LIMIT ?)",
            (now, now - FORGET_S, STEP),
        ).rowcount
        (number,) = self._db.execute("SELECT COUNT(*) FROM correlation_reputation").fetchone()
        if number > MAX_ADDRESSES:
            gone += self._db.execute(
                "DELETE FROM correlation_reputation WHERE id IN"
                " (SELECT id FROM correlation_reputation ORDER BY zero_at LIMIT ?)",
                (min(number - MAX_ADDRESSES, STEP),),
            ).rowcount
        self.forgotten += gone
        return gone
