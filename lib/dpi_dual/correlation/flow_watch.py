"""Turns what the DPI agents see into events: risky flows, protocols of note, services newly open to the outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dpi_dual.capture.tallies import TrackedFlow
from dpi_dual.correlation.events import Event, plain
from dpi_dual.correlation.home import Home
from dpi_dual.correlation.joining import Joiner
from dpi_dual.correlation.risks import SCORES, Finding, finding
from dpi_dual.model import Flow, name_of

#: What our own side opens must be graver than what comes from outside: users browse to odd places all day.
OUTBOUND_LEAST = SCORES["high"]
INBOUND_LEAST = SCORES["medium"]
LISTENER_SCORE = 30

#: Kinds of flows whose judgement is remembered, and live flows that were reported.
MAX_KINDS = 4096
MAX_REPORTED = 20_000
MAX_LISTENERS = 4096

#: Each event is stored with its context. A flood of risky flows must fill neither memory nor the time of the engine:
#: beyond so many a second, and so many at once, flows wait until they are spoken of again, and are counted.
EVENTS_S = 20.0
EVENTS_AT_ONCE = 200.0

#: What a DNS query says about who asks, whoever answers: clients ask the router, and it asks on their behalf.
ASKED = frozenset(
    f"risk:{name}" for name in ("suspicious_dga_domain", "risky_domain", "malware_host", "dns_suspicious_traffic")
)
DNS_PORT = 53

_NOTHING: tuple[Finding, ...] = ()


class FlowWatch:
    """A `FlowSink` for one table; most flows cost it one look-up in a dictionary."""

    def __init__(
        self,
        name: str,
        home: Home,
        joiner: Joiner,
        report: Callable[[Event, Flow], None],
        listeners: set[str],
        new_listener: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`report(event, flow)` takes an event; `listeners` are the services known, shared by both tables."""
        self._name = name
        self._home = home
        self._joiner = joiner
        self._report = report
        self._listeners = listeners
        self._new_listener = new_listener
        self._kinds: dict[object, tuple[Finding, ...]] = {}
        self._reported: set[tuple[int, str]] = set()
        self._monotonic = monotonic
        self._allowed = EVENTS_AT_ONCE
        self._allowed_at = monotonic()
        self.held_back = 0
        """Findings that were not reported because there were too many."""
        self.active = False
        """False while correlation is switched off."""
        self.elsewhere: Callable[[], bool] = lambda: False
        """Tells whether the LAN stream runs too, which names the client behind what leaves by the WAN."""

    # --- FlowSink

    def flow_started(self, flow: Flow) -> None:
        """Looks at a new flow."""
        if not self.active:
            return
        self._joiner.told(flow)
        self._look(flow)

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
        """Looks again: what a flow is may have turned out since, and whether it was answered."""
        if not self.active:
            return
        if self._findings(flow):
            self._look(flow)
        if not flow.local_origin and local_bytes:
            self._look_for_listener(flow)

    def flow_ended(self, flow: Flow) -> None:
        """A last look at a flow."""
        if not self.active:
            return
        if self._findings(flow):
            self._look(flow)
            for entry in self._findings(flow):
                self._reported.discard((id(flow), entry.rule))

    # --- findings

    def _findings(self, flow: Flow) -> tuple[Finding, ...]:
        kind: Any = flow.kind if isinstance(flow, TrackedFlow) else None
        known = self._kinds.get(kind)
        if known is None or kind is None:
            known = finding(flow.protocol, flow.application, flow.risk_namespace, flow.risks, flow.guessed)
            if len(self._kinds) >= MAX_KINDS:
                self._kinds.clear()
            if kind is not None:
                self._kinds[kind] = known
        return known

    def _look(self, flow: Flow) -> None:
        for entry in self._findings(flow):
            if (id(flow), entry.rule) in self._reported:
                continue
            event = self._event(flow, entry)
            if event is not None:
                if not self._may_report():
                    self.held_back += 1
                    return
                if len(self._reported) >= MAX_REPORTED:
                    self._reported.clear()  # told twice they still count once, by their id
                self._reported.add((id(flow), entry.rule))
                self._report(event, flow)

    def _may_report(self) -> bool:
        now = self._monotonic()
        self._allowed = min(EVENTS_AT_ONCE, self._allowed + (now - self._allowed_at) * EVENTS_S)
        self._allowed_at = now
        if self._allowed < 1.0:
            return False
        self._allowed -= 1.0
        return True

    def _event(self, flow: Flow, entry: Finding) -> Event | None:
        """The event of a finding, None if the flow is not worth one here."""
        inside, remote, inbound = self._ends(flow)
        if not remote:
            return self._question(flow, entry)
        if (entry.ours or not inbound) and self._name == "tap" and self.elsewhere():
            return None  # br-lan shows the same flow, with the client that it belongs to
        if entry.score < (INBOUND_LEAST if inbound else OUTBOUND_LEAST) and not entry.rule.startswith("protocol:"):
            return None
        ours = (entry.ours or not inbound) and bool(inside.ip) and not self._home.is_own(inside.ip)
        who, peer = (inside, remote) if ours else (remote, inside)
        reason = f"{entry.reason} {'from' if inbound and not ours else 'with'} {remote.name or remote.ip}"
        return self._threat(flow, entry, who, peer, reason, ours=ours, outbound=not inbound and not ours)

    def _question(self, flow: Flow, entry: Finding) -> Event | None:
        """The event of a client that asks a resolver inside, mostly the router, for a name of note."""
        if entry.rule not in ASKED or flow.protocol != "DNS" or flow.other_type in ("multicast", "broadcast"):
            return None
        ends = (
            _End(flow.local_ip, flow.local_port, flow.local_mac, ""),
            _End(flow.other_ip, flow.other_port, flow.other_mac, ""),
        )
        who, resolver = ends if flow.other_port == DNS_PORT else ends[::-1]
        if resolver.port != DNS_PORT or not who.ip or self._home.is_own(who.ip):
            return None
        reason = f"asked for {flow.hostname}: {entry.reason}" if flow.hostname else entry.reason
        return self._threat(flow, entry, who, resolver, reason, ours=True, outbound=False)

    def _threat(
        self, flow: Flow, entry: Finding, who: _End, peer: _End, reason: str, *, ours: bool, outbound: bool
    ) -> Event:
        return Event(
            type="dpi_threat",
            ip=who.ip,
            port=who.port,
            mac=who.mac if ours else "",
            at=flow.last_seen_at or flow.first_seen_at,
            score=entry.score,
            reason=plain(reason, 200),
            source=self._name,
            rule=entry.rule,
            id=f"flow:{flow.interface}:{flow.key[:80]}:{flow.first_seen_at:.3f}:{entry.rule}",
            outbound=outbound,
            details={
                "peer": peer.ip,
                "peer_port": peer.port,
                "protocol": flow.protocol,
                "application": flow.application,
                "server_name": flow.hostname,
            },
        )

    def _ends(self, flow: Flow) -> tuple[_End, _End | None, bool]:
        """The end inside, the one outside (None: both are inside), and whether the outside opened the flow."""
        local = _End(flow.local_ip, flow.local_port, flow.local_mac, name_of(flow, flow.local_ip))
        other = _End(flow.other_ip, flow.other_port, flow.other_mac, name_of(flow, flow.other_ip))
        if flow.other_type in ("multicast", "broadcast"):
            return local, None, False
        if not self._home.is_inside(other.ip):
            return local, other, not flow.local_origin
        if not self._home.is_inside(local.ip):
            return other, local, flow.local_origin  # the agent took the sides the other way round
        return local, None, False

    # --- services that answer the outside

    def _look_for_listener(self, flow: Flow) -> None:
        inside, remote, inbound = self._ends(flow)
        if remote is None or not inbound or flow.ip_protocol != 6 or not inside.port:
            return
        if remote.port < 1024 <= inside.port:
            return  # most likely ours, seen from the middle on
        actor = self._home.actor(inside.ip, inside.mac)
        place = f"{actor.key}/tcp/{inside.port}"
        if place in self._listeners or len(self._listeners) >= MAX_LISTENERS:
            return
        self._listeners.add(place)
        self._new_listener(place)
        self._report(
            Event(
                type="new_listener",
                ip=inside.ip,
                port=inside.port,
                mac=actor.mac,
                at=flow.last_seen_at or flow.first_seen_at,
                score=LISTENER_SCORE,
                reason=f"TCP port {inside.port} answers {remote.ip} outside for the first time",
                source=self._name,
                rule=f"listener:tcp/{inside.port}",
                id=f"listener:{place}",
                details={"peer": remote.ip, "peer_port": remote.port, "protocol": flow.protocol},
            ),
            flow,
        )


class _End:
    """One end of a flow."""

    __slots__ = ("ip", "mac", "name", "port")

    def __init__(self, ip: str, port: int, mac: str, name: str) -> None:
        self.ip, self.port, self.mac, self.name = ip, port, mac, name
