"""Fuzz targets: what DPI agents and the kernel say."""

from __future__ import annotations

import json
import struct

from dpi_dual.capture.ctnetlink import Reader
from dpi_dual.capture.flow_rows import row
from dpi_dual.capture.framing import Framing, FramingError
from dpi_dual.capture.netlink import attribute
from dpi_dual.export import eve
from dpi_dual.lan.neighbours import _parsed
from tests.capture.streams import FIXTURES, Desk, bare, digits, framed
from tests.capture.test_ctnetlink import HEAD, V6A, V6B, A, B, ends, tcp_nat

MESSAGES = {path.stem: path.read_bytes() for path in sorted(FIXTURES.glob("*.jsonl"))}
NETIFYD = tuple(text for name, text in MESSAGES.items() if name.startswith("netifyd"))
NDPID = (MESSAGES["ndpid-1.7"],)
_FEW = [json.loads(line) for line in NETIFYD[0].splitlines()[:4]]
STREAMS = tuple(b"".join(map(frame, _FEW)) for frame in (framed, bare, digits))


def _cut(data: bytes) -> list[bytes]:
    """The payloads, or all up to the error."""
    framing, found = Framing(), list[bytes]()
    size = 1 + len(data) % 61
    try:
        for start in range(0, len(data), size):
            found += framing.feed(data[start : start + size])
    except FramingError:
        found.append(b"error")
    return found


def framing(data: bytes) -> None:
    whole, found = Framing(), list[bytes]()
    try:
        found += whole.feed(data)
    except FramingError:
        return  # how much is found before the error depends on the pieces
    assert _cut(data) == found
    _told([data])


def _told(pieces: list[bytes]) -> None:
    """An agent's client with its tables: whatever it was told, all that it shows is bounded and JSON."""
    desk = Desk(max_flows=50)
    try:
        desk.feed(pieces)
    except FramingError:
        pass  # its connection ends
    json.dumps([desk.client.status(), desk.client.counters()])
    assert all(len(problem.message) < 1000 for problem in desk.client.problems())
    for table in desk.tables.values():
        assert table.live_count <= 50
        for flow in table.all():
            json.dumps(row(flow))
            eve.flow_event(flow, "router")
        table.expire()


def netifyd(data: bytes) -> None:
    _told([b'{"length": %d}\n%s' % (len(line), line) for line in data.split(b"\n")[:64]])


def ndpid(data: bytes) -> None:
    _told([b"%05d%s" % (len(line), line) for line in data.split(b"\n")[:64] if len(line) < 40_000])


# --- netlink

CONNTRACK = (tcp_nat(), HEAD + ends(1, A, B, 6, 1, 2) + ends(2, V6A, V6B, 6, 2, 1))
NEIGHBOURS = tuple(
    struct.pack("=BxHiHBB", family, 0, 1, state, 0, 1) + attribute(1, address) + attribute(2, b"\2abcde")
    for family, state, address in ((2, 2, A), (10, 4, V6A))
)


def conntrack(data: bytes) -> None:
    reader = Reader()
    for message in (CONNTRACK[0], data, CONNTRACK[0]):
        found = reader.read(message, 0, len(message))
        assert found is None or isinstance(found.src, str)
    assert found is not None


def neighbour(data: bytes) -> None:
    for found in _parsed([(28, data)], {1: "br-lan"}):
        assert found.mac and found.ip
