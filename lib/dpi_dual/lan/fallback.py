"""LAN flows from conntrack accounting while no DPI agent is there, without counting anything twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import lt
from typing import TYPE_CHECKING

from dpi_dual.lan.accounting import CONNTRACK, LanAccounting
from dpi_dual.lan.connections import Key, LanView, flow_key, identity, key_of, lan_view, on_wire, protocol_of
from dpi_dual.lan.tally import serials
from dpi_dual.lan.tracked import Deltas
from dpi_dual.model import Flow

if TYPE_CHECKING:
    from dpi_dual.capture.conntrack import Table

#: How long after the agent came back its first counts may still hold what was counted here: netifyd's tick is 15 s.
CREDIT_S = 90.0
#: Growth remembered dump by dump; what is older is kept as one sum.
MAX_STEPS = 8
MAX_FLOWS = 16_384
#: Incomplete dumps that a connection may be missing from.
PATIENCE = 12
#: A connection that is over for so long has been purged by any agent that still knew it (netifyd: 300 s and a tick).
LEDGER_S = 330.0
#: Connections whose counters fell between two dumps: one may be another in the same place, several were emptied.
FELL = 2
#: nlbwmon empties them every 30 s, unless told otherwise.
EMPTIED_S = 300.0
#: Our flows are numbered beyond any that a flow table ever reaches.
FIRST_SERIAL = 1 << 40

Figures = tuple[int, int, int, int]
"""Local and other bytes (with Ethernet headers, as an agent counts them), local and other packets."""
Step = tuple[float, Figures]
"""Growth found by the dump of that time."""


@dataclass(slots=True, eq=False)
class ConntrackFlow(Flow):
    """A flow that conntrack tells of."""

    serial: int = 0


class _Counted:
    """One connection as we counted it: its flow, and what it grew by, dump by dump."""

    __slots__ = ("adopted", "agent_counted", "flow", "seen", "steps")

    def __init__(self, flow: ConntrackFlow, adopted: Flow | None, steps: list[Step]) -> None:
        self.flow = flow
        self.adopted = adopted
        """The agent's flow that stands for it in lists and flow counts."""
        self.agent_counted = False
        self.seen = 0
        self.steps = steps

    def step(self, at: float, grown: Figures) -> None:
        """Notes growth; the oldest notes become one sum."""
        if len(self.steps) >= MAX_STEPS:
            (_, old), (last, new) = self.steps[:2]
            self.steps[:2] = [(last, _sum(old, new))]
        self.steps.append((at, grown))

    def claim(self, since: float) -> Figures:
        """What was counted in dumps after `since`; claimed once."""
        claimed: Figures = (0, 0, 0, 0)
        for at, grown in self.steps:
            if at > since:
                claimed = _sum(claimed, grown)
        self.steps = [step for step in self.steps if step[0] <= since]
        return claimed


