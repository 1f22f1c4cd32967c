"""Frames taken apart: where the transport begins, whose ports count, and what is refused."""

from __future__ import annotations

import struct

import pytest

from lab.netifyd.packets import TCP, UDP, parse

MACS = bytes(12)
A4, B4 = bytes((192, 168, 1, 100)), bytes((198, 51, 100, 10))
A6, B6 = bytes(15) + b"\1", bytes(15) + b"\2"
PORTS = struct.pack(">HH", 1234, 80)
UDP_HEADER = PORTS + struct.pack(">HH", 8, 0)
TCP_HEADER = PORTS + bytes(8) + b"\x50\x12" + bytes(6)


def ipv4(protocol: int, rest: bytes, options: bytes = b"", fragment: int = 0x4000, total: int | None = None) -> bytes:
    size = 20 + len(options)
    total = size + len(rest) if total is None else total
    header = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, total, 1, fragment, 64, protocol, 0)
    return MACS + b"\x08\x00" + header + A4 + B4 + options + rest


def ipv6(protocol: int, rest: bytes) -> bytes:
    return MACS + b"\x86\xdd" + struct.pack(">IHBB", 0x60000000, len(rest), protocol, 64) + A6 + B6 + rest


@pytest.mark.parametrize(
    ("frame", "key", "transport"),
    [
        (ipv4(UDP, UDP_HEADER), A4 + B4 + PORTS, 34),
        (ipv4(UDP, UDP_HEADER, options=bytes(8)), A4 + B4 + PORTS, 42),
        (ipv6(UDP, UDP_HEADER), A6 + B6 + PORTS, 54),
        (ipv6(0, bytes((UDP, 0)) + bytes(6) + UDP_HEADER), A6 + B6 + PORTS, 62),
        (ipv6(60, bytes((43, 1)) + bytes(14) + bytes((UDP, 0)) + bytes(6) + UDP_HEADER), A6 + B6 + PORTS, 78),
        (MACS + b"\x81\x00\x00\x07" + ipv4(UDP, UDP_HEADER)[12:], A4 + B4 + PORTS, 38),
    ],
    ids=["IPv4", "IPv4 options", "IPv6", "hop-by-hop", "two extensions", "VLAN"],
)
def test_both_addresses_and_ports_make_the_key(frame: bytes, key: bytes, transport: int) -> None:
    packet = parse(b"ring" + frame, 4, len(frame), len(frame))
    assert packet is not None and packet.has_ports
    assert (packet.key, packet.transport, packet.protocol) == (key, 4 + transport, UDP)
    assert packet.vlan == (7 if frame[12:14] == b"\x81\x00" else 0)


@pytest.mark.parametrize(
    "frame",
    [
        ipv4(UDP, UDP_HEADER, fragment=0x2000),
        ipv4(UDP, UDP_HEADER, fragment=0x0010),
        ipv6(44, bytes((UDP, 0)) + bytes(6) + UDP_HEADER),
        ipv4(1, bytes(8)),
        ipv4(UDP, bytes(4)),
    ],
    ids=["first fragment", "later fragment", "IPv6 fragment", "ICMP", "cut short"],
)
def test_without_ports_the_addresses_are_the_key(frame: bytes) -> None:
    packet = parse(frame, 0, len(frame), len(frame))
    assert packet is not None and not packet.has_ports
    assert packet.key in (A4 + B4, A6 + B6)


def test_tcp_flags_and_header_length() -> None:
    frame = ipv4(TCP, TCP_HEADER + b"payload")
    packet = parse(frame, 0, len(frame), len(frame))
    assert packet is not None
    assert (packet.tcp_flags, packet.tcp_header_bytes, packet.ip_bytes) == (0x12, 20, len(frame) - 14)


def test_a_frame_longer_than_what_was_captured_counts_whole() -> None:
    frame = ipv4(TCP, TCP_HEADER, total=9000)
    packet = parse(frame, 0, len(frame), 9014)
    assert packet is not None
    assert (packet.frame_bytes, packet.ip_bytes, packet.end) == (9014, 9000, len(frame))


@pytest.mark.parametrize(
    "frame",
    [
        MACS + b"\x08\x06" + bytes(28),
        MACS,
        ipv4(UDP, UDP_HEADER)[:30],
        ipv4(UDP, UDP_HEADER, total=19),
        ipv4(UDP, UDP_HEADER, total=5000),
        ipv4(UDP, UDP_HEADER).replace(b"\x45\0\0\x1c", b"\x44\0\0\x1c"),
        ipv4(UDP, UDP_HEADER).replace(b"\x45\0\0\x1c", b"\x65\0\0\x1c"),
        ipv6(0, b"\x11\xff" + bytes(6)),
        ipv6(0, b"\x11"),
    ],
    ids=[
        "ARP",
        "no type",
        "short",
        "total too small",
        "total too big",
        "header",
        "version",
        "extension",
        "no extension",
    ],
)
def test_what_contradicts_itself_is_refused(frame: bytes) -> None:
    assert parse(frame + bytes(64), 0, len(frame), len(frame)) is None
