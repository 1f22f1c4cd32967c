"""The flow table of one stream: live flows, those finished lately, and what could not be attributed to any."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from dpi_dual.capture import flow_rows
from dpi_dual.capture.tallies import Tallies, TrackedFlow
from dpi_dual.model import FlowSink, Problem

#: A live flow nobody spoke of for so long has lost its end: netifyd purges an idle TCP flow after 300 s and tells
#: at its next 15 s update; the rest is slack.
IDLE_TIMEOUT_S = 420.0

#: The same for agents that say nothing between a flow's start and its end (netifyd before 4.4.5): the kernel's
#: own patience with an established TCP connection on OpenWrt (`nf_conntrack_tcp_timeout_established`).
SILENT_TIMEOUT_S = 7440.0

#: How many unannounced digests a source remembers the totals of.
MAX_REMEMBERED = 2048

#: Bytes of flows that were never announced are spoken of when they are more than so many, and so much of all, since
#: some minutes ago: a mark a minute, so many kept.
HIDDEN_BYTES = 1_000_000
HIDDEN_SHARE = 0.1
MARKS = 6

#: How many idle flows one `expire` ends at most, so that it never holds the loop for long.
MAX_ENDED_AT_ONCE = 2000


class Source:
    """The flows of one agent on one interface."""

    __slots__ = ("agent", "idle_timeout_s", "interface", "live", "remembered", "table")

    def __init__(self, table: FlowTable, agent: str, interface: str) -> None:
        self.table = table
        self.agent = agent
        self.interface = interface
        self.live: dict[str, TrackedFlow] = {}
        self.remembered: OrderedDict[str, tuple[int, int, float]] = OrderedDict()
        """Totals (bytes, packets, last seen) of keys that have no flow here: never announced, or ended by us."""
        self.idle_timeout_s: float | None = None
        """None: the table's."""

    def remember(self, key: str, total_bytes: int, total_packets: int, last_seen_at: float) -> None:
        self.remembered[key] = (total_bytes, total_packets, last_seen_at)
        self.remembered.move_to_end(key)
        if len(self.remembered) > MAX_REMEMBERED:
            self.remembered.popitem(last=False)

    def recall(self, key: str, first_seen_at: float) -> tuple[int, int] | None:
        """Totals remembered for `key`, unless they belong to an earlier flow than one first seen then."""
        known = self.remembered.pop(key, None)
        if known is None or (first_seen_at and known[2] and known[2] < first_seen_at):
            return None
        return known[0], known[1]


