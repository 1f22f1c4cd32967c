"""netifyd's messages, of every generation from 3.x to 5.x, as events on a flow table."""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from dpi_dual.capture import fields, protocols
from dpi_dual.capture.flows import Source
from dpi_dual.capture.netifyd_agent import NetifydAgent
from dpi_dual.capture.session import Message, Route
from dpi_dual.capture.tallies import TrackedFlow

MAX_COUNT = fields.MAX_COUNT
MAX_TIME_MS = fields.MAX_TIME_MS

#: Marks a flow that began before our time: its totals so far are not ours.
BEFORE_OUR_TIME = (-1, -1, -1, -1)

_COUNTERS = itemgetter(
    "digest",
    "total_bytes",
    "total_packets",
    "local_bytes",
    "other_bytes",
    "local_packets",
    "other_packets",
    "last_seen_at",
)

#: What describes a flow; all of it is there in 4.x and 5.x.
DESCRIPTION = (
    "first_seen_at",
    "last_seen_at",
    "ip_version",
    "ip_protocol",
    "local_ip",
    "local_port",
    "local_mac",
    "other_ip",
    "other_port",
    "other_mac",
    "other_type",
    "local_origin",
    "vlan_id",
    "detected_protocol_name",
    "detected_application_name",
    "detection_guessed",
    "risks",
    "dhc_hit",
)
_DESCRIPTION = itemgetter(*DESCRIPTION)

_OTHER_TYPES = frozenset({"remote", "local", "multicast", "broadcast", "unsupported", "error", "unknown"})
_REASONS = frozenset({"closed", "expired", "terminated"})

#: Protocols whose `host_server_name` is the name that the protocol itself carries.
_NAME_SOURCES = {"DNS": "dns", "LLMNR": "dns", "MDNS": "mdns", "DHCP": "dhcp", "DHCPv6": "dhcp"}


