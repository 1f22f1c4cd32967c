"""The kernel's connection table over ctnetlink: who talks to whom, and how many bytes each way when it counts them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from dpi_dual.capture.netlink import NETLINK_NETFILTER, DumpInterruptedError, Netlink, attributes
from dpi_dual.model import Problem

# linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
_CTNETLINK = 1 << 8
_CT_NEW, _CT_GET = _CTNETLINK | 0, _CTNETLINK | 1
_NFGENMSG = Struct("=BBH")
_TUPLE_ORIG, _TUPLE_REPLY, _PROTOINFO, _TIMEOUT, _MARK = 1, 2, 4, 7, 8
_COUNTERS_ORIG, _COUNTERS_REPLY, _ID = 9, 10, 12
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IP_V4_SRC, _IP_V4_DST, _IP_V6_SRC, _IP_V6_DST = 1, 2, 3, 4
_PROTO_NUM, _PROTO_SRC_PORT, _PROTO_DST_PORT = 1, 2, 3
_PROTOINFO_TCP, _PROTOINFO_TCP_STATE = 1, 1
_COUNTERS_PACKETS, _COUNTERS_BYTES = 1, 2

_HEADER = Struct("=HH")
_BE32 = Struct(">I")
_BE64 = Struct(">Q")
_PORT = Struct(">H")

# A tuple with ports has one layout: nest, address, address, nest, protocol number, port, port. Its headers are
# compared in one go (the mask leaves out values and padding), then only the values are read.
_HEAD_V4 = ((20, 0x8001), (8, 1), 4, (8, 2), 4)
_HEAD_V6 = ((44, 0x8001), (20, 3), 16, (20, 4), 16)
_TAIL = ((28, 0x8002), (5, 1), 4, (6, 2), 4, (6, 3), 4)
_V4 = Struct(">8x4s4x4s8xB7xH6xH2x")
_V6 = Struct(">8x16s4x16s8xB7xH6xH2x")


def _template(layout: tuple[tuple[int, int] | int, ...]) -> tuple[int, int]:
    """(mask, expected) of a layout: headers as (length, type), values as their length."""
    pieces = [(b"\xff" * 4, _HEADER.pack(*part)) if isinstance(part, tuple) else (bytes(part),) * 2 for part in layout]
    mask, expected = (b"".join(column) for column in zip(*pieces, strict=True))
    return int.from_bytes(mask, "little"), int.from_bytes(expected, "little")


_MASK_V4, _EXPECTED_V4 = _template((*_HEAD_V4, *_TAIL))
_MASK_V6, _EXPECTED_V6 = _template((*_HEAD_V6, *_TAIL))
_COUNTERS = Struct(">4xQ4xQ")
_COUNTERS_HEADERS = _template(((12, 1), 8, (12, 2), 8))

_ACCOUNTING = Path("/proc/sys/net/netfilter/nf_conntrack_acct")

TCP_STATES = (
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
)
"""Names of `Connection.tcp_state`, linux/netfilter/nf_conntrack_tcp.h."""


class Connection(NamedTuple):
    """One tracked connection. After NAT the reply's ends differ from the original's: both are given.

    Bytes are those of IP packets, headers included, Ethernet excluded; None while the kernel does not count.
    """

    ip_version: int
    protocol: int
    src: str
    sport: int
    dst: str
    dport: int
    reply_src: str
    reply_sport: int
    reply_dst: str
    reply_dport: int
    orig_packets: int | None
    orig_bytes: int | None
    reply_packets: int | None
    reply_bytes: int | None
    id: int
    """The kernel's own, and again for another connection later: identity only together with the ends."""
    mark: int
    timeout_s: int
    tcp_state: int | None


class Table(NamedTuple):
    """What one dump brought."""

    connections: list[Connection]
    left_out: int
    """Connections beyond the limit: counted, not kept."""
    malformed: int
    """Messages that could not be understood."""
    interrupted: bool
    """The table changed during the dump, so a few entries may be missing or double."""


