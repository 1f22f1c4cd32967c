"""What one client uses: its figures by protocol and application, and which of them the history has not got yet."""

from __future__ import annotations

from collections.abc import Set

from dpi_dual.lan.protocols import MAX_ROWS, ProtocolRow, label
from dpi_dual.lan.tally import Tally

#: Kinds of traffic kept apart for one client; the smallest that lives no more goes into `(others)`.
MAX_KINDS = 48

#: The protocol and application of what no longer has a row of its own.
OTHERS = ProtocolRow("(others)", "(others)", 0.0)

#: (client key, application) → bytes in, out, unsplit, and flows.
Pending = dict[tuple[str, str], list[int]]

#: Under this client key goes what many short-lived clients did: a flood of invented MAC addresses, say.
OTHER_CLIENTS = "(others)"


class Kind(Tally):
    """One client's figures for one protocol and application, and how much of them has been written to the history."""

    __slots__ = ("written_flows", "written_in", "written_out", "written_unsplit")

    def __init__(self) -> None:
        super().__init__()
        self.written_in = 0
        self.written_out = 0
        self.written_unsplit = 0
        self.written_flows = 0

    def grown(self) -> tuple[int, int, int, int]:
        """What has not been written: bytes in, out and unsplit, flows."""
        return (
            max(0, self.bytes_in - self.written_in),
            max(0, self.bytes_out - self.written_out),
            max(0, self.bytes_unsplit - self.written_unsplit),
            max(0, self.flows - self.written_flows),
        )

    def mark_written(self) -> None:
        """All of it has been written."""
        self.written_in, self.written_out = self.bytes_in, self.bytes_out
        self.written_unsplit, self.written_flows = self.bytes_unsplit, self.flows

    def has_grown(self) -> bool:
        """True if anything has not been written."""
        return (
            self.bytes_in > self.written_in
            or self.bytes_out > self.written_out
            or self.bytes_unsplit > self.written_unsplit
            or self.flows > self.written_flows
        )

    def swallow(self, gone: Kind) -> None:
        """`absorb`, with what is written and what is not."""
        self.absorb(gone)
        self.written_in += gone.written_in
        self.written_out += gone.written_out
        self.written_unsplit += gone.written_unsplit
        self.written_flows += gone.written_flows

    def hand_over(self, to: Kind, figures: tuple[int, int, int], live: int) -> None:
        """`move`, where what has been written under the old name stays written under it."""
        before = (to.bytes_in, to.bytes_out, to.bytes_unsplit, to.flows)
        self.move(to, figures, live)
        to.written_in += min(to.bytes_in - before[0], max(0, self.written_in - self.bytes_in))
        to.written_out += min(to.bytes_out - before[1], max(0, self.written_out - self.bytes_out))
        to.written_unsplit += min(to.bytes_unsplit - before[2], max(0, self.written_unsplit - self.bytes_unsplit))
        to.written_flows += min(to.flows - before[3], max(0, self.written_flows - self.flows))
        self.written_in = min(self.written_in, self.bytes_in)
        self.written_out = min(self.written_out, self.bytes_out)
        self.written_unsplit = min(self.written_unsplit, self.bytes_unsplit)
        self.written_flows = min(self.written_flows, self.flows)


class Kinds(dict[ProtocolRow, Kind]):
    """A client's kinds of traffic, at most `MAX_KINDS` and `(others)`. Rows of the protocol table are the keys."""

    __slots__ = ()

    def of(self, row: ProtocolRow) -> Kind:
        """The figures for a protocol and application; `(others)` when all places are taken by live flows."""
        kind = self.get(row)
        if kind is not None:
            return kind
        if len(self) >= MAX_KINDS:
            smallest: ProtocolRow | None = None
            least = -1
            for known, candidate in self.items():
                if candidate.live <= 0 and known is not OTHERS and (least < 0 or candidate.bytes < least):
                    smallest, least = known, candidate.bytes
            others = self.get(OTHERS)
            if others is None:
                others = self[OTHERS] = Kind()
            if smallest is None:
                return others
            others.swallow(self.pop(smallest))
        kind = self[row] = Kind()
        return kind

    def swallow(self, gone: Kinds) -> None:
        """Takes over another client's kinds."""
        for row, kind in gone.items():
            self.of(row).swallow(kind)

    def applications(self) -> dict[str, Tally]:
        """Figures by application; what has none goes by its protocol."""
        return self._sums(application=True)

    def protocols(self) -> dict[str, Tally]:
        """Figures by protocol."""
        return self._sums(application=False)

    def largest(self) -> str:
        """The application with the most bytes; '' while nothing was counted."""
        sums: dict[str, int] = {}
        for row, kind in self.items():
            name = label(row.protocol, row.application)
            sums[name] = sums.get(name, 0) + kind.bytes_in + kind.bytes_out + kind.bytes_unsplit
        return max(sums, key=sums.__getitem__, default="")

    def _sums(self, application: bool) -> dict[str, Tally]:
        sums: dict[str, Tally] = {}
        for row, kind in self.items():
            name = label(row.protocol, row.application) if application else row.protocol
            tally = sums.get(name)
            if tally is None:
                tally = sums[name] = Tally()
            tally.absorb(kind)
        return sums

    def take(self, client: str, into: Pending) -> None:
        """Adds what the history has not got yet; from here on it is written."""
        for row, kind in self.items():
            if kind.has_grown():
                _add(into, client, row, kind.grown())
                kind.mark_written()

    def peek(self, client: str, into: Pending) -> None:
        """Adds what the history has not got yet, and leaves it so."""
        for row, kind in self.items():
            if kind.has_grown():
                _add(into, client, row, kind.grown())


def fold(pending: Pending, room: int, known: Set[tuple[str, str]] = frozenset()) -> Pending:
    """At most `room` new keys, those with the most bytes, and the `known` ones; the rest as `OTHER_CLIENTS`.

    Of `OTHER_CLIENTS` applications are told apart until there are as many as DPI agents know.
    """
    ranked = sorted(pending.items(), key=lambda item: (item[0] in known, sum(item[1][:3])), reverse=True)
    found: Pending = {}
    folded = {application for client, application in known if client == OTHER_CLIENTS}
    for (client, application), figures in ranked:
        key = (client, application)
        if key not in known:
            room -= 1
            if room < 0:
                if len(folded) < MAX_ROWS:
                    folded.add(application)
                key = (OTHER_CLIENTS, application if application in folded else OTHERS.application)
        sums = found.setdefault(key, [0, 0, 0, 0])
        for index, figure in enumerate(figures):
            sums[index] += figure
    return found


def _add(into: Pending, client: str, row: ProtocolRow, grown: tuple[int, int, int, int]) -> None:
    figures = into.setdefault((client, label(row.protocol, row.application)), [0, 0, 0, 0])
    for index, figure in enumerate(grown):
        figures[index] += figure
