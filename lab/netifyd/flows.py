"""From packets to flows: five-tuples, directions, byte counts, and when a flow is over.

Bytes are those of Ethernet frames without the FCS, each packet counted once. Fragments after the first carry no
ports, so a fragmented datagram's later parts make a flow of their own; packets that are no IP are counted apart.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha1
from heapq import nsmallest
from ipaddress import ip_address

from lab.netifyd.addresses import Inside
from lab.netifyd.hints import DnsHints
from lab.netifyd.ndpi import Detection, Engine, Finding

_TCP, _UDP, _ICMP, _ICMP6 = 6, 17, 1, 58
_FIN_OR_RST, _SYN, _ACK = 0x05, 0x02, 0x10
_ETHERNET = 14
#: IPv6 headers between the fixed one and the transport's: hop-by-hop, routing, fragment, destination (RFC 8200).
_EXTENSIONS = (0, 43, 44, 60)

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

    def __init__(
        self,
        interface: str,
        internal: bool,
        version: int,
        protocol: int,
        addresses: tuple[bytes, bytes],
        ports: tuple[int, int],
        macs: tuple[bytes, bytes],
        vlan: int,
        now_ms: int,
        keys: tuple[bytes, bytes],
    ) -> None:
        self.interface, self.internal = interface, internal
        self.version, self.protocol, self.vlan = version, protocol, vlan
        self.addresses, self.ports, self.macs = addresses, ports, macs
        self.keys = keys
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

    def packet(
        self, memory: mmap.mmap | bytes, start: int, captured: int, length: int, now_ms: int, vlan: int = 0
    ) -> None:
        """Counts the frame of `length` bytes at `start`; of a malformed one only that it was there."""
        counts = self.counts
        counts["raw"] += 1
        self.largest = max(self.largest, length)
        ip = start + _ETHERNET
        end = start + captured
        ether_type = memory[start + 12 : ip]
        if ether_type == b"\x81\x00" and captured >= _ETHERNET + 4:
            vlan = int.from_bytes(memory[ip : ip + 2]) & 0x0FFF
            ip += 4
            ether_type = memory[ip - 2 : ip]
        if ether_type == b"\x08\x00" and end - ip >= 20:
            header = (memory[ip] & 15) * 4
            version, protocol, transport = 4, memory[ip + 9], ip + header
            first = ip + 12
            ip_bytes = int.from_bytes(memory[ip + 2 : ip + 4])
            fragment = memory[ip + 6 : ip + 8]
            whole = fragment in (b"\0\0", b"\x40\0")
            valid = memory[ip] >> 4 == 4 and 20 <= header <= ip_bytes <= length - (ip - start) and transport <= end
            addresses_end = ip + 20
        elif ether_type == b"\x86\xdd" and end - ip >= 40:
            version, protocol, transport = 6, memory[ip + 6], ip + 40
            first = ip + 8
            ip_bytes = 40 + int.from_bytes(memory[ip + 4 : ip + 6])
            valid = memory[ip] >> 4 == 6 and ip_bytes <= length - (ip - start)
            addresses_end = transport
            whole = True
            if protocol in _EXTENSIONS:
                protocol, transport, whole, intact = _past_extensions(memory, protocol, transport, end)
                valid = valid and intact
        else:
            valid = False
        if not valid:
            counts["discarded"] += 1
            counts["discarded_bytes"] += length
            return
        counts["ip"] += 1
        counts["ip_bytes"] += length

        ported = whole and protocol in (_TCP, _UDP) and end - transport >= 8
        if ported and transport == addresses_end:
            key = memory[first : transport + 4]  # addresses and ports lie side by side
        elif ported:
            key = memory[first:addresses_end] + memory[transport : transport + 4]
        else:
            key = memory[first:addresses_end]
        flags = tcp_header = 0
        if protocol == _TCP:
            counts["tcp"] += 1
            if ported and end - transport >= 20:
                flags, tcp_header = memory[transport + 13], (memory[transport + 12] >> 4) * 4
        elif protocol == _UDP:
            counts["udp"] += 1
        elif protocol in (_ICMP, _ICMP6):
            counts["icmp"] += 1

        table = self._flows.get(protocol)
        if table is None:
            table = self._flows[protocol] = {}
        known = table.get(key)
        if known is not None and known[0].closed and flags & (_SYN | _ACK) == _SYN:
            self._remove(known[0])
            self.evicted.append(known[0])
            known = None
        if known is None:
            known = self._begin(memory, start, key, table, version, protocol, ported, vlan, now_ms), 0
        flow, direction = known
        flow.last_seen_ms = now_ms
        flow.bytes[direction] += length
        flow.packets[direction] += 1
        if flags & _FIN_OR_RST:
            flow.closed = True
            counts["tcp_resets"] += flags >> 2 & 1
        if protocol == _UDP and ported and flow.ports[1 - direction] != 53 and flow.ports[direction] == 53:
            self._hints.learn(memory[transport + 8 : end])
        if flow.detection is None and flow.detection_packets:
            return
        self._inspect(memory, flow, direction, ip, end, length, ip_bytes, transport, flags, tcp_header, now_ms)

    def _begin(
        self,
        memory: mmap.mmap | bytes,
        start: int,
        key: bytes,
        table: dict[bytes, tuple[Flow, int]],
        version: int,
        protocol: int,
        ported: bool,
        vlan: int,
        now_ms: int,
    ) -> Flow:
        if len(self._live) >= MAX_FLOWS:
            for oldest in nsmallest(MAX_FLOWS // 16, self._live, key=lambda flow: flow.last_seen_ms):
                self._remove(oldest)
                self.evicted.append(oldest)
        size = 4 if version == 4 else 16
        source, destination = key[:size], key[size : 2 * size]
        tail = key[2 * size :]
        ports = (int.from_bytes(tail[:2]), int.from_bytes(tail[2:])) if ported else (0, 0)
        backward = destination + source + tail[2:] + tail[:2]
        macs = memory[start + 6 : start + 12], memory[start : start + 6]
        flow = Flow(
            self.interface,
            self.internal,
            version,
            protocol,
            (source, destination),
            ports,
            macs,
            vlan,
            now_ms,
            (key, backward),
        )
        table[backward] = flow, 1
        table[key] = flow, 0
        self._live[flow] = None
        flow.identify(self.inside, self._hints)
        if self.internal:
            for mac, address in zip(macs, (source, destination), strict=True):
                if self.inside.kind(address) == "local" and not mac[0] & 1:
                    self.devices.setdefault(mac, set()).add(address)
        return flow

    def _inspect(
        self,
        memory: mmap.mmap | bytes,
        flow: Flow,
        direction: int,
        ip: int,
        end: int,
        length: int,
        ip_bytes: int,
        transport: int,
        flags: int,
        tcp_header: int,
        now_ms: int,
    ) -> None:
        here, there = (0, 1) if direction == 0 else (1, 0)
        self._engine.load(
            memory,
            ip,
            end - ip,
            time_ms=now_ms,
            frame_bytes=length,
            ip_bytes=ip_bytes,
            transport_start=transport,
            protocol=flow.protocol,
            version=flow.version,
            vlan=flow.vlan,
            source=flow.addresses[here],
            destination=flow.addresses[there],
            ports=(flow.ports[here], flow.ports[there]),
            tcp_flags=flags,
            tcp_header=tcp_header,
            backward=bool(direction),
        )
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


def _past_extensions(memory: mmap.mmap | bytes, protocol: int, position: int, end: int) -> tuple[int, int, bool, bool]:
    """(transport protocol, where it begins, not a fragment, intact) after IPv6 extension headers."""
    whole = True
    while protocol in _EXTENSIONS:
        if end - position < 8:
            return protocol, position, whole, False
        if protocol == 44:
            whole = whole and memory[position + 2 : position + 4] in (b"\0\0",)
            size = 8
        else:
            size = 8 + memory[position + 1] * 8
        protocol, position = memory[position], position + size
    return protocol, position, whole, position <= end
