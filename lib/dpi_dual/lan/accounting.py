"""Spreads the figures of each LAN flow over clients, destinations, protocols and history: the LAN's FlowSink."""

from __future__ import annotations

import time
from collections.abc import Callable

from dpi_dual.lan.clients import Client, ClientTable
from dpi_dual.lan.destinations import Destination, DestinationTable
from dpi_dual.lan.ends import Ends, Neighbourhood, ends_of
from dpi_dual.lan.protocols import ProtocolRow, ProtocolTable, label
from dpi_dual.lan.tally import Tally
from dpi_dual.model import Flow

#: Counts further apart than this belong to different ticks of the agent (netifyd's are 15 s apart).
BURST_GAP_S = 4.0
#: A burst that does not end (an agent without ticks) is cut here.
BURST_MAX_S = 15.0

#: (client key, application) → [bytes in, out, unsplit, flows] since the history was written last.
Pending = dict[tuple[str, str], list[int]]
PENDING_LIMIT = 20_000

#: The `agent` of flows that come from the kernel's connection tracking.
CONNTRACK = "conntrack"

#: Figures of one count: local, other and undirected bytes, then packets.
Deltas = tuple[int, int, int, int, int, int]


class _End:
    """One client at one end of one flow, with the rows that count for it."""

    __slots__ = ("application", "client", "local", "pending", "protocol", "share")

    def __init__(self, client: Client, local: bool) -> None:
        self.client = client
        self.local = local
        self.application: Tally
        self.protocol: Tally
        self.pending: tuple[str, str]
        self.share: list[int] | None = None


class _Tracked:
    """What a live flow is counted into. Keeps the flow itself: its `id` is our key while it lives."""

    __slots__ = ("application", "destination", "ends", "flow", "live", "protocol", "row", "swapped")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.protocol = flow.protocol
        self.application = flow.application
        self.ends: tuple[_End, ...] = ()
        self.row: ProtocolRow | None = None
        self.swapped = False
        """True when the client is the other side alone: totals are told from its side."""
        self.destination: Destination | None = None
        self.live = 1
        """0 while another source's view of the same flow is counted as the live one."""


