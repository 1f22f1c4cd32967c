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

    def absorb(self, gone: Tally) -> None:
        """Takes over the figures of a row that is folded into this one."""
        self.flows += gone.flows
        self.live += gone.live
        self.bytes_in += gone.bytes_in
        self.bytes_out += gone.bytes_out
        self.bytes_unsplit += gone.bytes_unsplit

    def move(self, to: Tally, figures: tuple[int, int, int], live: int) -> None:
        """Moves one flow and its bytes (in, out, unsplit) to the row it belongs to; never takes more than there is."""
        moved = Tally()
        moved.bytes_in = min(figures[0], self.bytes_in)
        moved.bytes_out = min(figures[1], self.bytes_out)
        moved.bytes_unsplit = min(figures[2], self.bytes_unsplit)
        moved.flows, moved.live = min(1, self.flows), min(live, self.live)
        self.flows -= moved.flows
        self.live -= moved.live
        self.bytes_in -= moved.bytes_in
        self.bytes_out -= moved.bytes_out
        self.bytes_unsplit -= moved.bytes_unsplit
        to.absorb(moved)

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