class ConntrackFallback:
    """Feeds the LAN's accounting from conntrack between `start` and `stop`.

    Nothing is counted twice, by three rules:
    * the first dump is only a baseline: what a connection carried before was the agent's to count, or nobody's;
    * a connection that the agent had announced is not one more flow, here or when the agent is back;
    * what was counted here since a flow's first packet (as the returned agent dates it) is credit: the agent's first
      counts of that flow are reduced by it. An agent that went on counting unseen reports the gap in its next total;
      one that was started anew does not, and its flows are younger than most of what was counted here.
    """

    def __init__(self, accounting: LanAccounting, clock: Callable[[], float] = time.time) -> None:
        self.active = False
        self.interface = ""
        self.skipped = 0
        self.emptied = 0
        """Dumps that found counters emptied by somebody else: what came between the dump before and that is lost."""
        self._emptied_at = 0.0
        self._accounting = accounting
        self._clock = clock
        self._flows: dict[Key, _Counted] = {}
        self._ledger: dict[Key, _Counted] = {}
        """All that credit may be claimed from: also connections that are over, and those of an absence just before."""
        self._claims: dict[int, tuple[Flow, list[int]]] = {}
        """Agent's flows that have claimed credit, by `id`, and what is left of it."""
        self._last: dict[int, Figures] = {}
        self._complete = False
        self._round = 0
        self._stopped_at = 0.0

    @property
    def shared(self) -> bool:
        """Whether somebody else empties the counters that are counted here."""
        return self.active and 0 <= self._clock() - self._emptied_at < EMPTIED_S

    def flows(self) -> list[ConntrackFlow]:
        """The live flows that only conntrack tells of."""
        return [counted.flow for counted in self._flows.values() if counted.adopted is None]

    def start(self, table: Table, agent_flows: Iterable[Flow]) -> None:
        """The agent is gone: takes the baseline, and what the agent knew of the connections that go on."""
        self._accounting.settle()  # what the agent told before it went is not to be taken for its return
        self.active = True
        self._last = {}
        self._accounting.already_counted = self._take_off
        self._accounting.continues = self._continues
        self._complete = False
        self._read(table, {flow_key(flow): flow for flow in agent_flows})

    def update(self, table: Table) -> None:
        """Counts what grew since the last dump."""
        self._accounting.settle()
        self._read(table, {})
        if len(self._ledger) > MAX_FLOWS // 2:
            old = self._clock() - LEDGER_S
            for key in [key for key, counted in self._ledger.items() if 0 < counted.flow.ended_at < old]:
                del self._ledger[key]

    def stop(self) -> None:
        """The agent is back: ends our flows; what was counted stays as credit for a while."""
        for counted in self._flows.values():
            self._end(counted, "agent-back")
        self._flows = {}
        self._last = {}
        self.active = False
        self._stopped_at = self._clock()

    def tick(self) -> None:
        """Forgets credit that is too old to be claimed."""
        if not self.active and self._ledger and not 0 <= self._clock() - self._stopped_at <= CREDIT_S:
            self._ledger, self._claims = {}, {}
            self._accounting.already_counted = None
            self._accounting.continues = None

    def _read(self, table: Table, known: dict[Key, Flow]) -> None:
        """Counts growth. What was not in a complete dump before is new and counts in full, else it is a baseline."""
        self._round += 1
        now, around = self._clock(), self._accounting.around
        complete = not table.left_out and not table.interrupted
        fresh: dict[int, Figures] = {}
        fell = 0
        for entry in table.connections:
            view = lan_view(entry, around)
            number = identity(entry)
            if view is None or number in fresh:
                continue
            key = key_of(entry.protocol, view.client, view.peer)
            counted = self._flows.get(key)
            if counted is None:
                if len(self._flows) >= MAX_FLOWS:
                    self.skipped += 1
                    continue
                counted = self._begin(key, entry.protocol, view, known.get(key), now)
            counted.seen = self._round
            orig, reply = on_wire(entry)
            sent, answered = (orig, entry.orig_packets or 0), (reply, entry.reply_packets or 0)
            local, other = (sent, answered) if view.opened else (answered, sent)
            figures = fresh[number] = (local[0], other[0], local[1], other[1])
            before = self._last.get(number)
            fell += before is not None and any(map(lt, figures, before))
            if before is not None or self._complete:
                self._count(counted, _growth(before, figures), now)
        if fell >= FELL:
            self.emptied += 1
            self._emptied_at = now
        # An incomplete dump leaves out connections that go on: they are over when they stay away.
        oldest = self._round if complete else self._round - PATIENCE
        for key in [key for key, counted in self._flows.items() if counted.seen < oldest]:
            self._end(self._flows.pop(key), "closed")
        if not complete and len(fresh) < MAX_FLOWS:
            for number, figures in self._last.items():
                fresh.setdefault(number, figures)
        self._last = fresh
        self._complete = complete

    def _begin(self, key: Key, ip_protocol: int, view: LanView, agent_flow: Flow | None, now: float) -> _Counted:
        flow = self._flow(ip_protocol, view, now)
        if agent_flow is not None:
            flow.protocol, flow.application = agent_flow.protocol, agent_flow.application
            flow.category, flow.guessed = agent_flow.category, agent_flow.guessed
            flow.hostname, flow.hostname_source = agent_flow.hostname, agent_flow.hostname_source
        before = self._ledger.get(key)
        continued = agent_flow is not None or (before is not None and before.flow.end_reason == "agent-back")
        counted = _Counted(flow, agent_flow, before.steps if before is not None else [])
        self._flows[key] = self._ledger[key] = counted
        self._accounting.flow_from_conntrack(flow, new=not continued, live=agent_flow is None)
        return counted

    def _count(self, counted: _Counted, grown: Figures, now: float) -> None:
        if counted.adopted is not None and not self._accounting.is_tracked(counted.adopted):
            counted.adopted = None  # the agent's view of it has expired: ours stands for the flow now
            self._accounting.promote(counted.flow)
        if counted.agent_counted:  # the agent is back and has told this part itself
            counted.agent_counted = False
            return
        local, other, local_packets, other_packets = grown
        if not local_packets and not other_packets:
            return
        flow = counted.flow
        flow.last_seen_at = now
        flow.total_bytes += local + other
        flow.total_packets += local_packets + other_packets
        flow.local_bytes += local
        flow.other_bytes += other
        flow.local_packets += local_packets
        flow.other_packets += other_packets
        counted.step(now, grown)
        self._accounting.flow_counted(flow, local, other, 0, local_packets, other_packets, 0)

    def _end(self, counted: _Counted, reason: str) -> None:
        counted.flow.ended_at = self._clock()
        counted.flow.end_reason = reason
        self._accounting.flow_ended(counted.flow)

    def _flow(self, ip_protocol: int, view: LanView, now: float) -> ConntrackFlow:
        around = self._accounting.around
        protocol, guessed = protocol_of(ip_protocol, view.peer[1] if view.opened else view.client[1])
        return ConntrackFlow(
            agent=CONNTRACK,
            interface=self.interface,
            key="",
            first_seen_at=now,
            last_seen_at=now,
            ip_version=6 if ":" in view.client[0] else 4,
            ip_protocol=ip_protocol,
            local_ip=view.client[0],
            local_port=view.client[1],
            local_mac=around.macs.get(view.client[0], ""),
            other_ip=view.peer[0],
            other_port=view.peer[1],
            other_mac=around.macs.get(view.peer[0], "") if view.inside else "",
            other_type="local" if view.inside else "remote",
            local_origin=view.opened,
            protocol=protocol,
            guessed=guessed,
            serial=FIRST_SERIAL + next(serials),
        )

    def _continues(self, flow: Flow) -> Flow | None:
        """Our flow, if the one that the returned agent announces was seen here before."""
        counted = self._ledger.get(flow_key(flow))
        if counted is None or flow.first_seen_at > (counted.flow.ended_at or self._clock()):
            return None
        return counted.flow

    def _take_off(self, flow: Flow, deltas: Deltas) -> Deltas:
        """What is left of an agent's count when our credit for its flow is taken off."""
        counted = self._ledger.get(flow_key(flow))
        if counted is not None:
            counted.agent_counted = self.active
            local, other, local_packets, other_packets = counted.claim(flow.first_seen_at)
            if flow.local_ip == counted.flow.other_ip and flow.local_ip != counted.flow.local_ip:
                local, other = other, local
            left = self._claims.setdefault(id(flow), (flow, [0, 0, 0]))[1]
            left[0] += local
            left[1] += other
            left[2] += local_packets + other_packets
        claim = self._claims.get(id(flow))
        if claim is None:
            return deltas
        left = claim[1]
        paid = [min(due, have) for due, have in zip((deltas[0], deltas[1], deltas[3]), left, strict=True)]
        for index, sum_paid in enumerate(paid):
            left[index] -= sum_paid
        undirected = deltas[2]  # what has no direction pays for either
        for index in (0, 1):
            from_rest = min(undirected, left[index])
            left[index] -= from_rest
            undirected -= from_rest
        return deltas[0] - paid[0], deltas[1] - paid[1], undirected, deltas[3] - paid[2]


def _growth(before: Figures | None, now: Figures) -> Figures:
    if before is None:
        return now
    grown = (now[0] - before[0], now[1] - before[1], now[2] - before[2], now[3] - before[3])
    return now if min(grown) < 0 else grown  # fell: another connection took the place of the one we knew


def _sum(a: Figures, b: Figures) -> Figures:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]
