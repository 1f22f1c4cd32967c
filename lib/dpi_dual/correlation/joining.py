"""Finds the flows of an event: by the actor's port when it is known, else by its address within the window."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from dpi_dual.capture.flow_rows import row
from dpi_dual.capture.flows import FlowTable
from dpi_dual.capture.tallies import TrackedFlow
from dpi_dual.model import Flow

#: Flows in a record.
SHOWN = 5
#: An address's newest flows that are looked at; who has more is seen by these.
LOOKED_AT = 1000
#: Clocks and packets do not arrive in order: an event may be this much before its flow's first packet.
SLACK_S = 5.0
#: Events that wait for a flow the DPI agent has not told of yet.
WAITING = 2000

#: What a record shows of a flow.
_SHOWN_KEYS = (
    "interface",
    "first_seen_at",
    "last_seen_at",
    "state",
    "transport",
    "local_ip",
    "local_port",
    "other_ip",
    "other_port",
    "local_origin",
    "protocol",
    "application",
    "hostname",
    "risks",
    "risk_namespace",
    "local_bytes",
    "other_bytes",
    "total_bytes",
    "community_id",
)


def shown(flow: Flow) -> dict[str, Any]:
    """A flow as a record keeps it."""
    whole = row(flow)
    return {key: whole[key] for key in _SHOWN_KEYS}


def _of_address(table: FlowTable, ip: str) -> Iterator[TrackedFlow]:
    """The flows of an address, newest first, without making a list of them all."""
    peer = table.tallies.peers.get(ip)
    if peer is None or peer.flows is None:
        return iter(())
    if isinstance(peer.flows, TrackedFlow):
        return iter((peer.flows,))
    return islice(reversed(peer.flows), LOOKED_AT)


def _has_end(flow: Flow, ip: str, port: int) -> bool:
    return (flow.other_port == port and flow.other_ip == ip) or (flow.local_port == port and flow.local_ip == ip)


def _overlaps(flow: Flow, since: float, until: float) -> bool:
    return flow.first_seen_at <= until and (flow.ended_at or flow.last_seen_at or until) >= since


class Joiner:
    """Joins events with the flows of both tables. Copies of one flow on several interfaces are one flow."""

    def __init__(self, tables: Iterable[FlowTable], found: Callable[[int, Flow], None]) -> None:
        """`found(record, flow)` is called when the flow that a record waits for is told of."""
        self._tables = tuple(tables)
        self._found = found
        self._waiting: OrderedDict[tuple[str, int], tuple[float, tuple[int, ...]]] = OrderedDict()
        self.given_up = 0

    def exact(self, ip: str, port: int, at: float) -> Flow | None:
        """The flow with this remote address and port at that time: TCP before others, the newest."""
        best: Flow | None = None
        for table in self._tables:
            for flow in _of_address(table, ip):
                if not _has_end(flow, ip, port) or not _overlaps(flow, at - SLACK_S, at + SLACK_S):
                    continue
                if flow.ip_protocol == 6:
                    return flow
                best = best or flow
        return best

    def around(self, ip: str, since: float, until: float) -> list[Flow]:
        """The newest flows of an address in that time, either direction, each once."""
        found: dict[tuple[object, ...], Flow] = {}
        for table in self._tables:
            taken = 0
            for flow in _of_address(table, ip):
                if _overlaps(flow, since, until):
                    ends = sorted(((flow.local_ip, flow.local_port), (flow.other_ip, flow.other_port)))
                    found.setdefault((flow.ip_protocol, *ends), flow)
                    taken += 1
                    if taken >= SHOWN:
                        break
        return sorted(found.values(), key=lambda flow: -flow.first_seen_at)[:SHOWN]

    # --- flows that come after their event

    def wait(self, record: int, ip: str, port: int, now: float) -> None:
        """Remembers that `record` lacks its flow."""
        key = (ip, port)
        known = self._waiting.get(key)
        if known is not None:
            if len(known[1]) < 16:
                self._waiting[key] = (known[0], (*known[1], record))
            return
        if len(self._waiting) >= WAITING:
            self._waiting.popitem(last=False)
            self.given_up += 1
        self._waiting[key] = (now, (record,))

    def expire(self, now: float, window_s: float) -> None:
        """Gives up on flows that nobody told of in `window_s`."""
        while self._waiting:
            key, (since, records) = next(iter(self._waiting.items()))
            if now - since < window_s:
                return
            del self._waiting[key]
            self.given_up += len(records)

    def told(self, flow: Flow) -> None:
        """A flow began, or is described: is it waited for?"""
        waiting = self._waiting
        if not waiting:
            return
        for key in ((flow.other_ip, flow.other_port), (flow.local_ip, flow.local_port)):
            known = waiting.pop(key, None)
            if known is not None:
                for record in known[1]:
                    self._found(record, flow)
