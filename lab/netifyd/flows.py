"""From packets to flows: five-tuples, directions, byte counts, and when a flow is over.

Bytes are those of Ethernet frames without the FCS, each packet counted once. Fragments after the first carry no
ports, so a fragmented datagram's later parts make a flow of their own; packets that are no IP are counted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha1
from heapq import nsmallest
from ipaddress import ip_address

from lab.netifyd.addresses import Inside
from lab.netifyd.hints import DnsHints
from lab.netifyd.ndpi import Detection, Engine, Finding
from lab.netifyd.packets import ACK, FIN, ICMP, ICMP6, RST, SYN, TCP, UDP, Memory, Packet, parse

_DNS_PORT = 53
#: How netifyd's `stats` call packets of these protocols.
_COUNTED = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp"}

#: Live flows of one interface; beyond that those idle longest are ended, a sixteenth at a time.
MAX_FLOWS = 16_384

_NOTHING_FOUND = Finding(guessed=True)


@dataclass(frozen=True)
class Side:
    """One end of a flow, readable."""

    ip: str
    port: int
    mac: str


class Flow:
    """One flow; index 0 of each pair is the direction of its first packet."""

    __slots__ = (
        "addresses",
        "announcements",
        "bytes",
        "closed",
        "detection",
        "detection_packets",
        "digest",
        "finding",
        "first_seen_ms",
        "hint",
        "interface",
        "internal",
        "keys",
        "last_seen_ms",
        "local_origin",
        "macs",
        "marker",
        "other_type",
        "packets",
        "ports",
        "protocol",
        "told_bytes",
        "told_packets",
        "version",
        "vlan",
    )

    def __init__(self, interface: str, internal: bool, first: Packet, macs: tuple[bytes, bytes], now_ms: int) -> None:
        self.interface, self.internal = interface, internal
        self.version, self.protocol, self.vlan = first.version, first.protocol, first.vlan
        size = 4 if first.version == 4 else 16
        source, destination, ports = first.key[:size], first.key[size : 2 * size], first.key[2 * size :]
        self.addresses, self.macs = (source, destination), macs
        self.ports = int.from_bytes(ports[:2]), int.from_bytes(ports[2:])
        self.keys = first.key, destination + source + ports[2:] + ports[:2]
        self.first_seen_ms = self.last_seen_ms = now_ms
        self.bytes, self.packets = [0, 0], [0, 0]
        self.told_bytes, self.told_packets = [0, 0], [0, 0]
        self.closed = False
        self.detection: Detection | None = None
        self.detection_packets = 0
        self.finding = _NOTHING_FOUND
        self.marker: object = None
        self.announcements = 0
        self.hint = ""
        self.local_origin = True
        self.other_type = "unknown"
        self.digest = ""

    def identify(self, inside: Inside, hints: DnsHints) -> None:
        """Decides which side is local, and gives the flow its digest: the same for the same five-tuple, always."""
        source, destination = self.addresses
        kinds = inside.kind(source), inside.kind(destination)
        match kinds:
            case (_, "multicast" | "broadcast"):
                self.local_origin, self.other_type = True, kinds[1]
            case ("local", "local"):
                self.local_origin, self.other_type = source <= destination, "local"
            case ("local", "remote"):
                self.local_origin, self.other_type = True, "remote"
            case ("remote", "local"):
                self.local_origin, self.other_type = False, "remote"
            case _:
                self.local_origin, self.other_type = source <= destination, "unknown"
        other = destination if self.local_origin else source
        if self.other_type == "remote":
            self.hint = hints.get(other)
        ends = sorted(address + port.to_bytes(2) for address, port in zip(self.addresses, self.ports, strict=True))
        prefix = bytes((self.version, self.protocol)) + self.vlan.to_bytes(2)
        self.digest = sha1(prefix + ends[0] + ends[1], usedforsecurity=False).hexdigest()

    def sides(self) -> tuple[Side, Side]:
        """(local, other)."""
        ends = [
            Side(str(ip_address(address)), port, mac.hex(":"))
            for address, port, mac in zip(self.addresses, self.ports, self.macs, strict=True)
        ]
        return (ends[0], ends[1]) if self.local_origin else (ends[1], ends[0])

    def tell(self) -> None:
        """Marks all that has been counted as told."""
        self.told_bytes, self.told_packets = self.bytes.copy(), self.packets.copy()

    @property
    def untold(self) -> bool:
        """True when packets came since `tell()`."""
        return self.packets != self.told_packets

    def learn(self) -> bool:
        """Takes over what the detection has found; True when that is new and worth announcing."""
        detection = self.detection
        assert detection is not None
        complete = detection.complete
        marker = (detection.marker(), complete)
        if marker == self.marker:
            return False
        self.marker = marker
        finding = detection.finding()
        self.detection_packets = detection.packets
        if complete:
            self.end_detection()
        # Without a name yet, what runs inside TLS is still to come.
        if not complete and (not finding.known or (finding.protocol in ("TLS", "QUIC") and not finding.host_name)):
            return False
        changed = not self.announcements or _headline(finding) != _headline(self.finding)
        self.finding = finding
        return changed

    def give_up(self) -> None:
        """Settles for the best guess."""
        if self.detection is not None:
            self.detection.give_up()
            self.finding = self.detection.finding()
            self.detection_packets = self.detection.packets
            self.end_detection()

    def end_detection(self) -> None:
        """Frees what nDPI holds for this flow."""
        if self.detection is not None:
            self.detection.close()
            self.detection = None


def _headline(finding: Finding) -> tuple[object, ...]:
    return finding.protocol, finding.application, finding.host_name, finding.details.get("ssl", {}).get("server_ja3")


Listener = Callable[[Flow], None]


class FlowTable:
    """The flows of one interface. `on_found` is told when a flow is classified, and again when more is known."""

    def __init__(
        self, interface: str, internal: bool, engine: Engine, inside: Inside, hints: DnsHints, on_found: Listener
    ) -> None:
        self.interface, self.internal = interface, internal
        self.inside = inside
        self._engine, self._hints, self._on_found = engine, hints, on_found
        self._flows: dict[int, dict[bytes, tuple[Flow, int]]] = {}
        self._live: dict[Flow, None] = {}
        self.evicted: list[Flow] = []
        """Flows that had to make room, or whose five-tuple began anew; for the owner to end."""
        self.counts: Counter[str] = Counter()
        """netifyd's `stats` of an interface, since the owner last cleared it."""
        self.largest = 0
        self.devices: dict[bytes, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._live)

    def packet(self, memory: Memory, start: int, captured: int, length: int, now_ms: int, vlan: int = 0) -> None:
        """Counts the frame of `length` bytes at `start`; of a malformed one only that it was there."""
        counts = self.counts
        counts["raw"] += 1
        self.largest = max(self.largest, length)
        packet = parse(memory, start, captured, length, vlan)
        if packet is None:
            counts["discarded"] += 1
            counts["discarded_bytes"] += length
            return
        protocol = packet.protocol
        counts["ip"] += 1
        counts["ip_bytes"] += length
        if protocol in _COUNTED:
            counts[_COUNTED[protocol]] += 1

        table = self._flows.get(protocol)
        if table is None:
            table = self._flows[protocol] = {}
        known = table.get(packet.key)
        if known is not None and known[0].closed and packet.tcp_flags & (SYN | ACK) == SYN:
            self._remove(known[0])
            self.evicted.append(known[0])
            known = None
        if known is None:
            macs = memory[start + 6 : start + 12], memory[start : start + 6]
            known = self._begin(packet, macs, table, now_ms), 0
        flow, direction = known
        flow.last_seen_ms = now_ms
        flow.bytes[direction] += length
        flow.packets[direction] += 1
        if packet.tcp_flags & (FIN | RST):
            flow.closed = True
            if packet.tcp_flags & RST:
                counts["tcp_resets"] += 1
        if protocol == UDP and flow.ports[direction] == _DNS_PORT:
            self._hints.learn(memory[packet.transport + 8 : packet.end])
        if flow.detection is not None or not flow.detection_packets:
            self._inspect(flow, direction, memory, packet, now_ms)

    def _begin(
        self, packet: Packet, macs: tuple[bytes, bytes], table: dict[bytes, tuple[Flow, int]], now_ms: int
    ) -> Flow:
        if len(self._live) >= MAX_FLOWS:
            for oldest in nsmallest(MAX_FLOWS // 16, self._live, key=lambda flow: flow.last_seen_ms):
                self._remove(oldest)
                self.evicted.append(oldest)
        flow = Flow(self.interface, self.internal, packet, macs, now_ms)
        forward, backward = flow.keys
        table[backward] = flow, 1
        table[forward] = flow, 0
        self._live[flow] = None
        flow.identify(self.inside, self._hints)
        if self.internal:
            for mac, address in zip(macs, flow.addresses, strict=True):
                if self.inside.kind(address) == "local" and not mac[0] & 1:
                    self.devices.setdefault(mac, set()).add(address)
        return flow

    def _inspect(self, flow: Flow, direction: int, memory: Memory, packet: Packet, now_ms: int) -> None:
        addresses, ports = flow.addresses, flow.ports
        if direction == 1:
            addresses, ports = addresses[::-1], ports[::-1]
        self._engine.load(memory, packet, addresses, ports, direction == 1, now_ms)
        if flow.detection is None:
            flow.detection = self._engine.detect()
            flow.detection_packets = 1
        else:
            flow.detection.feed()
        if flow.learn():
            self._on_found(flow)

    def remove(self, over: Callable[[Flow], str]) -> list[tuple[Flow, str]]:
        """Takes out the flows for which `over` gives a reason; they and their reasons."""
        ended = [(flow, reason) for flow in self._live if (reason := over(flow))]
        for flow, _ in ended:
            self._remove(flow)
        return ended

    def _remove(self, flow: Flow) -> None:
        table = self._flows[flow.protocol]
        for key in flow.keys:
            held = table.get(key)
            if held is not None and held[0] is flow:
                del table[key]
        del self._live[flow]