class NetifydSession(NetifydAgent):
    """One netifyd process and its flows."""

    def __init__(self, name: str, route: Route, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name, route, monotonic)
        self._handlers: dict[str, Callable[[Message], None]] = {
            "flow": self._flow,
            "flow_stats": self._stats,
            "flow_purge": self._purge,
            "flow_dpi_update": self._dpi,
            "flow_dpi_complete": self._dpi,
            "agent_hello": self.hello,
            "agent_status": self.status,
            "definitions": self.define,
            "protocols": self.define,
            "interface_stats": self.interface_stats,
            **dict.fromkeys(("interfaces", "endpoints", "global_stats", "flow_intel"), _nothing),
        }

    def handle(self, message: Message) -> None:
        try:
            handler = self._handlers[message["type"]]
        except (KeyError, TypeError):
            self.unknown(message.get("type") if isinstance(message, dict) else None)
            return
        handler(message)

    # -- counters: the bulk of what comes, so written for speed ----------------------------------------------

    def _purge(self, message: Message) -> None:
        self._stats(message, final=True)

    def _stats(self, message: Message, final: bool = False) -> None:
        try:
            body = message["flow"]
            interface = message["interface"]
            source = self._sources[interface]
            if source is None:
                self.ignore(interface)
                return
            digest, total_bytes, total_packets, local_bytes, other_bytes, local_packets, other_packets, last_seen = (
                _COUNTERS(body)
            )
            flow = source.live[digest]
            # One negative or huge number shows in the sign or size of them all; a text or a fraction raises.
            if not (
                0
                <= total_bytes | total_packets | local_bytes | other_bytes | local_packets | other_packets
                <= MAX_COUNT
                and type(total_bytes) is int
                and type(total_packets) is int
                and flow.carry is None
            ):
                raise TypeError
        except (KeyError, TypeError):
            self._count_with_care(message, final)
            return
        self.flow_messages += 1
        flow.heard_at = self.now
        if type(last_seen) is int and 0 < last_seen < MAX_TIME_MS:
            flow.last_seen_at = last_seen / 1000
        # The plus makes a number of a true or false.
        source.table.advance(
            flow, total_bytes, total_packets, +local_bytes, +other_bytes, +local_packets, +other_packets
        )
        if final:
            source.table.end(source, flow, _reason(message), self.now)
        elif not self.flow_stats_seen:
            self.flow_stats_seen = True
            self.set_patience()

    def _count_with_care(self, message: Message, final: bool, partial: bool = False) -> None:
        """Counters of a message about which something is unusual; `partial` ones come amid a 15 s tick."""
        body = message.get("flow")
        digest = body.get("digest") if isinstance(body, dict) else None
        if not isinstance(body, dict) or type(digest) is not str or not 0 < len(digest) <= 128:
            self.malformed += 1
            return
        source = self._source_of(message, digest)
        if source is None:
            self.ignore(message.get("interface"))
            return
        self.flow_messages += 1
        if not final and not partial and not self.flow_stats_seen:
            self.flow_stats_seen = True
            self.set_patience()
        flow = source.live.get(digest) or self._renamed(source, digest, body)
        last_seen_at = fields.seconds(body.get("last_seen_at"))
        local_bytes, other_bytes = (
            max(0, fields.count(body.get("local_bytes"))),
            max(0, fields.count(body.get("other_bytes"))),
        )
        local_packets = max(0, fields.count(body.get("local_packets")))
        other_packets = max(0, fields.count(body.get("other_packets")))
        total_bytes, total_packets = fields.count(body.get("total_bytes")), fields.count(body.get("total_packets"))
        if total_bytes < 0 or total_packets < 0:
            self.malformed += 1
            if flow is None or not final:
                return
            total_bytes, total_packets = flow.total_bytes, flow.total_packets
        if flow is None:
            source.table.miss(
                source,
                digest,
                total_bytes,
                total_packets,
                local_bytes + other_bytes,
                local_packets + other_packets,
                last_seen_at,
                final,
            )
            return
        flow.heard_at = self.now
        flow.last_seen_at = last_seen_at or flow.last_seen_at
        if flow.carry is BEFORE_OUR_TIME:
            flow.total_bytes = max(0, total_bytes - local_bytes - other_bytes)
            flow.total_packets = max(0, total_packets - local_packets - other_packets)
            flow.carry = None
        tick = (local_bytes, other_bytes, local_packets, other_packets)
        if flow.carry is not None:  # this tick's beginning has been counted
            local_bytes, other_bytes, local_packets, other_packets = (
                now - then if now >= then else now for now, then in zip(tick, flow.carry, strict=True)
            )
        flow.carry = tick if partial else None
        source.table.advance(flow, total_bytes, total_packets, local_bytes, other_bytes, local_packets, other_packets)
        if final:
            source.table.end(source, flow, _reason(message), self.now)

    def _source_of(self, message: Message, digest: str) -> Source | None:
        """Where a message belongs. One that names no interface: where its digest is known, or where all others are."""
        interface = message.get("interface")
        if type(interface) is str and interface:
            return self.source(interface)
        watched = [source for source in self._sources.values() if source is not None]
        holders = [source for source in watched if digest in source.live] or watched
        return holders[0] if len(holders) == 1 else self.source("")

    def _renamed(self, source: Source, digest: str, body: Message) -> TrackedFlow | None:
        """The flow whose digest was one of `digest_prev` until now (5.x: a digest changes with the DPI result)."""
        earlier = body.get("digest_prev")
        if not isinstance(earlier, list):
            return None
        for old in earlier[:8]:
            if type(old) is not str or old == digest:
                continue
            flow = source.live.get(old)
            if flow is not None:
                source.table.rename(source, flow, digest)
                return flow
            if old in source.remembered:
                source.remembered[digest] = source.remembered.pop(old)
        return None

    # -- descriptions of flows ------------------------------------------------------------------------------

    def _flow(self, message: Message) -> None:
        try:
            body = message["flow"]
            digest = body["digest"]
            source = self._sources[message["interface"]]
        except (KeyError, TypeError):
            body = message.get("flow")
            digest = body.get("digest") if isinstance(body, dict) else None
            source = self._source_of(message, digest) if isinstance(body, dict) and type(digest) is str else None
        if not isinstance(body, dict) or type(digest) is not str or not 0 < len(digest) <= 128:
            self.malformed += 1
            return
        if source is None:
            self.ignore(message.get("interface"))
            return
        self.flow_messages += 1
        try:
            values = _DESCRIPTION(body)
        except KeyError:
            values = tuple(map(body.get, DESCRIPTION))
        flow = source.live.get(digest)
        if flow is None and "digest_prev" in body:
            flow = self._renamed(source, digest, body)
        first_seen_at = fields.seconds(values[0])
        if flow is not None and first_seen_at and first_seen_at != flow.first_seen_at:
            source.table.end(source, flow, "reused", self.now)
            flow = None
        if flow is not None:
            flow.heard_at = self.now
            flow.last_seen_at = fields.seconds(values[1]) or flow.last_seen_at
            hostname_before = flow.hostname
            self._classify(flow, values, body)
            source.table.described(flow, hostname_before)
            return
        flow = self._new(source, digest, first_seen_at, values)
        self._classify(flow, values, body)
        if source.remembered and (known := source.recall(digest, first_seen_at)) is not None:
            flow.total_bytes, flow.total_packets = known
        elif 0 < first_seen_at < self.began_at or message.get("established") is True:
            flow.carry = BEFORE_OUR_TIME
        source.table.start(source, flow, self.now)

    def _dpi(self, message: Message) -> None:
        """5.x: detection went on or ended; the whole flow again (update) or its counters so far (complete)."""
        body = message.get("flow")
        if isinstance(body, dict) and "detected_protocol" in body:
            self._flow(message)
        if isinstance(body, dict) and "total_bytes" in body:
            self._count_with_care(message, final=False, partial=True)

    def _new(self, source: Source, digest: str, first_seen_at: float, values: tuple[Any, ...]) -> TrackedFlow:
        _, last_seen, version, protocol, local_ip, local_port, local_mac, other_ip, other_port, other_mac, *rest = (
            values
        )
        other_type, local_origin, vlan_id = rest[:3]
        first_seen_at = first_seen_at or source.table.clock()
        if not (
            type(version) is type(protocol) is type(local_port) is type(other_port) is type(vlan_id) is int
            and 0 <= version | protocol | local_port | other_port | vlan_id <= 65535
            and version < 8
            and protocol < 256
            and vlan_id < 4096
        ):
            version, protocol, vlan_id = (
                fields.small(version, 6),
                fields.small(protocol, 255),
                fields.small(vlan_id, 4095),
            )
            local_port, other_port = fields.small(local_port, 65535), fields.small(other_port, 65535)
        return TrackedFlow(  # by position: the fastest way, and there are thousands
            self.name,
            source.interface,
            digest,
            first_seen_at,
            fields.seconds(last_seen) or first_seen_at,
            version,
            protocol,
            fields.ip(local_ip),
            local_port,
            fields.mac(local_mac),
            fields.ip(other_ip),
            other_port,
            fields.mac(other_mac),
            other_type if type(other_type) is str and other_type in _OTHER_TYPES else "unknown",
            local_origin is not False,
            vlan_id,
            risk_namespace="netify",
        )

    def _classify(self, flow: TrackedFlow, values: tuple[Any, ...], body: Message) -> None:
        """What the agent found out about `flow`; it may tell several times, each time better."""
        protocol, application, guessed, risks, hint_hit = values[13:]
        if type(protocol) is not str:
            protocol = self.defined("protocols", body.get("detected_protocol"))
        if type(application) is not str:
            application = self.defined("applications", body.get("detected_application"))
        flow.protocol = protocol = protocols.protocol(protocol)
        flow.application = protocols.application(application, protocol)
        if "categories" in self.definitions:
            flow.category = self.category(body.get("category"))
        flow.guessed = guessed is True or (type(guessed) is int and guessed > 0)
        if type(risks) is dict:
            numbers = risks.get("risks")
            if numbers and type(numbers) is list:
                flow.risks = tuple([n for n in numbers[:64] if type(n) is int and 0 < n < 65536])
            flow.risk_score = fields.small(risks.get("ndpi_risk_score"), 1_000_000)
        _name(flow, body, hint_hit is True)


