"""Conntrack messages taken apart: every value, every layout, and bytes that are none."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpi_dual.capture.conntrack import TCP_STATES
from dpi_dual.capture.ctnetlink import Connection, Reader
from dpi_dual.capture.netlink import attribute

NESTED = 0x8000


def ends(kind: int, src: bytes, dst: bytes, protocol: int, *ports: int) -> bytes:
    kinds = (1, 2) if len(src) == 4 else (3, 4)
    ip = attribute(kinds[0], src) + attribute(kinds[1], dst)
    proto = attribute(1, bytes((protocol,)))
    for number, port in enumerate(ports, start=2):
        proto += attribute(number, struct.pack(">H", port))
    return attribute(kind | NESTED, attribute(1 | NESTED, ip) + attribute(2 | NESTED, proto))


def counts(kind: int, packets: int, octets: int) -> bytes:
    return attribute(kind | NESTED, attribute(1, struct.pack(">Q", packets)) + attribute(2, struct.pack(">Q", octets)))


A, B, C = bytes((10, 0, 0, 5)), bytes((192, 0, 2, 9)), bytes((198, 51, 100, 1))
V6A, V6B = bytes((0x20, 1, 0xD, 0xB8, *range(12))), bytes((0x20, 1, 0xD, 0xB8, *range(12, 24)))
HEAD = bytes((2, 0, 0, 0))


def tcp_nat(mark: int = 0) -> bytes:
    return (
        HEAD
        + ends(1, A, B, 6, 40000, 443)
        + ends(2, B, C, 6, 443, 50000)
        + attribute(12, struct.pack(">I", 77))
        + attribute(3, struct.pack(">I", 0x188))
        + attribute(7, struct.pack(">I", 431999))
        + counts(9, 12, 3456)
        + counts(10, 10, 98765)
        + attribute(4 | NESTED, attribute(1 | NESTED, attribute(1, b"\3") + attribute(2, b"\7")))
        + attribute(8, struct.pack(">I", mark))
    )


def read(message: bytes, reader: Reader | None = None) -> Connection | None:
    return (reader or Reader()).read(message, 0, len(message))


def test_every_value_of_a_translated_tcp_connection_is_read() -> None:
    assert read(tcp_nat(5)) == Connection(
        ip_version=4,
        protocol=6,
        src="10.0.0.5",
        sport=40000,
        dst="192.0.2.9",
        dport=443,
        reply_src="192.0.2.9",
        reply_sport=443,
        reply_dst="198.51.100.1",
        reply_dport=50000,
        orig_packets=12,
        orig_bytes=3456,
        reply_packets=10,
        reply_bytes=98765,
        id=77,
        mark=5,
        timeout_s=431999,
        tcp_state=3,
    )
    assert TCP_STATES[3] == "ESTABLISHED"


def test_without_accounting_counts_are_none_rather_than_zero() -> None:
    found = read(HEAD + ends(1, V6A, V6B, 17, 5353, 53) + ends(2, V6B, V6A, 17, 53, 5353))
    assert found is not None
    assert (found.ip_version, found.src) == (6, str(IPv6Address(V6A)))
    assert (found.orig_bytes, found.reply_packets, found.tcp_state) == (None, None, None)
    assert found.dport == 53 and found.id == 0


def test_protocols_without_ports_have_port_zero() -> None:
    found = read(HEAD + ends(1, A, B, 47) + ends(2, B, A, 47))
    assert found is not None and (found.protocol, found.sport, found.dport) == (47, 0, 0)


def test_one_reader_tells_layouts_of_one_length_apart() -> None:
    reader = Reader()
    plain = HEAD + ends(1, A, B, 17, 1, 2) + ends(2, B, A, 17, 2, 1) + attribute(7, struct.pack(">I", 30))
    marked = HEAD + ends(1, A, B, 17, 1, 2) + ends(2, B, A, 17, 2, 1) + attribute(8, struct.pack(">I", 30))
    for _ in range(3):
        first, second = read(plain, reader), read(marked, reader)
        assert first is not None and (first.timeout_s, first.mark) == (30, 0)
        assert second is not None and (second.timeout_s, second.mark) == (0, 30)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        HEAD,
        HEAD + ends(1, A, B, 6, 1, 2),
        HEAD + ends(1, A, B, 6, 1, 2) + ends(2, V6A, V6B, 6, 2, 1),
        HEAD + ends(1, A, B[:3], 6, 1, 2) + ends(2, B, A, 6, 2, 1),
        tcp_nat()[:-2],
        HEAD + struct.pack("=HH", 3, 1) + tcp_nat()[4:],
        HEAD + struct.pack("=HH", 0xFFFF, 1) + tcp_nat()[4:],
    ],
)
def test_what_is_not_a_connection_is_none(message: bytes) -> None:
    assert read(message) is None


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 220), st.integers(0, 255)), max_size=6), st.binary(max_size=300))
def test_damaged_messages_never_raise(changes: list[tuple[int, int]], garbage: bytes) -> None:
    reader = Reader()
    damaged = bytearray(tcp_nat())
    for position, value in changes:
        damaged[position % len(damaged)] = value
    for message in (tcp_nat(), bytes(damaged), garbage, tcp_nat()):
        found = read(message, reader)
        assert found is None or isinstance(found.src, str)
    assert read(tcp_nat(), reader) == read(tcp_nat())
