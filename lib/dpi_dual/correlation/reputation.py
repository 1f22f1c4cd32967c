"""How bad an address has been: 0–100, raised by events, falling with time, in SQLite so that a kill loses nothing.

All scores fall together, so what falls is one number: `lost`, the points that a score would have lost since the
beginning. Of an address its `level` is kept, the score plus what was lost when it got it: the score now is the level
less what is lost by now. However many addresses there are, a step of decay, a pass by hand and another rate cost
nothing, and an index on the level has the worst in order.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

TOP = 100.0
MAX_ADDRESSES = 100_000
#: An address whose score has fallen to nothing is forgotten so long after its last event.
FORGET_S = 7 * 86400.0
#: Rows that one `prune` deletes: a few milliseconds.
PRUNED_AT_ONCE = 2000


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

    def __init__(self, db: sqlite3.Connection, decay: float, interval_s: float, now: float) -> None:
        self._db = db
        self.forgotten = 0
        db.execute(
            "CREATE TABLE IF NOT EXISTS correlation_standing (id INTEGER PRIMARY KEY, actor TEXT UNIQUE NOT NULL,"
            " level REAL NOT NULL, events INTEGER NOT NULL, last_event TEXT NOT NULL, updated_at REAL NOT NULL,"
            " asked_at REAL NOT NULL)"
        )
        db.execute("CREATE INDEX IF NOT EXISTS correlation_standing_level ON correlation_standing (level)")
        db.execute(
            "CREATE TABLE IF NOT EXISTS correlation_decay (one INTEGER PRIMARY KEY CHECK (one = 1),"
            " lost REAL NOT NULL, since REAL NOT NULL, decay REAL NOT NULL, interval_s REAL NOT NULL)"
        )
        row = db.execute("SELECT lost, since, decay, interval_s FROM correlation_decay").fetchone()
        known: tuple[float, float, float, float] = row or (0.0, now, decay, interval_s)
        self._lost, self._since, self.decay, self.interval_s = known
        if row is None:
            self._keep()
        self.change_rate(decay, interval_s, now)
        self._addresses = self._rows()

    # --- what is lost by now

    def lost(self, now: float) -> float:
        """Points lost since the beginning; a clock that was set back a little stops the fall until it has caught up."""
        if now < self._since - self.interval_s:
            self._since = now
            self._keep()
        return self._lost + max(0, int((now - self._since) / self.interval_s)) * self.decay

    def change_rate(self, decay: float, interval_s: float, now: float) -> None:
        """From `now` on scores fall at another rate."""
        if (decay, interval_s) != (self.decay, self.interval_s):
            self._lost = self.lost(now)
            self._since, self.decay, self.interval_s = now, decay, interval_s
            self._keep()

    def lower_all(self, points: float, now: float) -> int:
        """Takes `points` off everybody now; how many had any."""
        count = self.count(now)
        self._lost += points
        self._keep()
        return count

    def _keep(self) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO correlation_decay VALUES (1, ?, ?, ?, ?)",
            (self._lost, self._since, self.decay, self.interval_s),
        )

    # --- one actor

    def add(self, actor: str, points: float, event_type: str, now: float) -> tuple[float, float]:
        """Counts an event and returns the score before and after; part of the caller's transaction."""
        lost = self.lost(now)
        row = self._db.execute("SELECT id, level FROM correlation_standing WHERE actor = ?", (actor,)).fetchone()
        before = max(0.0, row[1] - lost) if row else 0.0
        after = min(TOP, before + max(0.0, points))
        if row is None:
            if self._addresses >= MAX_ADDRESSES:
                # Whoever comes from ever new addresses must not outrun `prune`: the least bad gives way.
                self.forgotten += self._db.execute(
                    "DELETE FROM correlation_standing WHERE id ="
                    " (SELECT id FROM correlation_standing ORDER BY level LIMIT 1)"
                ).rowcount
            else:
                self._addresses += 1
            self._db.execute(
                "INSERT INTO correlation_standing (actor, level, events, last_event, updated_at, asked_at)"
                " VALUES (?, ?, 1, ?, ?, 0)",
                (actor, lost + after, event_type, now),
            )
        else:
            self._db.execute(
                "UPDATE correlation_standing SET level = ?, events = events + 1, last_event = ?, updated_at = ?"
                " WHERE id = ?",
                (lost + after, event_type, now, row[0]),
            )
        return before, after

    def of(self, actor: str, now: float) -> Standing | None:
        """What is known about an actor; None if nothing."""
        row = self._db.execute(
            "SELECT actor, level, events, last_event, updated_at FROM correlation_standing WHERE actor = ?", (actor,)
        ).fetchone()
        return self._standing(row, self.lost(now)) if row else None

    def score(self, actor: str, now: float) -> float:
        """The score now; 0 of a stranger."""
        standing = self.of(actor, now)
        return standing.score if standing else 0.0

    @staticmethod
    def _standing(row: tuple[str, float, int, str, float], lost: float) -> Standing:
        actor, level, events, last_event, updated_at = row
        return Standing(actor, round(max(0.0, level - lost), 3), events, last_event, updated_at)

    def reset(self, actor: str) -> bool:
        """Forgets an actor; False if there was nothing to forget."""
        gone = self._db.execute("DELETE FROM correlation_standing WHERE actor = ?", (actor,)).rowcount
        self._addresses -= gone
        return gone > 0

    def asked_at(self, actor: str) -> float:
        """When a ban was asked for, 0 if it was not."""
        row = self._db.execute("SELECT asked_at FROM correlation_standing WHERE actor = ?", (actor,)).fetchone()
        return float(row[0]) if row else 0.0

    def ask(self, actor: str, now: float) -> None:
        """Notes that a ban was asked for."""
        self._db.execute("UPDATE correlation_standing SET asked_at = ? WHERE actor = ?", (now, actor))

    # --- all of them

    def worst(self, now: float, limit: int, offset: int = 0) -> list[Standing]:
        """The actors with the highest scores, the worst first."""
        lost = self.lost(now)
        rows = self._db.execute(
            "SELECT actor, level, events, last_event, updated_at FROM correlation_standing"
            " WHERE level > ? ORDER BY level DESC LIMIT ? OFFSET ?",
            (lost, limit, offset),
        )
        return [self._standing(row, lost) for row in rows]

    def count(self, now: float) -> int:
        """How many have a score above 0."""
        (number,) = self._db.execute(
            "SELECT COUNT(*) FROM correlation_standing WHERE level > ?", (self.lost(now),)
        ).fetchone()
        return int(number)

    def prune(self, now: float) -> int:
        """Forgets who has had no score for long, and who is beyond the limit; a bounded part of them a call."""
        gone = self._db.execute(
            "DELETE FROM correlation_standing WHERE id IN (SELECT id FROM correlation_standing"
            " WHERE level <= ? AND updated_at <= ? ORDER BY level LIMIT ?)",
            (self.lost(now), now - FORGET_S, PRUNED_AT_ONCE),
        ).rowcount
        number = self._rows()
        if number > MAX_ADDRESSES:
            gone += self._db.execute(
                "DELETE FROM correlation_standing WHERE id IN"
                " (SELECT id FROM correlation_standing ORDER BY level LIMIT ?)",
                (min(number - MAX_ADDRESSES, PRUNED_AT_ONCE),),
            ).rowcount
        self._addresses = self._rows()  # a transaction that was rolled back had counted as well
        self.forgotten += gone
        return gone

    def _rows(self) -> int:
        (number,) = self._db.execute("SELECT COUNT(*) FROM correlation_standing").fetchone()
        return int(number)