def _reason(message: Message) -> str:
    """Why the agent let go of a flow."""
    reason = message.get("reason")
    if type(reason) is str and reason in _REASONS:
        return reason
    return fields.text(reason, 24) or "closed"


def _name(flow: TrackedFlow, body: Message, hint_hit: bool) -> None:
    """The best host name there is, and how good it is; a name once found is not lost to a weaker one."""
    if "ssl" in body:
        tls = body["ssl"]
        sni = fields.hostname(tls.get("client_sni")) if type(tls) is dict else ""
        if sni:
            flow.hostname, flow.hostname_source = sni, "sni"
            return
    name = fields.hostname(body.get("host_server_name"))
    if not name:
        hint = fields.hostname(body.get("dns_host_name"))
        if hint and not flow.hostname:
            flow.hostname, flow.hostname_source = hint, "hint"
        return
    source = _NAME_SOURCES.get(flow.protocol, "")
    if not source and "http" in body:
        http = body["http"]
        url = http.get("url") if type(http) is dict else None
        source = "http" if type(url) is str and url[:300].lower().startswith(name) else ""
    if not source:
        source = "hint" if hint_hit and name == fields.hostname(body.get("dns_host_name")) else "agent"
    if source != "hint" or flow.hostname_source in ("", "hint"):
        flow.hostname, flow.hostname_source = name, source


def _nothing(_message: Message) -> None:
    """Known, and of no use here."""
