"""Events that an owner knows and does not want to be alarmed by: mutes by rule and by source."""

from __future__ import annotations

import ipaddress
import sqlite3

from dpi_dual.config import duration_seconds
from dpi_dual.correlation.actors import Actor, Network
from dpi_dual.correlation.events import Event
from dpi_dual.errors import QueryError

MOST = 500

_TABLE = (
    "CREATE TABLE IF NOT EXISTS correlation_mutes (id INTEGER PRIMARY KEY, rule TEXT NOT NULL, source TEXT NOT NULL,"
    " made_at REAL NOT NULL, until_at REAL NOT NULL, UNIQUE (rule, source))"
)


class Mutes:
    """The table `correlation_mutes` of the state's database, and the mutes in force in memory."""

    def __init__(self, db: sqlite3.Connection, now: float) -> None:
        self._db = db
        db.execute(_TABLE)
        self._known: list[tuple[str, str, Network | None, float]] = []
        self._load(now)

    def _load(self, now: float) -> None:
        self._known = [(rule, source, _network(source), until_at) for rule, source, _, until_at in self.rows(now)]

    def rows(self, now: float) -> list[tuple[str, str, float, float]]:
        """(rule, source, made_at, until_at) of those that hold."""
        rows = self._db.execute(
            "SELECT rule, source, made_at, until_at FROM correlation_mutes WHERE until_at = 0 OR until_at > ?", (now,)
        )
        return rows.fetchall()

    def add(self, rule: str, source: str, duration: str, now: float) -> None:
        """Events of `rule` ('' any) from `source` (an actor or a network, '' any) alarm nobody for a while ('': ever).

        Raises QueryError.
        """
        try:
            until = now + duration_seconds(duration) if duration else 0.0
        except ValueError:
            raise QueryError("bad_duration", f"{duration[:32]!r} is not a duration such as 30m, 4h or 7d") from None
        if len(self._known) >= MOST:
            raise QueryError("too_many", f"there are {MOST} mutes already; end some first")
        self._db.execute(
            "INSERT INTO correlation_mutes (rule, source, made_at, until_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET until_at = excluded.until_at",
            (rule, source, now, until),
        )
        self._load(now)

    def end(self, rule: str, source: str, now: float) -> int:
        """How many that ended."""
        done = self._db.execute("DELETE FROM correlation_mutes WHERE rule = ? AND source = ?", (rule, source))
        self._load(now)
        return done.rowcount

    def prune(self, now: float) -> None:
        """Forgets those that are over."""
        self._db.execute("DELETE FROM correlation_mutes WHERE until_at > 0 AND until_at <= ?", (now,))
        self._load(now)

    def match(self, event: Event, actor: Actor, now: float) -> bool:
        """True if nobody wants to hear of this."""
        if not self._known:
            return False
        address = ipaddress.ip_address(actor.ip)
        return any(
            (not rule or rule in (event.rule, event.type))
            and (
                not source
                or source == actor.key
                or (network is not None and network.version == address.version and address in network)
            )
            and (not until_at or now < until_at)
            for rule, source, network, until_at in self._known
        )


def _network(source: str) -> Network | None:
    try:
        return ipaddress.ip_network(source)
    except ValueError:
        return None  # a MAC, or any
