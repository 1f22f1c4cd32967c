"""The values that the parts hand to each other: flows and problems, with units in their docstrings."""

from __future__ import annotations

import ipaddress
from binascii import b2a_base64
from dataclasses import asdict, dataclass, field
from typing import Protocol

try:  # hashlib would load OpenSSL, 4 MiB that stay resident, for the one SHA-1 of a Community ID
    from _sha1 import sha1
except ImportError:
    from hashlib import sha1


@dataclass(slots=True, eq=False)
class Flow:
    """One flow as one DPI agent sees it on one interface; compared and hashed by identity, since it changes.

    *local* is the side inside the network (netifyd's own term), *other* the remote end; when both ends
    are inside, which is which is the agent's choice and says nothing about who opened the flow:
    that is `local_origin`. Times are Unix seconds.

    `total_bytes` and `total_packets` are cumulative, as the agent counts them. `local_bytes` (sent by
    the local side), `other_bytes` (sent by the other side) and `undirected_bytes` (an agent said how
    many but not which way) are our own sums of differences of those totals since we know the flow.
    """

    agent: str
    """Name of the agent connection (`tap`, `lan`, or `netifyd` when one serves both)."""
    interface: str
    key: str
    """The agent's own identity of the flow: netifyd's digest, nDPId's `alias/source/flow_id`."""
    first_seen_at: float
    last_seen_at: float
    ip_version: int = 0
    ip_protocol: int = 0
    """IANA protocol number: 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6."""
    local_ip: str = ""
    local_port: int = 0
    local_mac: str = ""
    other_ip: str = ""
    other_port: int = 0
    other_mac: str = ""
    other_type: str = "unknown"
    """remote, local, multicast, broadcast, unsupported, error or unknown."""
    local_origin: bool = True
    """True when the local side opened the flow."""
    vlan_id: int = 0
    protocol: str = "Unknown"
    """Protocol name in one spelling for all agents: DNS, HTTP, TLS, QUIC, SSH, ICMP …"""
    application: str = "Unknown"
    """Application in lower case without the agent's prefix: youtube, whatsapp …; Unknown if none."""
    category: str = ""
    hostname: str = ""
    hostname_source: str = ""
    """sni, http, dns, dhcp, mdns, ssh, agent (unspecified), or hint: a mere DNS cache hit, weak."""
    guessed: bool = False
    """True when the protocol was guessed from ports or addresses rather than found by inspection."""
    risks: tuple[int, ...] = ()
    risk_namespace: str = ""
    """Whose numbering `risks` uses: netify or ndpi."""
    risk_score: int = 0
    bytes_layer: str = "l2"
    """What a byte count covers: l2 (frames without FCS) or l4 (transport payload only, nDPId)."""
    total_bytes: int = 0
    total_packets: int = 0
    local_bytes: int = 0
    other_bytes: int = 0
    undirected_bytes: int = 0
    local_packets: int = 0
    other_packets: int = 0
    undirected_packets: int = 0
    ended_at: float = 0.0
    """0 while the flow lives."""
    end_reason: str = ""
    """closed, expired, terminated (the agent's words); idle, agent-restart, reused (the same tuple began a
    new flow), evicted (ours)."""


#: In these the name in the flow is what was asked about, or who asks: not the name of the server that answered.
_NAMES_OTHERS = frozenset(("DNS", "MDNS", "LLMNR", "DHCP", "DHCPV6", "DHCPv6"))


def name_of(flow: Flow, ip: str) -> str:
    """The host name of the end with address `ip` as the flow tells it; empty if it tells none.

    What a client asks for (SNI, Host) names the server, the end that did not open the flow: a stranger who connects
    to us may ask for any name, and must not be shown under it.
    """
    if not flow.hostname or flow.protocol in _NAMES_OTHERS or flow.hostname_source in ("dns", "mdns", "dhcp"):
        return ""
    outbound = flow.local_origin or flow.hostname_source == "hint"  # a hint is what DNS said about the other end
    return flow.hostname if ip == (flow.other_ip if outbound else flow.local_ip) else ""


class FlowSink(Protocol):
    """What a flow table tells to whoever aggregates its flows. Called in the ingest loop: be quick, never raise."""

    def flow_started(self, flow: Flow) -> None:
        """`flow` was announced for the first time; its counters are still zero."""

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
        """`flow` grew by these differences, each ≥ 0, already added to the flow's own sums."""

    def flow_ended(self, flow: Flow) -> None:
        """`flow` is over; `ended_at` and `end_reason` are set."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something an owner should know: what is wrong, and what to do about it. Shown by `dpi.status health`."""

    code: str
    """Stable, snake_case, for programs: `netifyd_unreachable`, `flow_offload_software` …"""
    message: str
    """A plain sentence: what is wrong, where, and what happens meanwhile."""
    hint: str = ""
    """What the owner can do; empty if nothing."""
    severity: str = "warning"
    """info, warning or error."""
    details: dict[str, object] = field(default_factory=dict)

    def answer(self) -> dict[str, object]:
        """As `dpi.status health` shows it."""
        return asdict(self)


def community_id(flow: Flow, seed: int = 0) -> str:
    """Community ID v1 of a flow's five-tuple: the same for both directions and for every tool that computes it.

    Source: the Community ID specification (corelight/community-id-spec). Port-less protocols hash with
    no ports; for ICMP use the type and its counterpart as ports if the caller knows them.
    """
    try:
        a = ipaddress.ip_address(flow.local_ip).packed
        b = ipaddress.ip_address(flow.other_ip).packed
    except ValueError:
        return ""
    ports = flow.ip_protocol in (6, 17, 132)
    pa, pb = (flow.local_port, flow.other_port) if ports else (0, 0)
    if (b, pb) < (a, pa):
        a, b, pa, pb = b, a, pb, pa
    data = seed.to_bytes(2, "big") + a + b + bytes((flow.ip_protocol & 255, 0))
    if ports:
        data += pa.to_bytes(2, "big") + pb.to_bytes(2, "big")
    return "1:" + b2a_base64(sha1(data, usedforsecurity=False).digest(), newline=False).decode("ascii")
