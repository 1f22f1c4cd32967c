"""The table of protocols and applications seen on the LAN."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nsmallest

from dpi_dual.lan.tally import Tally, serials

#: nDPI knows about 450 protocols and Netify 200 applications; pairs beyond this are noise or an attack.
MAX_ROWS = 1024

UNKNOWN = "Unknown"


def label(protocol: str, application: str) -> str:
    """What history and lists of applications call a flow: its application, else its protocol."""
    return application if application != UNKNOWN else protocol


class ProtocolRow(Tally):
    """All flows of one protocol and application."""

    __slots__ = ("application", "last_seen_at", "protocol", "serial")

    def __init__(self, protocol: str, application: str, now: float) -> None:
        super().__init__()
        self.protocol = protocol
        self.application = application
        self.last_seen_at = now
        self.serial = next(serials)

    def row(self) -> dict[str, object]:
        """The row as an answer shows it."""
        return {
            "protocol": self.protocol,
            "application": self.application,
            **self.figures(),
            "last_seen_at": round(self.last_seen_at, 3),
        }


class ProtocolTable:
    """At most `limit` rows; those idle the longest are dropped first."""

    def __init__(self, limit: int = MAX_ROWS) -> None:
        self.limit = limit
        self.dropped = 0
        self._rows: dict[tuple[str, str], ProtocolRow] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[ProtocolRow]:
        return iter(self._rows.values())

    def of(self, protocol: str, application: str, now: float) -> ProtocolRow:
        """The row of this pair, made if there is none."""
        row = self._rows.get((protocol, application))
        if row is None:
            if len(self._rows) >= self.limit:
                idle = nsmallest(max(1, self.limit // 16), self, key=lambda known: (known.live > 0, known.last_seen_at))
                for gone in idle:
                    del self._rows[gone.protocol, gone.application]
                    self.dropped += 1
            row = self._rows[protocol, application] = ProtocolRow(protocol, application, now)
        return row

    def shift(self, seconds: float) -> None:
        """Moves all times after the clock was set."""
        for row in self:
            row.last_seen_at += seconds


def applications(rows: Iterable[ProtocolRow]) -> list[tuple[int, str, Tally]]:
    """(row number, application, figures) of each application; what has none goes by its protocol."""
    totals: dict[str, tuple[int, str, Tally]] = {}
    for row in rows:
        name = label(row.protocol, row.application)
        serial, _, tally = totals.get(name) or (row.serial, "", Tally())
        tally.absorb(row)
        totals[name] = (min(serial, row.serial), name, tally)
    return list(totals.values())