class FlowTable:
    """Flows of one stream (`tap` or `lan`), bounded in number and in age.

    `max_flows` bounds the live flows; finished ones use the room that live ones leave, and at least a tenth
    of it. When it is full, the live flow that was idle longest is dropped and counted.
    """

    def __init__(
        self,
        name: str,
        sinks: Sequence[FlowSink] = (),
        max_flows: int = 10_000,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        retention_s: float = 300.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.max_flows = max_flows
        self.idle_timeout_s = idle_timeout_s
        self.retention_s = retention_s
        """How long a finished flow stays; may change at run time, as may `max_flows` and `idle_timeout_s`."""
        self.clock = clock
        self.monotonic = monotonic
        self.sources: dict[tuple[str, str], Source] = {}
        self.live_count = 0
        self.finished: deque[TrackedFlow] = deque()
        self.started = 0
        """Flows that ever began here."""
        self.counted_bytes = 0
        """Bytes of all flows that were ever here, counted since each was known."""
        self.unattributed = {"bytes": 0, "packets": 0, "messages": 0}
        self.tallies = Tallies()
        self._serial = 0
        self._unintroduced: set[TrackedFlow] = set()
        self._started_per_s = [0] * 60
        self._started_second = int(monotonic())
        self._counts = dict.fromkeys(("evicted", "idle", "reused", "resets", "finished_dropped"), 0)
        self._evicted_at = float("-inf")
        self._marks: deque[tuple[float, int, int]] = deque([(monotonic(), 0, 0)], maxlen=MARKS)
        """Monotonic time, attributed and unattributed bytes until then."""
        self._idlest: list[tuple[float, Source, TrackedFlow]] = []
        self.set_sinks(sinks)

    def set_sinks(self, sinks: Sequence[FlowSink]) -> None:
        self.sinks = tuple(sinks)
        self._started = tuple(sink.flow_started for sink in sinks)
        self._counted = tuple(sink.flow_counted for sink in sinks)
        self._ended = tuple(sink.flow_ended for sink in sinks)

    # -- what an agent's messages do ------------------------------------------------------------------------

    def source(self, agent: str, interface: str) -> Source:
        source = self.sources.get((agent, interface))
        if source is None:
            source = self.sources[agent, interface] = Source(self, agent, interface)
        return source

    def start(self, source: Source, flow: TrackedFlow, now: float, introduce: bool = True) -> None:
        """Take `flow` in. Its sinks hear of it now, or at `introduce`, when its protocol is known."""
        if self.live_count >= self.max_flows:
            self._evict()
        self._serial += 1
        flow.serial = self._serial
        flow.heard_at = now
        source.live[flow.key] = flow
        self.live_count += 1
        self.tallies.add(flow)
        if self.live_count + len(self.finished) > self.max_flows:
            self._trim()
        second = int(now)
        if second != self._started_second:
            self._turn_ring(second)
        self._started_per_s[second % 60] += 1
        self.started += 1
        if introduce:
            for started in self._started:
                started(flow)
        else:
            self._unintroduced.add(flow)

    def described(self, flow: TrackedFlow, hostname_before: str) -> None:
        """The agent has changed its mind about what `flow` is; its host name was `hostname_before`."""
        self.tallies.refile(flow, hostname_before)

    def introduce(self, flow: TrackedFlow) -> None:
        """Tell the sinks of a flow taken in without telling them."""
        if flow in self._unintroduced:
            self._unintroduced.discard(flow)
            for started in self._started:
                started(flow)

    def advance(
        self,
        flow: TrackedFlow,
        total_bytes: int,
        total_packets: int,
        local_bytes: int,
        other_bytes: int,
        local_packets: int,
        other_packets: int,
    ) -> None:
        """Account for new totals. The local and other counts say which way, as far as they fit the difference.

        A total that fell means the agent began to count anew: then the new total is the difference.
        """
        bytes_ = total_bytes - flow.total_bytes
        packets = total_packets - flow.total_packets
        if bytes_ < 0 or packets < 0:
            self._counts["resets"] += 1
            bytes_ = total_bytes if bytes_ < 0 else bytes_
            packets = total_packets if packets < 0 else packets
        flow.total_bytes = total_bytes
        flow.total_packets = total_packets
        if not bytes_ and not packets:
            return
        undirected_bytes = bytes_ - local_bytes - other_bytes
        if undirected_bytes < 0:
            local_bytes, other_bytes, undirected_bytes = split(bytes_, local_bytes, other_bytes)
        undirected_packets = packets - local_packets - other_packets
        if undirected_packets < 0:
            local_packets, other_packets, undirected_packets = split(packets, local_packets, other_packets)
        self.counted_bytes += bytes_
        flow.local_peer.bytes += bytes_
        flow.other_peer.bytes += bytes_
        kind = flow.kind
        kind.local_bytes += local_bytes
        kind.other_bytes += other_bytes
        kind.undirected_bytes += undirected_bytes
        flow.local_bytes += local_bytes
        flow.other_bytes += other_bytes
        flow.undirected_bytes += undirected_bytes
        flow.local_packets += local_packets
        flow.other_packets += other_packets
        flow.undirected_packets += undirected_packets
        for counted in self._counted:
            counted(flow, local_bytes, other_bytes, undirected_bytes, local_packets, other_packets, undirected_packets)

    def miss(
        self,
        source: Source,
        key: str,
        total_bytes: int,
        total_packets: int,
        tick_bytes: int,
        tick_packets: int,
        last_seen_at: float,
        final: bool,
    ) -> None:
        """Counters of a flow that was never announced: what is ours of them goes to `unattributed`.

        Of the first message that is this tick's part, since the rest was before our time; then differences.
        """
        known = source.remembered.get(key)
        if known is None:
            bytes_, packets = min(tick_bytes, total_bytes), min(tick_packets, total_packets)
        else:
            bytes_ = total_bytes - known[0] if total_bytes >= known[0] else total_bytes
            packets = total_packets - known[1] if total_packets >= known[1] else total_packets
        unattributed = self.unattributed
        unattributed["bytes"] += bytes_
        unattributed["packets"] += packets
        unattributed["messages"] += 1
        if final:
            source.remembered.pop(key, None)
        else:
            source.remember(key, total_bytes, total_packets, last_seen_at)

    def rename(self, source: Source, flow: TrackedFlow, key: str) -> None:
        """The agent calls `flow` by another key from now on."""
        del source.live[flow.key]
        flow.key = key
        source.live[key] = flow

    def end(self, source: Source, flow: TrackedFlow, reason: str, now: float) -> None:
        del source.live[flow.key]
        self.live_count -= 1
        if self._unintroduced:
            self.introduce(flow)
        flow.heard_at = now
        flow.ended_at = flow.last_seen_at or self.clock()
        flow.end_reason = reason
        flow.carry = None
        if reason in ("idle", "evicted"):  # the agent may speak of it again
            source.remember(flow.key, flow.total_bytes, flow.total_packets, flow.last_seen_at)
        if reason in self._counts:
            self._counts[reason] += 1
        self.finished.append(flow)
        for ended in self._ended:
            ended(flow)

    def end_agent(self, agent: str, reason: str, interface: str | None = None) -> int:
        """All live flows of an agent (on one interface) are over; how many that were."""
        now = self.monotonic()
        ended = 0
        for source in self.sources.values():
            if source.agent == agent and interface in (None, source.interface):
                source.remembered.clear()
                for flow in list(source.live.values()):
                    self.end(source, flow, reason, now)
                    ended += 1
        return ended

    def expire(self) -> None:
        """End idle flows and forget old ones. Call it every few seconds; its work is bounded."""
        now = self.monotonic()
        budget = MAX_ENDED_AT_ONCE
        for source in self.sources.values():
            limit = now - (self.idle_timeout_s if source.idle_timeout_s is None else source.idle_timeout_s)
            idle = [flow for flow in source.live.values() if flow.heard_at <= limit]
            for flow in idle[:budget]:
                self.end(source, flow, "idle", now)
            budget = max(0, budget - len(idle))
        if now - self._marks[-1][0] >= 60:
            self._marks.append((now, self.counted_bytes, self.unattributed["bytes"]))
        oldest = now - self.retention_s
        while self.finished and self.finished[0].heard_at <= oldest:
            self._forget()
        self._trim()

    # -- queries --------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.live_count

    def __bool__(self) -> bool:
        return True  # an empty table is a table

    def flows(self, **filters: Any) -> dict[str, Any]:
        """A page of flows, newest first: see `flow_rows.page` for the filters."""
        return flow_rows.page(self, **filters)

    def live(self) -> Iterator[TrackedFlow]:
        return chain.from_iterable(source.live.values() for source in self.sources.values())

    def all(self) -> Iterator[TrackedFlow]:
        """Live flows, then the finished ones still kept."""
        return chain(self.live(), self.finished)

    def flows_of(self, ip: str) -> list[TrackedFlow]:
        """Flows with `ip` at either end, live and lately finished, newest first."""
        return self.tallies.flows_of(ip)

    def flows_1min(self) -> int:
        """How many flows began in the last 60 seconds."""
        second = int(self.monotonic())
        if second != self._started_second:
            self._turn_ring(second)
        return sum(self._started_per_s)

    def counters(self) -> dict[str, int]:
        return {
            "flows_started": self.started,
            **{f"flows_{name}": number for name, number in self._counts.items()},
            **{f"unattributed_{name}": number for name, number in self.unattributed.items()},
        }

    def problems(self) -> list[Problem]:
        found = []
        if self.monotonic() - self._evicted_at <= 300:
            found.append(
                Problem(
                    "flow_table_full",
                    f"The {self.name} flow table is full ({self.max_flows} live flows): the ones idle longest are "
                    "dropped.",
                    "A scan or a flood may be going on: see the top talkers.",
                    details={"stream": self.name, "evicted": self._counts["evicted"]},
                )
            )
        _, counted, unattributed = self._marks[0]
        hidden, known = self.unattributed["bytes"] - unattributed, self.counted_bytes - counted
        if hidden > HIDDEN_BYTES and hidden > HIDDEN_SHARE * (hidden + known):
            share = round(100 * hidden / (hidden + known))
            found.append(
                Problem(
                    "flows_unannounced",
                    f"{share} % of the latest bytes of the {self.name} stream are of flows that the DPI agent did not "
                    "tell of: whose they are is not known.",
                    "What began before the engine was connected ends by itself. If it stays, netifyd keeps flows of "
                    "unknown protocols to itself: dump_unknown_flows = yes, section [socket] of /etc/netifyd.conf.",
                    details={"stream": self.name, "bytes": hidden},
                )
            )
        return found

    # -- keeping it bounded ---------------------------------------------------------------------------------

    def _evict(self) -> None:
        """Drop the flow that was idle longest.

        The ones idle longest are looked up a thousand at a time, and from then on taken in turn: a flow that is
        heard of meanwhile is passed over, and no other can have become older than those.
        """
        while True:
            if not self._idlest:
                heard = (
                    (flow.heard_at, source, flow) for source in self.sources.values() for flow in source.live.values()
                )
                self._idlest = sorted(heard, key=itemgetter(0))[:1024]
                self._idlest.reverse()
            heard_at, source, flow = self._idlest.pop()
            if flow.heard_at == heard_at and not flow.end_reason:
                break
        self._evicted_at = self.monotonic()
        self.end(source, flow, "evicted", self._evicted_at)

    def _trim(self) -> None:
        room = self.max_flows - self.live_count
        if len(self.finished) > room:
            room = max(room, self.max_flows // 10)
            while len(self.finished) > room:
                self._forget()
                self._counts["finished_dropped"] += 1

    def _forget(self) -> None:
        self.tallies.remove(self.finished.popleft())

    def _turn_ring(self, second: int) -> None:
        for passed in range(self._started_second + 1, min(second, self._started_second + 60) + 1):
            self._started_per_s[passed % 60] = 0
        self._started_second = second


def split(difference: int, local: int, other: int) -> tuple[int, int, int]:
    """Local, other and undirected parts of a difference smaller than what is said to have gone each way.

    Which part of the two was counted before is not known, unless all went one way.
    """
    if not other:
        return difference, 0, 0
    if not local:
        return 0, difference, 0
    return 0, 0, difference
