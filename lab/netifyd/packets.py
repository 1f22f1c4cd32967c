"""One Ethernet frame, taken apart as far as flows need it: IPv4, IPv6 and its extension headers, ports, TCP flags."""

from __future__ import annotations

import mmap
from typing import NamedTuple

Memory = mmap.mmap | bytes

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

_ETHERNET = 14
_VLAN = 4
#: IPv6 headers between the fixed one and the transport's: hop-by-hop, routing, fragment, destination (RFC 8200).
_FRAGMENT = 44
_EXTENSIONS = (0, 43, _FRAGMENT, 60)


class Packet(NamedTuple):
    """Where things are in the memory that holds the frame, and what they say. Offsets are the memory's."""

    frame_bytes: int
    """Length of the frame on the wire, which may be more than was captured."""
    vlan: int
    version: int
    protocol: int
    ip: int
    ip_bytes: int
    transport: int
    end: int
    """Where the captured part ends."""
    key: bytes
    """Source and destination address, then the ports if there are any: the same for each packet of one direction."""
    has_ports: bool
    """TCP or UDP, and not a fragment, whose ports only its first part would tell."""
    tcp_flags: int
    tcp_header_bytes: int


def parse(memory: Memory, start: int, captured: int, length: int, vlan: int = 0) -> Packet | None:
    """The frame of `length` bytes at `start`; None when it is no IP or contradicts itself."""
    ip, end = start + _ETHERNET, start + captured
    ether_type = memory[start + 12 : ip]
    if ether_type == b"\x81\x00" and captured >= _ETHERNET + _VLAN:
        vlan = int.from_bytes(memory[ip : ip + 2]) & 0x0FFF
        ip += _VLAN
        ether_type = memory[ip - 2 : ip]
    if ether_type == b"\x08\x00" and end - ip >= 20:
        header = (memory[ip] & 15) * 4
        version, protocol, transport = 4, memory[ip + 9], ip + header
        ip_bytes = int.from_bytes(memory[ip + 2 : ip + 4])
        addresses, addresses_end = ip + 12, ip + 20
        whole = memory[ip + 6 : ip + 8] in (b"\x40\0", b"\0\0")  # with or without "don't fragment"
        intact = 20 <= header <= ip_bytes and transport <= end
    elif ether_type == b"\x86\xdd" and end - ip >= 40:
        version, protocol, transport = 6, memory[ip + 6], ip + 40
        ip_bytes = 40 + int.from_bytes(memory[ip + 4 : ip + 6])
        addresses, addresses_end = ip + 8, transport
        whole = intact = True
        if protocol in _EXTENSIONS:
            protocol, transport, whole, intact = _past_extensions(memory, protocol, transport, end)
    else:
        return None
    if not intact or memory[ip] >> 4 != version or ip_bytes > length - (ip - start):
        return None

    has_ports = whole and protocol in (TCP, UDP) and end - transport >= 8
    if not has_ports:
        key = memory[addresses:addresses_end]
    elif transport == addresses_end:
        key = memory[addresses : transport + 4]
    else:
        key = memory[addresses:addresses_end] + memory[transport : transport + 4]
    flags = tcp_header_bytes = 0
    if protocol == TCP and has_ports and end - transport >= 20:
        flags, tcp_header_bytes = memory[transport + 13], (memory[transport + 12] >> 4) * 4
    return Packet(
        length, vlan, version, protocol, ip, ip_bytes, transport, end, key, has_ports, flags, tcp_header_bytes
    )


def _past_extensions(memory: Memory, protocol: int, position: int, end: int) -> tuple[int, int, bool, bool]:
    """(transport protocol, where it begins, not a fragment, intact) after IPv6 extension headers."""
    whole = True
    while protocol in _EXTENSIONS:
        if end - position < 8:
            return protocol, position, whole, False
        size = 8 + memory[position + 1] * 8
        if protocol == _FRAGMENT:
            whole, size = False, 8
        protocol, position = memory[position], position + size
    return protocol, position, whole, position <= end