def dump(limit: int = 65536, timeout_s: float = 5.0) -> Table:
    """All IPv4 and IPv6 connections, at most `limit` of them; OSError where the kernel refuses or has no conntrack."""
    found: list[Connection] = []
    left_out = malformed = 0
    interrupted = False
    texts: dict[bytes, str] = {}
    with Netlink(NETLINK_NETFILTER, timeout_s) as netlink:
        # AF_UNSPEC: both families; AF_INET would leave IPv6 out.
        try:
            for data, message, start, end in netlink.stream(_CT_GET, _NFGENMSG.pack(socket.AF_UNSPEC, 0, 0)):
                if message != _CT_NEW:
                    continue
                if len(found) >= limit:
                    left_out += 1
                    continue
                connection = _connection(data, start, end, texts)
                if connection is None:
                    malformed += 1
                else:
                    found.append(connection)
        except DumpInterruptedError:
            interrupted = True
    return Table(found, left_out, malformed, interrupted)


def parse(body: bytes) -> Connection | None:
    """One IPCTNL_MSG_CT_NEW message; None if it is not one of a connection that we could understand."""
    return _connection(body, 0, len(body), {})


def _connection(data: bytes, start: int, end: int, texts: dict[bytes, str]) -> Connection | None:
    orig = reply = None
    orig_counts: tuple[int | None, int | None] = (None, None)
    reply_counts: tuple[int | None, int | None] = (None, None)
    number = mark = timeout = 0
    state = None
    header, be32 = _HEADER.unpack_from, _BE32.unpack_from
    offset = start + 4
    while offset + 4 <= end:
        length, kind = header(data, offset)
        stop = offset + length
        if length < 4 or stop > end:
            return None
        kind &= 0x3FFF
        if length == 8:
            if kind == _TIMEOUT:
                timeout = be32(data, offset + 4)[0]
            elif kind == _ID:
                number = be32(data, offset + 4)[0]
            elif kind == _MARK:
                mark = be32(data, offset + 4)[0]
        elif kind == _TUPLE_ORIG:
            orig = _tuple(data, offset + 4, stop, texts)
        elif kind == _TUPLE_REPLY:
            reply = _tuple(data, offset + 4, stop, texts)
        elif kind == _COUNTERS_ORIG:
            orig_counts = _counters(data, offset + 4, stop)
        elif kind == _COUNTERS_REPLY:
            reply_counts = _counters(data, offset + 4, stop)
        elif kind == _PROTOINFO:
            state = _tcp_state(data, offset + 4, stop)
        offset += (length + 3) & ~3
    if orig is None or reply is None or orig[0] != reply[0]:
        return None
    return Connection(*orig, *reply[2:], *orig_counts, *reply_counts, number, mark, timeout, state)


_Tuple = tuple[int, int, str, int, str, int]


def _tuple(data: bytes, start: int, stop: int, texts: dict[bytes, str]) -> _Tuple | None:
    """(IP version, protocol, source, port, destination, port) of a CTA_TUPLE_*; port 0 where there are none."""
    headers = int.from_bytes(data[start:stop], "little")
    if stop - start == _V4.size and headers & _MASK_V4 == _EXPECTED_V4:
        src, dst, protocol, sport, dport = _V4.unpack_from(data, start)
        version, family = 4, socket.AF_INET
    elif stop - start == _V6.size and headers & _MASK_V6 == _EXPECTED_V6:
        src, dst, protocol, sport, dport = _V6.unpack_from(data, start)
        version, family = 6, socket.AF_INET6
    else:
        return _any_tuple(data, start, stop, texts)
    source, destination = texts.get(src), texts.get(dst)
    if source is None:
        source = texts[src] = socket.inet_ntop(family, src)
    if destination is None:
        destination = texts[dst] = socket.inet_ntop(family, dst)
    return version, protocol, source, sport, destination, dport


