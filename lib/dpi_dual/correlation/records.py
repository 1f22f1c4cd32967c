"""What a correlated record is: its row as others are shown it, and which records a question is about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dpi_dual.correlation.actors import Network, bounds
from dpi_dual.correlation.events import severity
from dpi_dual.errors import QueryError

Record = dict[str, Any]

STATES = ("new", "acknowledged", "muted", "crowdsec_ban")

COLUMNS = "id, at, last_at, actor, event_type, rule, score, count, state, crowdsec, before, after, community_id, body"


def timestamp(at: float) -> str:
    """ISO-8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def of_row(row: tuple[Any, ...], context: str = "") -> Record:
    """A row of `COLUMNS` as answers and files show it, with the JSON text of its context if that is wanted."""
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


def page_mark(before: str) -> int:
    """The number of the record that a page's `next` stands for; raises QueryError."""
    if not before:
        return 1 << 62
    if not (before[0] == "t" and 1 < len(before) <= 16 and all(char in "0123456789abcdef" for char in before[1:])):
        raise QueryError("bad_page", "`before` must be the `next` of the page before it")
    return int(before[1:], 16)
