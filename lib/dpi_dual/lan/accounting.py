"""Spreads the figures of each LAN flow over clients, destinations, protocols and history: the LAN's FlowSink."""

from __future__ import annotations

import time
from collections.abc import Callable

from dpi_dual.lan.clients import MAX_LEFTOVER, Client, ClientTable
from dpi_dual.lan.destinations import Destination, DestinationTable
from dpi_dual.lan.ends import Neighbourhood, ends_of
from dpi_dual.lan.kinds import Kind, Pending, fold
from dpi_dual.lan.protocols import ProtocolTable
from dpi_dual.lan.tally import Tally
from dpi_dual.lan.tracked import Deltas, End, Tracked
from dpi_dual.model import Flow

#: Counts further apart than this belong to different ticks of the agent (netifyd's are 15 s apart).
BURST_GAP_S = 4.0
#: A burst that does not end (an agent without ticks) is cut here.
BURST_MAX_S = 15.0
#: So many grown flows are spread at once before more come in: a few milliseconds.
MAX_GROWN = 1000

#: The `agent` of flows that come from the kernel's connection tracking.
CONNTRACK = "conntrack"


class LanAccounting:
    """A `FlowSink`. Bytes are told from the client's side: what it received is `in`, what it sent is `out`.

    A flow between two clients counts for both, and once in the totals and protocols (as its local side saw it).
    Ingest only notes which flows grew; `settle()` spreads their figures. Call it before reading any of the tables.
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
        self.totals = Tally()
        self.packets = 0
        self.flows_without_client = 0
        self.counted_at = 0.0
        """Monotonic time until when an agent counted; 0 before the first time."""
        self.burst = 0
        """Number of the agent's tick whose counts come in."""
        self.burst_began = 0.0
        self.burst_interval = 0.0
        """Seconds between the beginnings of the last two ticks; 0 while unknown."""
        self.already_counted: Callable[[Flow, Deltas], Deltas] | None = None
        """Takes off a growth what another source counted before; set while such credit exists."""
        self.continues: Callable[[Flow], Flow | None] | None = None
        """The flow by which another source announced this one before, if it did."""
        self._tracked: dict[Flow, Tracked] = {}
        self._grown: dict[int, Flow] = {}
        self._grown_since = 0.0
        self._clock = clock
        self._monotonic = monotonic

    # --- FlowSink

    def flow_started(self, flow: Flow) -> None:
        """Counts the flow for its clients and its destination."""
        if flow not in self._tracked:
            earlier = self.continues(flow) if self.continues is not None else None
            tracked = self._track(flow, new=earlier is None)
            if earlier is not None:
                self._inherit(tracked, earlier)

    def flow_counted(
        self,
        flow: Flow,
        local_bytes: int,
        other_bytes: int,
        undirected_bytes: int,
        local_packets: int,
        other_packets: int,
        undirected_packets: int,
    ) -> None:
        """Notes that the flow grew; its own sums say by how much."""
        grown = self._grown
        if not grown:
            self._grown_since = self._monotonic()
        grown[id(flow)] = flow
        if len(grown) >= MAX_GROWN:
            self.settle()

    def flow_ended(self, flow: Flow) -> None:
        """The flow is no longer live; its figures stay."""
        if self._grown.pop(id(flow), None) is not None:
            if flow.agent != CONNTRACK:
                self._note_tick(self._grown_since)
            self._spread(flow, self._clock())
        tracked = self._tracked.get(flow)
        if tracked is None:
            return
        if flow.protocol != tracked.row.protocol or flow.application != tracked.row.application:
            self._reclassify(tracked)
        del self._tracked[flow]
        self.totals.live -= tracked.live
        for tally in self._tallies(tracked):
            tally.live = max(0, tally.live - tracked.live)

    # --- other sources

    def flow_from_conntrack(self, flow: Flow, new: bool, live: bool) -> None:
        """A flow that conntrack tells of: one more flow only if `new`, one more live one only if `live`."""
        self._track(flow, new, int(live))

    def promote(self, flow: Flow) -> None:
        """A flow that was not counted as live is from now on."""
        tracked = self._tracked.get(flow)
        if tracked is not None and not tracked.live:
            tracked.live = 1
            self.totals.live += 1
            for tally in self._tallies(tracked):
                tally.live += 1

    def is_tracked(self, flow: Flow) -> bool:
        """True while the flow lives."""
        return flow in self._tracked

    def live_flows(self) -> list[Flow]:
        """All flows that live."""
        return [tracked.flow for tracked in self._tracked.values()]

    # --- reading

    def settle(self) -> None:
        """Spreads what the flows have grown by since the last time."""
        grown = self._grown
        if not grown:
            return
        self._grown = {}
        if any(flow.agent != CONNTRACK for flow in grown.values()):
            self._note_tick(self._grown_since)
        now = self._clock()
        for flow in grown.values():
            self._spread(flow, now)

    def pending(self) -> Pending:
        """What the history has not got yet, still to be taken."""
        self.settle()
        found: Pending = {key: list(figures) for key, figures in self.clients.leftover.items()}
        for client in self.clients:
            client.kinds.peek(client.key, found)
        return found

    def take_pending(self) -> Pending:
        """What the history has not got yet; from here on it is the history's."""
        self.settle()
        found, self.clients.leftover = self.clients.leftover, {}
        for client in self.clients:
            client.kinds.take(client.key, found)
        return found

    def give_back(self, pending: Pending) -> None:
        """The history could not take it now."""
        for key, figures in pending.items():
            kept = self.clients.leftover.setdefault(key, [0, 0, 0, 0])
            for index, figure in enumerate(figures):
                kept[index] += figure
        if len(self.clients.leftover) > 2 * MAX_LEFTOVER:
            self.clients.leftover = fold(self.clients.leftover, MAX_LEFTOVER)

    def rename_client(self, old: str, new: str) -> None:
        """A client's key changed: what goes by keys follows."""
        self.destinations.rename_client(old, new)
        moved = {key: figures for key, figures in self.clients.leftover.items() if key[0] == old}
        for key in moved:
            del self.clients.leftover[key]
        self.give_back({(new, application): figures for (_, application), figures in moved.items()})

    def counters(self) -> dict[str, int]:
        """Drops and oddities."""
        return {
            "lan_clients_dropped": self.clients.dropped,
            "lan_clients_merged": self.clients.merged,
            "lan_addresses_dropped": self.clients.addresses_dropped,
            "lan_destinations_dropped": self.destinations.dropped,
            "lan_protocols_dropped": self.protocols.dropped,
            "lan_flows_without_client": self.flows_without_client,
        }

    # --- the rest

    def _note_tick(self, began: float) -> None:
        """An agent has counted from `began` until now."""
        if began - self.counted_at > BURST_GAP_S or began - self.burst_began > BURST_MAX_S:
            self.burst_interval = began - self.burst_began if self.burst else 0.0
            self.burst += 1
            self.burst_began = began
        self.counted_at = self._monotonic()

    def _spread(self, flow: Flow, now: float) -> None:
        tracked = self._tracked.get(flow)
        if tracked is None:
            tracked = self._track(flow, new=True)
        row = tracked.row
        if flow.protocol != row.protocol or flow.application != row.application:
            self._reclassify(tracked)
            row = tracked.row
        grown = tracked.grow()
        if self.already_counted is not None and flow.agent != CONNTRACK:
            grown = self.already_counted(flow, grown)
        local, other, unsplit, packets = grown
        seen = flow.last_seen_at
        if not now - 60.0 < seen <= now:
            seen = now

        self.packets += packets
        size_in, size_out = (local, other) if tracked.swapped else (other, local)
        totals = self.totals
        totals.bytes_in += size_in
        totals.bytes_out += size_out
        row.bytes_in += size_in
        row.bytes_out += size_out
        if unsplit:
            totals.bytes_unsplit += unsplit
            row.bytes_unsplit += unsplit
        row.last_seen_at = seen
        destination = tracked.destination
        if destination is not None and not destination.present:
            self._revisit(tracked, destination)
            destination = tracked.destination
        if destination is not None:
            destination.bytes_in += size_in
            destination.bytes_out += size_out
            destination.bytes_unsplit += unsplit
            destination.last_seen_at = seen
            if flow.hostname is not destination.hostname:
                destination.describe(flow)
        if tracked.client is not None:
            self._credit(tracked, tracked, grown, seen)
            if tracked.second is not None:
                self._credit(tracked, tracked.second, grown, seen)

    def _credit(self, tracked: Tracked, end: End, grown: Deltas, seen: float) -> None:
        client, kind = end.client, end.kind
        if client is None or kind is None or not client.present:
            client, kind = self._rebind(tracked, end)
        local, other, unsplit, packets = grown
        bytes_in, bytes_out = (other, local) if end.local else (local, other)
        client.bytes_in += bytes_in
        client.bytes_out += bytes_out
        client.packets += packets
        client.last_seen_at = seen
        client.last_row = tracked.row
        if client.burst != self.burst:
            client.burst = self.burst
            client.burst_in = client.burst_out = 0
        client.burst_in += bytes_in
        client.burst_out += bytes_out
        kind.bytes_in += bytes_in
        kind.bytes_out += bytes_out
        if unsplit:
            client.bytes_unsplit += unsplit
            kind.bytes_unsplit += unsplit
        if end.share is not None:
            end.share.bytes += bytes_in + bytes_out + unsplit

    def _track(self, flow: Flow, new: bool, live: int = 1) -> Tracked:
        """Finds the rows of a flow; `new` counts it as one more flow in each."""
        now = self._clock()
        row = self.protocols.of(flow.protocol, flow.application, now)
        row.last_seen_at = now
        tracked = self._tracked[flow] = Tracked(flow, row, live)
        ends = ends_of(flow, self.around)
        tracked.swapped = ends.local is None and ends.other is not None
        if self.track_clients:
            for side, local in ((ends.local, True), (ends.other, False)):
                if side is None:
                    continue
                client = self.clients.resolve(side[0], side[1], flow.interface, now)
                client.last_seen_at = max(client.last_seen_at, now)
                client.last_row = row
                if local and flow.hostname_source == "dhcp" and flow.hostname:
                    client.self_name = flow.hostname
                end: End = tracked
                if tracked.client is not None:
                    end = tracked.second = End()
                end.client, end.kind, end.local = client, client.kinds.of(row), local
            if tracked.client is None:
                self.flows_without_client += 1
        if self.track_destinations and ends.remote:
            self._visit(tracked, ends.remote, now)
        for tally in (self.totals, *self._tallies(tracked)):
            tally.live += live
            tally.flows += new
        for end in tracked.ends():
            if end.share is not None:
                end.share.hits += new
        return tracked

    def _inherit(self, tracked: Tracked, earlier: Flow) -> None:
        """The flow was counted already, under the name that the other source had for it: from here on under its own."""
        row = self.protocols.of(earlier.protocol, earlier.application, self._clock())
        if row is tracked.row:
            return
        row.move(tracked.row, (0, 0, 0), live=0)
        for end in tracked.ends():
            kind = end.client.kinds.get(row) if end.client is not None else None
            if kind is not None and end.kind is not None:
                kind.hand_over(end.kind, (0, 0, 0), live=0)

    def _visit(self, tracked: Tracked, remote: str, now: float) -> None:
        flow = tracked.flow
        ip, port = (flow.other_ip, flow.other_port) if remote == "other" else (flow.local_ip, flow.local_port)
        inbound = flow.local_origin == (remote == "local")
        destination = self.destinations.of((ip, 0 if inbound else port, flow.ip_protocol), now)
        if destination is None:
            return
        destination.describe(flow)
        destination.last_seen_at = max(destination.last_seen_at, now)
        tracked.destination = destination
        for end in tracked.ends():
            end.share = destination.make_share(end.client.key) if end.client is not None else None

    def _tallies(self, tracked: Tracked) -> list[Tally]:
        tallies: list[Tally] = [tracked.row]
        if tracked.destination is not None:
            tallies.append(tracked.destination)
        for end in tracked.ends():
            client, kind = end.client, end.kind
            if client is None or kind is None or client.merged_into is not None:
                client, kind = self._rebind(tracked, end)
            tallies += (client, kind)
        return tallies

    def _revisit(self, tracked: Tracked, gone: Destination) -> None:
        """The destination's row was dropped while the flow lives: a new row goes on from zero."""
        tracked.destination = destination = self.destinations.of(gone.key, self._clock())
        for end in tracked.ends():
            end.share = None
        if destination is None:
            return
        destination.describe(tracked.flow)
        destination.flows += 1
        destination.live += tracked.live
        for end in tracked.ends():
            end.share = destination.make_share(end.client.key) if end.client is not None else None
            if end.share is not None:
                end.share.hits += 1

    def _rebind(self, tracked: Tracked, end: End) -> tuple[Client, Kind]:
        """The client's row was merged into another (which took its figures over), or dropped while the flow lives."""
        client = end.client
        while client is not None and client.merged_into is not None:
            client = client.merged_into
        merged = client is not None and client.present
        if client is None or not merged:
            flow = tracked.flow
            ip = flow.local_ip if end.local else flow.other_ip
            client = self.clients.resolve(client.mac if client is not None else "", ip, flow.interface, self._clock())
            client.flows += 1
            client.live += tracked.live
        kind = client.kinds.of(tracked.row)
        end.client, end.kind = client, kind
        if not merged:
            kind.flows += 1
            kind.live += tracked.live
        if tracked.destination is not None:
            end.share = tracked.destination.make_share(client.key)
        return client, kind

    def _reclassify(self, tracked: Tracked) -> None:
        """The agent knows better now what the flow is: what was counted so far moves along (not in written history)."""
        flow = tracked.flow
        local, other, unsplit = tracked.local_bytes, tracked.other_bytes, tracked.undirected_bytes
        row = self.protocols.of(flow.protocol, flow.application, self._clock())
        figures = (local, other, unsplit) if tracked.swapped else (other, local, unsplit)
        tracked.row.move(row, figures, tracked.live)
        for end in tracked.ends():
            client, before = end.client, end.kind
            if client is None or before is None or not client.present:
                client, before = self._rebind(tracked, end)
            end.kind = client.kinds.of(row)
            if before is not end.kind:
                figures = (other, local, unsplit) if end.local else (local, other, unsplit)
                before.hand_over(end.kind, figures, tracked.live)
            client.last_row = row
        tracked.row = row
        if tracked.destination is not None:
            tracked.destination.describe(flow)
