"""A tracked flow, and what a table adds up over its flows as they come, grow and go.

Adding up all flows anew for every aggregate would cost more than taking in their messages.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpi_dual.model import Flow

#: What a kind is: protocol, application, category, IP version, risk namespace, risks, guessed.
KindKey = tuple[str, str, str, int, str, tuple[int, ...], bool]


class Kind:
    """Flows that are alike in all that the breakdowns tell apart."""

    __slots__ = ("flows", "key", "local_bytes", "other_bytes", "undirected_bytes")

    def __init__(self, key: KindKey) -> None:
        self.key = key
        self.flows = 0
        self.local_bytes = 0
        self.other_bytes = 0
        self.undirected_bytes = 0


class Peer:
    """One address: the bytes of its flows, and the flows. Most remote addresses have one: no container for it."""

    __slots__ = ("bytes", "flows", "ip", "local")

    def __init__(self, ip: str) -> None:
        self.ip = ip
        self.bytes = 0
        self.local = False
        """Whether it was ever the local side, or the other one of a flow inside the network."""
        self.flows: TrackedFlow | dict[TrackedFlow, None] | None = None


#: What a flow has before it is filed; what is added to them goes nowhere.
_NO_KIND = Kind(("", "", "", 0, "", (), False))
_NOBODY = Peer("")


@dataclass(slots=True, eq=False)
class TrackedFlow(Flow):
    """A flow and what its table keeps about it."""

    serial: int = 0
    """Counts the table's flows; newer is higher."""
    heard_at: float = 0.0
    """Monotonic time of the last message about it; of its end, once it has ended."""
    carry: tuple[int, int, int, int] | None = None
    """What the agent's protocol needs from one message to the next: local, other bytes, local, other packets."""
    kind: Kind = _NO_KIND
    local_peer: Peer = _NOBODY
    other_peer: Peer = _NOBODY


class Tallies:
    """Sums over the flows of one table, live and kept; as large as the table, never larger.

    Who counts bytes of a flow adds them to its `kind` and its two peers as well.
    """

    def __init__(self) -> None:
        self.kinds: dict[KindKey, Kind] = {}
        self.hostnames: dict[str, int] = {}
        self.peers: dict[str, Peer] = {}

    def add(self, flow: TrackedFlow) -> None:
        """A flow that is new here and has no bytes yet."""
        key = _key(flow)
        kind = self.kinds.get(key)
        if kind is None:
            kind = self.kinds[key] = Kind(key)
        kind.flows += 1
        flow.kind = kind
        # Equal texts of many flows are kept once.
        flow.protocol, flow.application, flow.category, flow.risks = kind.key[0], kind.key[1], kind.key[2], kind.key[5]
        if flow.hostname:
            self.hostnames[flow.hostname] = self.hostnames.get(flow.hostname, 0) + 1
        peer = flow.local_peer = self._join(flow.local_ip, flow)
        peer.local = True
        flow.local_ip = peer.ip
        if flow.other_ip != flow.local_ip:
            peer = flow.other_peer = self._join(flow.other_ip, flow)
            flow.other_ip = peer.ip
            if flow.other_type == "local":
                peer.local = True

    def refile(self, flow: TrackedFlow, hostname_before: str) -> None:
        """The agent has described `flow` anew."""
        key = _key(flow)
        before = flow.kind
        if key != before.key:
            self._leave_kind(flow)
            kind = self.kinds.get(key)
            if kind is None:
                kind = self.kinds[key] = Kind(key)
            kind.flows += 1
            kind.local_bytes += flow.local_bytes
            kind.other_bytes += flow.other_bytes
            kind.undirected_bytes += flow.undirected_bytes
            flow.kind = kind
        if flow.hostname != hostname_before:
            self._leave_hostname(hostname_before)
            if flow.hostname:
                self.hostnames[flow.hostname] = self.hostnames.get(flow.hostname, 0) + 1

    def remove(self, flow: TrackedFlow) -> None:
        """A flow is forgotten."""
        self._leave_kind(flow)
        self._leave_hostname(flow.hostname)
        self._part(flow.local_peer, flow)
        if flow.other_peer is not _NOBODY:
            self._part(flow.other_peer, flow)

    def flows_of(self, ip: str) -> list[TrackedFlow]:
        """Flows with `ip` at either end, newest first."""
        peer = self.peers.get(ip)
        if peer is None or peer.flows is None:
            return []
        if isinstance(peer.flows, TrackedFlow):
            return [peer.flows]
        return sorted(peer.flows, key=lambda flow: flow.serial, reverse=True)

    def _leave_kind(self, flow: TrackedFlow) -> None:
        kind = flow.kind
        kind.flows -= 1
        if kind.flows:
            kind.local_bytes -= flow.local_bytes
            kind.other_bytes -= flow.other_bytes
            kind.undirected_bytes -= flow.undirected_bytes
        else:
            del self.kinds[kind.key]

    def _leave_hostname(self, name: str) -> None:
        if name:
            left = self.hostnames[name] - 1
            if left:
                self.hostnames[name] = left
            else:
                del self.hostnames[name]

    def _join(self, ip: str, flow: TrackedFlow) -> Peer:
        peer = self.peers.get(ip)
        if peer is None:
            peer = self.peers[ip] = Peer(ip)
            peer.flows = flow
        elif isinstance(peer.flows, dict):
            peer.flows[flow] = None
        elif peer.flows is not None:
            peer.flows = {peer.flows: None, flow: None}
        return peer

    def _part(self, peer: Peer, flow: TrackedFlow) -> None:
        flows = peer.flows
        if isinstance(flows, dict):
            flows.pop(flow, None)
            if flows:
                peer.bytes -= flow.local_bytes + flow.other_bytes + flow.undirected_bytes
                return
        del self.peers[peer.ip]


def _key(flow: TrackedFlow) -> KindKey:
    return (
        flow.protocol,
        flow.application,
        flow.category,
        flow.ip_version,
        flow.risk_namespace,
        flow.risks,
        flow.guessed,
    )
