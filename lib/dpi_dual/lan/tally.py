"""The counters that every LAN row has: flows, live flows, and bytes towards and from the LAN's client."""

from __future__ import annotations

from itertools import count

#: Row numbers, never used twice in one run: they break ties between rows, so that a page has one successor.
serials = count(1)


class Tally:
    """Bytes as the client sees them: `bytes_in` it received, `bytes_out` it sent, of `bytes_unsplit` nobody knows."""

    __slots__ = ("bytes_in", "bytes_out", "bytes_unsplit", "flows", "live")

    def __init__(self) -> None:
        self.flows = 0
        self.live = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.bytes_unsplit = 0

    @property
    def bytes(self) -> int:
        """Bytes in all directions."""
        return self.bytes_in + self.bytes_out + self.bytes_unsplit

    def add(self, bytes_in: int, bytes_out: int, bytes_unsplit: int) -> None:
        """Counts bytes."""
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self.bytes_unsplit += bytes_unsplit

    def absorb(self, gone: Tally) -> None:
        """Takes over the figures of a row that is folded into this one."""
        self.flows += gone.flows
        self.live += gone.live
        self.add(gone.bytes_in, gone.bytes_out, gone.bytes_unsplit)

    def move(self, to: Tally, figures: tuple[int, int, int], live: int) -> None:
        """Moves one flow and its bytes (in, out, unsplit) to the row it belongs to; never takes more than there is."""
        bytes_in = min(figures[0], self.bytes_in)
        bytes_out = min(figures[1], self.bytes_out)
        bytes_unsplit = min(figures[2], self.bytes_unsplit)
        flows, live = min(1, self.flows), min(live, self.live)
        self.add(-bytes_in, -bytes_out, -bytes_unsplit)
        self.flows -= flows
        self.live -= live
        to.add(bytes_in, bytes_out, bytes_unsplit)
        to.flows += flows
        to.live += live

    def figures(self) -> dict[str, int]:
        """The counters as an answer shows them."""
        return {
            "flows": self.flows,
            "flows_live": self.live,
            "bytes": self.bytes,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "bytes_unsplit": self.bytes_unsplit,
        }


#: Where the figures of names go that no longer have a row of their own.
OTHERS = "(others)"


class NamedTallies(dict[str, Tally]):
    """A tally a name, for at most `limit` names; the smallest one without a live flow is folded into `(others)`."""

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def of(self, name: str) -> Tally:
        """The tally of `name`; `(others)` when all places are taken by names with live flows."""
        tally = self.get(name)
        if tally is not None:
            return tally
        if len(self) >= self.limit:
            smallest, least = "", -1
            for known, candidate in self.items():
                if candidate.live <= 0 and known != OTHERS and (least < 0 or candidate.bytes < least):
                    smallest, least = known, candidate.bytes
            others = self.setdefault(OTHERS, Tally())
            if not smallest:
                return others
            others.absorb(self.pop(smallest))
        tally = self[name] = Tally()
        return tally

    def absorb(self, gone: NamedTallies) -> None:
        """Takes over another's rows, name by name."""
        for name, tally in gone.items():
            self.of(name).absorb(tally)

    def top(self, count: int, label: str) -> list[dict[str, object]]:
        """The `count` largest, each with its name under `label`."""
        largest = sorted(self.items(), key=lambda item: item[1].bytes, reverse=True)[:count]
        return [{label: name, **tally.figures()} for name, tally in largest]