def _text(family: int, packed: bytes, texts: dict[bytes, str]) -> str:
    found = texts.get(packed)
    if found is None:
        found = texts[packed] = socket.inet_ntop(family, packed)
    return found


def _any_tuple(data: bytes, start: int, stop: int, texts: dict[bytes, str]) -> _Tuple | None:
    """The same for any other layout: ICMP, GRE, protocols without ports."""
    parts = dict(attributes(data, start, stop))
    ip, proto = dict(attributes(parts.get(_TUPLE_IP, b""))), dict(attributes(parts.get(_TUPLE_PROTO, b"")))
    number = proto.get(_PROTO_NUM, b"")
    if not number:
        return None
    ports = [_PORT.unpack_from(proto[kind])[0] if len(proto.get(kind, b"")) >= 2 else 0 for kind in (2, 3)]
    for version, family, size, kinds in (
        (4, socket.AF_INET, 4, (_IP_V4_SRC, _IP_V4_DST)),
        (6, socket.AF_INET6, 16, (_IP_V6_SRC, _IP_V6_DST)),
    ):
        src, dst = (ip.get(kind, b"") for kind in kinds)
        if len(src) == len(dst) == size:
            return version, number[0], _text(family, src, texts), ports[0], _text(family, dst, texts), ports[1]
    return None


def _counters(data: bytes, start: int, stop: int) -> tuple[int | None, int | None]:
    """(packets, bytes) of a CTA_COUNTERS_*."""
    mask, expected = _COUNTERS_HEADERS
    if stop - start == _COUNTERS.size and int.from_bytes(data[start:stop], "little") & mask == expected:
        return _COUNTERS.unpack_from(data, start)
    parts = dict(attributes(data, start, stop))
    counts = [parts.get(kind, b"") for kind in (_COUNTERS_PACKETS, _COUNTERS_BYTES)]
    if all(len(count) >= 8 for count in counts):
        return _BE64.unpack_from(counts[0])[0], _BE64.unpack_from(counts[1])[0]
    return None, None


def _tcp_state(data: bytes, start: int, stop: int) -> int | None:
    tcp = dict(attributes(data, start, stop)).get(_PROTOINFO_TCP, b"")
    state = dict(attributes(tcp)).get(_PROTOINFO_TCP_STATE, b"")
    return state[0] if state else None


def accounting_enabled(file: Path = _ACCOUNTING) -> bool | None:
    """Does the kernel count bytes of connections? None where it has no connection tracking."""
    try:
        return file.read_text().strip() == "1"
    except FileNotFoundError:
        return None


def enable_accounting(file: Path = _ACCOUNTING) -> Problem | None:
    """Has the kernel count bytes from now on, for connections that begin after this; what to tell the owner about it.

    None if it counted already. The setting is the network namespace's, and gone after a boot.
    """
    enabled = accounting_enabled(file)
    if enabled:
        return None
    if enabled is None:
        return Problem(
            "conntrack_missing",
            "this kernel tracks no connections: rates and the fallback without a DPI agent have no figures",
            "install kmod-nf-conntrack-netlink; it comes with the firewall",
        )
    try:
        file.write_text("1")
    except OSError as error:
        return Problem(
            "conntrack_accounting_off",
            f"the kernel does not count the bytes of connections, and switching it on failed: {error}",
            "as root: sysctl -w net.netfilter.nf_conntrack_acct=1",
        )
    return Problem(
        "conntrack_accounting_enabled",
        "counting the bytes of connections was off and has been switched on (net.netfilter.nf_conntrack_acct=1);"
        " connections from before stay uncounted",
        "to have it from boot on, put net.netfilter.nf_conntrack_acct=1 into /etc/sysctl.conf",
        "info",
    )


Dump = Callable[[], Table]
"""What `dump` is to whoever is handed it."""