class LanAccounting:
    """A `FlowSink`. Bytes are told from the client's side: what it received is `in`, what it sent is `out`.

    A flow between two clients counts for both, and once in the totals and protocols (as its local side saw it).
    """

    def __init__(
        self,
        clients: ClientTable,
        destinations: DestinationTable,
        protocols: ProtocolTable,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clients = clients
        self.destinations = destinations
        self.protocols = protocols
        self.around = Neighbourhood()
        self.track_clients = True
        self.track_destinations = True
        self.track_protocols = True
        self.totals = Tally()
        self.packets = 0
        self.flows_without_client = 0
        self.pending: Pending = {}
        self.pending_dropped = 0
        self.counted_at = 0.0
        """Monotonic time of an agent's newest count; 0 before the first."""
        self.burst = 0
        """Number of the agent's tick whose counts come in."""
        self.burst_began = 0.0
        self.burst_interval = 0.0
        """Seconds between the beginnings of the last two ticks; 0 while unknown."""
        self.already_counted: Callable[[Flow, Deltas], Deltas] | None = None
        """Takes off a count what another source counted before; set while such credit exists."""
        self.is_continued: Callable[[Flow], bool] | None = None
        """True for a flow that another source announced before."""
        self._tracked: dict[int, _Tracked] = {}
        self._clock = clock
        self._monotonic = monotonic

    # --- FlowSink

    def flow_started(self, flow: Flow) -> None:
        """Counts the flow for its clients and its destination."""
        if id(flow) not in self._tracked:
            self._track(flow, new=not (self.is_continued and self.is_continued(flow)))

    def flow_from_conntrack(self, flow: Flow, new: bool, live: bool) -> None:
        """A flow that conntrack tells of: one more flow only if `new`, one more live one only if `live`."""
        self._track(flow, new, int(live))

    def promote(self, flow: Flow) -> None:
        """A flow that was not counted as live is from now on."""
        tracked = self._tracked.get(id(flow))
        if tracked is not None and not tracked.live:
            tracked.live = 1
            self.totals.live += 1
            for tally in self._tallies(tracked):
                tally.live += 1

    def is_tracked(self, flow: Flow) -> bool:
        """True while the flow lives."""
        return id(flow) in self._tracked

    def live_flows(self) -> list[Flow]:
        """All flows that live."""
        return [tracked.flow for tracked in self._tracked.values()]

    def flow_counted(  # noqa: PLR0912, PLR0915 - the ingest loop: a call less is a microsecond less
        self,
        flow: Flow,
        local_bytes: int,
        other_bytes: int,
        undirected_bytes: int,
        local_packets: int,
        other_packets: int,
        undirected_packets: int,
    ) -> None:
        """Counts the bytes for its clients, destination, protocol and the history."""
        tracked = self._tracked.get(id(flow))
        if tracked is None:
            tracked = self._track(flow, new=True)
        elif flow.protocol != tracked.protocol or flow.application != tracked.application:
            self._reclassify(tracked, local_bytes, other_bytes, undirected_bytes)
        now = self._clock()
        seen = flow.last_seen_at
        if not now - 60.0 < seen <= now:
            seen = now
        if flow.agent != CONNTRACK:
            mono = self._monotonic()
            if mono - self.counted_at > BURST_GAP_S or mono - self.burst_began > BURST_MAX_S:
                self.burst_interval = mono - self.burst_began if self.burst else 0.0
                self.burst += 1
                self.burst_began = mono
            self.counted_at = mono
            if self.already_counted is not None:
                local_bytes, other_bytes, undirected_bytes, local_packets, other_packets, undirected_packets = (
                    self.already_counted(
                        flow,
                        (local_bytes, other_bytes, undirected_bytes, local_packets, other_packets, undirected_packets),
                    )
                )

        self.packets += local_packets + other_packets + undirected_packets
        total_in, total_out = (local_bytes, other_bytes) if tracked.swapped else (other_bytes, local_bytes)
        totals = self.totals
        totals.bytes_in += total_in
        totals.bytes_out += total_out
        totals.bytes_unsplit += undirected_bytes
        row = tracked.row
        if row is not None:
            row.bytes_in += total_in
            row.bytes_out += total_out
            row.bytes_unsplit += undirected_bytes
            row.last_seen_at = seen
        size = local_bytes + other_bytes + undirected_bytes
        destination = tracked.destination
        if destination is not None:
            if not destination.present:
                destination = self._visit(tracked, destination)
            destination.add(total_in, total_out, undirected_bytes)
            destination.last_seen_at = seen
            if flow.hostname and flow.hostname != destination.hostname:
                destination.describe(flow)
        for end in tracked.ends:
            client = end.client
            if not client.present:
                client = self._rebind(tracked, end)
            bytes_in, bytes_out = (other_bytes, local_bytes) if end.local else (local_bytes, other_bytes)
            client.bytes_in += bytes_in
            client.bytes_out += bytes_out
            client.bytes_unsplit += undirected_bytes
            client.packets += local_packets + other_packets + undirected_packets
            client.last_seen_at = seen
            client.last_proto = tracked.protocol
            client.last_app = tracked.application
            if client.burst != self.burst:
                client.burst = self.burst
                client.burst_in = client.burst_out = 0
            client.burst_in += bytes_in
            client.burst_out += bytes_out
            end.application.add(bytes_in, bytes_out, undirected_bytes)
            end.protocol.add(bytes_in, bytes_out, undirected_bytes)
            if end.share is not None:
                end.share[0] += size
            pending = self.pending.get(end.pending)
            if pending is None:
                pending = self._pend(end.pending)
            pending[0] += bytes_in
            pending[1] += bytes_out
            pending[2] += undirected_bytes

    def flow_ended(self, flow: Flow) -> None:
        """The flow is no longer live; its figures stay."""
        tracked = self._tracked.pop(id(flow), None)
        if tracked is None:
            return
        if flow.protocol != tracked.protocol or flow.application != tracked.application:
            self._reclassify(tracked, 0, 0, 0)
        self.totals.live -= tracked.live
        for tally in self._tallies(tracked):
            tally.live = max(0, tally.live - tracked.live)

    # --- the rest

    @property
    def live(self) -> int:
        """Flows that live."""
        return len(self._tracked)

    def take_pending(self) -> Pending:
        """What the history has not got yet; from here on it is the history's."""
        pending, self.pending = self.pending, {}
        return pending

    def rename_client(self, old: str, new: str) -> None:
        """A client's key changed: what goes by keys follows."""
        self.destinations.rename_client(old, new)
        for key in [key for key in self.pending if key[0] == old]:
            figures = self.pending.pop(key)
            into = self._pend((new, key[1]))
            for index, figure in enumerate(figures):
                into[index] += figure

    def counters(self) -> dict[str, int]:
        """Drops and oddities."""
        return {
            "lan_clients_dropped": self.clients.dropped,
            "lan_clients_merged": self.clients.merged,
            "lan_addresses_dropped": self.clients.addresses_dropped,
            "lan_destinations_dropped": self.destinations.dropped,
            "lan_protocols_dropped": self.protocols.dropped,
            "lan_flows_without_client": self.flows_without_client,
            "lan_history_dropped": self.pending_dropped,
        }

    def _track(self, flow: Flow, new: bool, live: int = 1) -> _Tracked:
        """Finds the rows of a flow; `new` counts it as one more flow in each."""
        now = self._clock()
        tracked = self._tracked[id(flow)] = _Tracked(flow)
        tracked.live = live
        ends = ends_of(flow, self.around)
        tracked.swapped = ends.local is None and ends.other is not None
        if self.track_protocols:
            tracked.row = self.protocols.of(flow.protocol, flow.application, now)
            tracked.row.last_seen_at = now
        if self.track_clients:
            sides = ((ends.local, True), (ends.other, False))
            tracked.ends = tuple(self._end(flow, side, local, now) for side, local in sides if side is not None)
            if not tracked.ends:
                self.flows_without_client += 1
        if self.track_destinations and ends.remote:
            tracked.destination = self._destination(flow, ends, now)
            for end in tracked.ends:
                end.share = tracked.destination.client_share(end.client.key)
        self.totals.live += live
        self.totals.flows += new
        for tally in self._tallies(tracked):
            tally.live += live
            tally.flows += new
        if new:
            for end in tracked.ends:
                if end.share is not None:
                    end.share[1] += 1
                self._pend(end.pending)[3] += 1
        return tracked

    def _end(self, flow: Flow, side: tuple[str, str], local: bool, now: float) -> _End:
        client = self.clients.resolve(*side, flow.interface, now)
        client.last_seen_at = max(client.last_seen_at, now)
        if flow.hostname_source == "dhcp" and flow.hostname and local:
            client.self_name = flow.hostname
        end = _End(client, local)
        self._classify(end, flow)
        return end

    def _classify(self, end: _End, flow: Flow) -> None:
        client = end.client
        client.last_proto, client.last_app = flow.protocol, flow.application
        end.application = client.applications.of(label(flow.protocol, flow.application))
        end.protocol = client.protocols.of(flow.protocol)
        end.pending = (client.key, label(flow.protocol, flow.application))

    def _destination(self, flow: Flow, ends: Ends, now: float) -> Destination:
        ip, port = (flow.other_ip, flow.other_port) if ends.remote == "other" else (flow.local_ip, flow.local_port)
        inbound = flow.local_origin == (ends.remote == "local")
        destination = self.destinations.of((ip, 0 if inbound else port, flow.ip_protocol), now)
        destination.describe(flow)
        destination.last_seen_at = max(destination.last_seen_at, now)
        return destination

    def _tallies(self, tracked: _Tracked) -> list[Tally]:
        tallies: list[Tally] = [tally for tally in (tracked.row, tracked.destination) if tally is not None]
        for end in tracked.ends:
            if end.client.merged_into is not None:
                self._rebind(tracked, end)
            tallies += (end.client, end.application, end.protocol)
        return tallies

    def _visit(self, tracked: _Tracked, gone: Destination) -> Destination:
        """The destination's row was dropped while the flow lives: a new row goes on from zero."""
        destination = self.destinations.of(gone.key, self._clock())
        destination.describe(tracked.flow)
        destination.flows += 1
        destination.live += tracked.live
        for end in tracked.ends:
            end.share = destination.client_share(end.client.key)
            if end.share is not None:
                end.share[1] += 1
        tracked.destination = destination
        return destination

    def _rebind(self, tracked: _Tracked, end: _End) -> Client:
        """The client's row was merged into another (which took its figures over), or dropped while the flow lives."""
        client = end.client
        while client.merged_into is not None:
            client = client.merged_into
        merged = client.present
        if not merged:
            ip = tracked.flow.local_ip if end.local else tracked.flow.other_ip
            client = self.clients.resolve(client.mac, ip, client.interface, self._clock())
            client.flows += 1
            client.live += tracked.live
        end.client = client
        self._classify(end, tracked.flow)
        if not merged:
            for tally in (end.application, end.protocol):
                tally.flows += 1
                tally.live += tracked.live
        if tracked.destination is not None:
            end.share = tracked.destination.client_share(client.key)
        return client

    def _reclassify(self, tracked: _Tracked, local_bytes: int, other_bytes: int, undirected_bytes: int) -> None:
        """The agent knows better now what the flow is: what it counted so far moves along, in history it stays."""
        flow = tracked.flow
        local = max(0, flow.local_bytes - local_bytes)
        other = max(0, flow.other_bytes - other_bytes)
        unsplit = max(0, flow.undirected_bytes - undirected_bytes)
        tracked.protocol, tracked.application = flow.protocol, flow.application
        if tracked.row is not None:
            row = self.protocols.of(flow.protocol, flow.application, self._clock())
            total_in, total_out = (local, other) if tracked.swapped else (other, local)
            tracked.row.move(row, (total_in, total_out, unsplit), live=tracked.live)
            tracked.row = row
        for end in tracked.ends:
            if not end.client.present:
                self._rebind(tracked, end)
                continue
            figures = (other, local, unsplit) if end.local else (local, other, unsplit)
            before = (end.application, end.protocol, end.pending)
            self._classify(end, flow)
            for old, now in ((before[0], end.application), (before[1], end.protocol)):
                if old is not now:
                    old.move(now, figures, live=tracked.live)
            pending = self.pending.get(before[2])
            if pending is not None and pending[3] > 0 and before[2] != end.pending:
                pending[3] -= 1
                self._pend(end.pending)[3] += 1
        if tracked.destination is not None:
            tracked.destination.describe(flow)

    def _pend(self, key: tuple[str, str]) -> list[int]:
        pending = self.pending.get(key)
        if pending is None:
            pending = [0, 0, 0, 0]
            if len(self.pending) < PENDING_LIMIT:
                self.pending[key] = pending
            else:
                self.pending_dropped += 1
        return pending
