"""A live flow as the accounting keeps it: which rows it counts for, and up to where it has been counted."""

from __future__ import annotations

from dpi_dual.lan.clients import Client
from dpi_dual.lan.destinations import Destination, Share
from dpi_dual.lan.kinds import Kind
from dpi_dual.lan.protocols import ProtocolRow
from dpi_dual.model import Flow

#: What a flow grew by: local, other and undirected bytes, and packets.
Deltas = tuple[int, int, int, int]


class End:
    """A client at one end of a flow, with the rows that count for it."""

    __slots__ = ("client", "kind", "local", "share")

    def __init__(self) -> None:
        self.client: Client | None = None
        self.kind: Kind | None = None
        self.local = True
        self.share: Share | None = None


class Tracked(End):
    """Where a live flow is counted, and up to where.

    It is itself its first client's end, since nearly all flows have one.
    """

    __slots__ = (
        "destination",
        "flow",
        "live",
        "local_bytes",
        "other_bytes",
        "packets",
        "row",
        "second",
        "swapped",
        "undirected_bytes",
    )

    def __init__(self, flow: Flow, row: ProtocolRow, live: int) -> None:
        super().__init__()
        self.flow = flow
        self.row = row
        self.live = live
        """0 while another source's view of the same flow is counted as the live one."""
        self.second: End | None = None
        """Only where a flow is between two clients."""
        self.destination: Destination | None = None
        self.swapped = False
        """True when the client is the other side alone: totals are told from its side."""
        self.local_bytes = self.other_bytes = self.undirected_bytes = self.packets = 0

    def grow(self) -> Deltas:
        """What the flow has grown by since the last call."""
        flow = self.flow
        packets = flow.local_packets + flow.other_packets + flow.undirected_packets
        grown = (
            flow.local_bytes - self.local_bytes,
            flow.other_bytes - self.other_bytes,
            flow.undirected_bytes - self.undirected_bytes,
            packets - self.packets,
        )
        self.local_bytes = flow.local_bytes
        self.other_bytes = flow.other_bytes
        self.undirected_bytes = flow.undirected_bytes
        self.packets = packets
        return grown

    def ends(self) -> tuple[End, ...]:
        """The clients' ends."""
        if self.client is None:
            return ()
        return (self,) if self.second is None else (self, self.second)
