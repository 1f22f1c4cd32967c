"""nDPId's events, as its distributor nDPIsrvd passes them on, as events on a flow table.

Every flow event carries the five-tuple and cumulative counts of L4 payload bytes and packets each way, so a flow
is known from any of them. Times are microseconds. Source: nDPId 1.7's JSON schema and recordings of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dpi_dual.capture import fields, protocols
from dpi_dual.capture.flows import Source
from dpi_dual.capture.session import Message, Route, Session
from dpi_dual.capture.tallies import TrackedFlow

_FLOW_EVENTS = frozenset(
    {"new", "detected", "detection-update", "update", "analyse", "guessed", "not-detected", "end", "idle"}
)
#: `end`: TCP closed; `idle`: nDPId's own timeout.
_ENDS = {"end": "closed", "idle": "expired"}

_L4 = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "icmp6": 58, "sctp": 132}

#: Names that a protocol itself carries, as against one that nDPId merely mentions.
_NAME_SOURCES = {
    **dict.fromkeys(("TLS", "QUIC", "DTLS", "SMTPS", "IMAPS", "POP3S", "FTPS", "MQTTS", "DoH_DoT"), "sni"),
    **dict.fromkeys(("DNS", "LLMNR"), "dns"),
    **dict.fromkeys(("DHCP", "DHCPv6"), "dhcp"),
    "HTTP": "http",
    "MDNS": "mdns",
    "SSH": "ssh",
}

#: nDPI's score for each severity (ndpi_risk_severity), which the events carry only in words.
_SEVERITY = {"Low": 10, "Medium": 50, "High": 100, "Severe": 150, "Critical": 200, "Emergency": 250}

#: Beyond its own patience nDPId needs some time to look: `flow-scan-interval` and `tcp-max-post-end-flow-time` with us.
IDLE_SLACK_S = 150.0

#: No patience is believed above this; nDPId's own with TCP is 7,440 s.
LONGEST_IDLE_S = 86_400.0

#: A daemon that was running before us: a flow first seen so long before its first message began before our time.
_SLACK_S = 20.0


def is_private(ip: str) -> bool:
    """Whether an address is inside by its range: RFC 1918, RFC 3927, loopback, ULA and link-local."""
    if ":" in ip:
        return ip == "::1" or ip[:2] in ("fc", "fd") or ip[:3] in ("fe8", "fe9", "fea", "feb")
    first, _, rest = ip.partition(".")
    second = rest.partition(".")[0]
    return (
        first in ("10", "127")
        or (first == "192" and second == "168")
        or (first == "169" and second == "254")
        or (first == "172" and second.isdigit() and 16 <= int(second) <= 31)
    )


def is_group(ip: str) -> str:
    """multicast, broadcast, or '' for an address of one host."""
    if ip.startswith("ff") and ":" in ip:
        return "multicast"
    if ip == "255.255.255.255":
        return "broadcast"
    first = ip.partition(".")[0]
    return "multicast" if first.isdigit() and 224 <= int(first) <= 239 else ""


class NdpidSession(Session):
    """All nDPId daemons behind one distributor: `source` is an interface, `alias` tells machines apart."""

    kind = "ndpid"

    def __init__(
        self,
        name: str,
        route: Route,
        monotonic: Callable[[], float] = time.monotonic,
        is_local: Callable[[str], bool] = is_private,
    ) -> None:
        super().__init__(name, route, monotonic)
        self.is_local = is_local
        self.ndpi_version = ""
        self.packet_events = 0
        self.error_events = 0
        self.idle_s = 0.0
        """nDPId's patience with a silent flow, the longest: it tells a live TCP flow's counts once in that time."""
        self._began_at = 0.0
        self._threads: dict[tuple[str, str], set[object]] = {}

    def handle(self, message: Message) -> None:
        if not isinstance(message, dict):
            self.unknown(None)
        elif (event := message.get("flow_event_name")) is not None:
            self._flow(message, event)
        elif "packet_event_name" in message:
            self.packet_events += 1
        elif "daemon_event_name" in message:
            self._daemon(message)
        elif "error_event_name" in message:
            self.error_events += 1
        else:
            self.unknown(message.get("type"))

    def _flow(self, message: Message, event: object) -> None:  # noqa: PLR0912 (an event has many parts)
        get = message.get
        if type(event) is not str or event not in _FLOW_EVENTS:
            self.unknown(event)
            return
        number, interface, alias = get("flow_id"), get("source"), get("alias")
        if fields.count(number) < 0 or type(interface) is not str:
            self.malformed += 1
            return
        source = self.source(interface)
        if source is None:
            self.ignore(interface)
            return
        self.flow_messages += 1
        key = f"{fields.text(alias, 32)}/{source.interface}/{number}"
        first_seen_at = _seconds(get("flow_first_seen"))
        if not self._began_at:
            self._began_at = _seconds(get("thread_ts_usec")) - _SLACK_S
        flow = source.live.get(key)
        if flow is not None and first_seen_at and first_seen_at != flow.first_seen_at:
            source.table.end(source, flow, "reused", self.now)
            flow = None
        counts = self._counts(message)
        if flow is None:
            flow = self._new(source, key, first_seen_at, message)
            if flow is None:
                self.malformed += 1
                return
            if not flow.local_origin:
                counts = _turned(counts)
            if counts is not None and 0 < first_seen_at < self._began_at:
                flow.carry = counts
                flow.total_bytes, flow.total_packets = counts[0] + counts[1], counts[2] + counts[3]
            elif (known := source.recall(key, 0.0)) is not None:
                flow.total_bytes, flow.total_packets = known
            source.table.start(source, flow, self.now, introduce=False)
        else:
            flow.heard_at = self.now
            if not flow.local_origin:
                counts = _turned(counts)
        last = max(_seconds(get("flow_src_last_pkt_time")), _seconds(get("flow_dst_last_pkt_time")))
        flow.last_seen_at = last or flow.last_seen_at
        self._wait_as_long(source, _seconds(get("flow_idle_time")))
        detection = get("ndpi")
        if isinstance(detection, dict):
            hostname_before = flow.hostname
            self._classify(flow, detection, event)
            source.table.described(flow, hostname_before)
        if event != "new":
            source.table.introduce(flow)
            if counts is not None:
                _advance(source, flow, counts)
        if event in _ENDS:
            source.table.end(source, flow, _ENDS[event], self.now)

    def _wait_as_long(self, source: Source, idle_s: float) -> None:
        """A flow is over when nDPId says so, or has said nothing for longer than it would have waited."""
        if idle_s > self.idle_s:
            self.idle_s = min(idle_s, LONGEST_IDLE_S)
        if self.idle_s + IDLE_SLACK_S > (source.idle_timeout_s or source.table.idle_timeout_s):
            source.idle_timeout_s = self.idle_s + IDLE_SLACK_S

    @staticmethod
    def _counts(message: Message) -> tuple[int, int, int, int] | None:
        """Bytes from source and destination, packets from both; None if one of them is no counter."""
        counts = (
            fields.count(message.get("flow_src_tot_l4_payload_len")),
            fields.count(message.get("flow_dst_tot_l4_payload_len")),
            fields.count(message.get("flow_src_packets_processed")),
            fields.count(message.get("flow_dst_packets_processed")),
        )
        return counts if min(counts) >= 0 else None

    def _new(self, source: Source, key: str, first_seen_at: float, message: Message) -> TrackedFlow | None:
        get = message.get
        opener, target = fields.ip(get("src_ip")), fields.ip(get("dst_ip"))
        if not opener or not target:
            return None
        opener_inside, target_inside = self.is_local(opener), self.is_local(target)
        group = is_group(target)
        turned = target_inside and not opener_inside and not group
        ports = fields.small(get("src_port"), 65535), fields.small(get("dst_port"), 65535)
        l4 = get("l4_proto")
        first_seen_at = first_seen_at or source.table.clock()
        return TrackedFlow(
            agent=self.name,
            interface=source.interface,
            key=key,
            first_seen_at=first_seen_at,
            last_seen_at=first_seen_at,
            ip_version={"ip4": 4, "ip6": 6}.get(fields.text(get("l3_proto"), 8), 0),
            ip_protocol=_L4.get(l4.lower(), 0) if type(l4) is str else fields.small(l4, 255),
            local_ip=target if turned else opener,
            local_port=ports[1] if turned else ports[0],
            local_mac=fields.mac(get("dst_mac" if turned else "src_mac")),
            other_ip=opener if turned else target,
            other_port=ports[0] if turned else ports[1],
            other_mac=fields.mac(get("src_mac" if turned else "dst_mac")),
            other_type=group or ("local" if opener_inside and target_inside else "remote"),
            local_origin=not turned,
            vlan_id=fields.small(get("vlan_id"), 4095),
            risk_namespace="ndpi",
            bytes_layer="l4",
        )

    @staticmethod
    def _classify(flow: TrackedFlow, detection: Message, event: str) -> None:
        get = detection.get
        protocol, application = protocols.split_ndpi(get("proto"))
        if protocol != protocols.UNKNOWN or application != protocols.UNKNOWN:
            flow.protocol, flow.application = protocol, application
        flow.category = protocols.category(get("category")) or flow.category
        confidence = get("confidence")
        if isinstance(confidence, dict) and confidence:
            flow.guessed = event == "guessed" or any(
                type(c) is str and c.startswith("Match") for c in confidence.values()
            )
        elif event == "guessed":
            flow.guessed = True
        name = fields.hostname(get("hostname"))
        if name:
            flow.hostname, flow.hostname_source = name, _NAME_SOURCES.get(flow.protocol, "agent")
        risks = get("flow_risk")
        if isinstance(risks, dict):
            known = [(int(n), r) for n, r in list(risks.items())[:64] if n.isdecimal() and n.isascii() and len(n) < 5]
            flow.risks = tuple(sorted(number for number, _ in known))
            severities = (r.get("severity") for _, r in known if isinstance(r, dict))
            flow.risk_score = sum(_SEVERITY.get(s, 0) for s in severities if type(s) is str)

    # -- the daemon itself ----------------------------------------------------------------------------------

    def _daemon(self, message: Message) -> None:
        event = message.get("daemon_event_name")
        self.version = fields.text(message.get("version"), 32) or self.version
        self.ndpi_version = fields.text(message.get("ndpi_version"), 32) or self.ndpi_version
        if event in ("init", "shutdown"):
            self._lifetime(message, event == "init")

    def _lifetime(self, message: Message, begins: bool) -> None:
        """Each of a daemon's threads says when it begins and ends: the first one to begin again is a new daemon."""
        alias, interface = fields.text(message.get("alias"), 32), fields.text(message.get("source"))
        if len(self._threads) >= 256:
            self._threads.clear()
        threads = self._threads.setdefault((alias, interface), set())
        thread = fields.count(message.get("thread_id"))
        if begins:
            if thread in threads or not threads:
                threads.clear()
                self._over(alias, interface)
            threads.add(thread)
        else:
            threads.discard(thread)
            if not threads:
                self._over(alias, interface)

    def _over(self, alias: str, interface: str) -> None:
        source = self.source(interface)
        if source is None:
            return
        prefix = f"{alias}/{source.interface}/"
        for flow in [flow for key, flow in source.live.items() if key.startswith(prefix)]:
            source.table.end(source, flow, "agent-restart", self.now)


def _seconds(microseconds: object) -> float:
    """Unix seconds of a time in microseconds, or 0.0 if it is not one."""
    if type(microseconds) is int and 0 < microseconds < fields.MAX_TIME_MS * 1000:
        return microseconds / 1_000_000
    return 0.0


def _turned(counts: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
    return None if counts is None else (counts[1], counts[0], counts[3], counts[2])


def _advance(source: Source, flow: TrackedFlow, counts: tuple[int, int, int, int]) -> None:
    """Differences each way. `carry` holds the totals that are not in the flow's own sums, for flows that have some."""
    local_bytes, other_bytes, local_packets, other_packets = counts
    before = flow.carry or (0, 0, 0, 0)
    ways = [
        total - (own + base)
        for total, own, base in zip(
            counts, (flow.local_bytes, flow.other_bytes, flow.local_packets, flow.other_packets), before, strict=True
        )
    ]
    if min(ways) < 0:  # nDPId began to count anew
        ways = list(counts)
        flow.carry = (-flow.local_bytes, -flow.other_bytes, -flow.local_packets, -flow.other_packets)
        flow.total_bytes = flow.total_packets = 0
    source.table.advance(flow, local_bytes + other_bytes, local_packets + other_packets, *ways)
