"""One ctnetlink message → one `Connection`, quickly: the layout of a message is worked out once, then only compared.

The kernel writes messages of one kind (IPv4 TCP, IPv6 UDP …) with the same attributes at the same places. So a
layout is a mask over the attribute headers, what they must be, and one `Struct` that picks the values; a message
that fits none of the known layouts of its length teaches a new one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from operator import itemgetter
from struct import Struct
from typing import Any, NamedTuple

from dpi_dual.capture.netlink import NLA_TYPE_MASK

# linux/netfilter/nfnetlink_conntrack.h: nested attributes, and the values in them as (field, format)
_TUPLE = {
    (1, 1): ("src", "4s"),
    (1, 2): ("dst", "4s"),
    (1, 3): ("src", "16s"),
    (1, 4): ("dst", "16s"),
    (2, 1): ("protocol", "B"),
    (2, 2): ("sport", "H"),
    (2, 3): ("dport", "H"),
}
_VALUES: dict[tuple[int, ...], tuple[str, str]] = {
    **{(1, *path): (f"orig_{field}", form) for path, (field, form) in _TUPLE.items()},
    **{(2, *path): (f"reply_{field}", form) for path, (field, form) in _TUPLE.items()},
    (4, 1, 1): ("tcp_state", "B"),
    (7,): ("timeout", "I"),
    (8,): ("mark", "I"),
    (9, 1): ("orig_packets", "Q"),
    (9, 2): ("orig_bytes", "Q"),
    (10, 1): ("reply_packets", "Q"),
    (10, 2): ("reply_bytes", "Q"),
    (12,): ("id", "I"),
}
_NESTS = frozenset(path[:depth] for path in _VALUES for depth in range(1, len(path)))
_FIELDS = (
    *("version", "orig_protocol", "orig_src", "orig_sport", "orig_dst", "orig_dport"),
    *("reply_src", "reply_sport", "reply_dst", "reply_dport"),
    *("orig_packets", "orig_bytes", "reply_packets", "reply_bytes", "id", "mark", "timeout", "tcp_state"),
)
"""In the order of `Connection`."""
_ABSENT = dict.fromkeys(("orig_packets", "orig_bytes", "reply_packets", "reply_bytes", "tcp_state"))
_ZERO = dict.fromkeys(("orig_sport", "orig_dport", "reply_sport", "reply_dport", "id", "mark", "timeout"), 0)

_HEADER = Struct("=HH")
_NFGENMSG_BYTES = 4
_MAX_MESSAGE_BYTES = 4096
_MAX_ALIKE = 8
"""Layouts of one length that are remembered."""


class Connection(NamedTuple):
    """One tracked connection. After NAT the reply's ends differ from the original's: both are given.

    Bytes are those of IP packets, headers included, Ethernet excluded; None while the kernel does not count.
    Ports are 0 for protocols without any.
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


class _Layout(NamedTuple):
    mask: int
    expected: int
    unpack: Callable[[bytes, int], tuple[Any, ...]]
    constants: tuple[int | None, ...]
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]


class _Texts(dict[bytes, str]):
    """Packed address → text; many connections share an end."""

    def __missing__(self, packed: bytes) -> str:
        text = socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
        self[packed] = text
        return text


class Reader:
    """Reads messages of one dump; holds the layouts and the addresses met so far."""

    def __init__(self) -> None:
        self._layouts: dict[int, list[_Layout]] = {}
        self._texts = _Texts()

    def read(self, data: bytes, start: int, end: int) -> Connection | None:
        """The connection in data[start:end]; None if it cannot be understood."""
        headers = int.from_bytes(data[start:end], "little")
        for layout in self._layouts.get(end - start, ()):
            if headers & layout.mask == layout.expected:
                break
        else:
            learnt = _learn(data[start:end])
            if learnt is None:
                return None
            layout = learnt
            alike = self._layouts.setdefault(end - start, [])
            alike.insert(0, layout)
            del alike[_MAX_ALIKE:]
        texts, got = self._texts, layout.pick(layout.unpack(data, start) + layout.constants)
        return Connection(
            *(got[0], got[1], texts[got[2]], got[3], texts[got[4]], got[5]),
            *(texts[got[6]], got[7], texts[got[8]], *got[9:]),
        )


def _learn(message: bytes) -> _Layout | None:
    """The layout of this message; None if lengths are impossible or an end of the connection is missing."""
    mask = bytearray(len(message))
    found: dict[str, tuple[int, str]] = {}
    if len(message) > _MAX_MESSAGE_BYTES or not _walk(message, _NFGENMSG_BYTES, len(message), (), mask, found):
        return None
    ends = {found[name][1] for name in ("orig_src", "orig_dst", "reply_src", "reply_dst") if name in found}
    if len(ends) != 1 or not {"orig_src", "orig_dst", "reply_src", "reply_dst", "orig_protocol"} <= found.keys():
        return None
    form, position = ">", 0
    ordered = sorted(found.items(), key=lambda item: item[1][0])
    for _, (offset, code) in ordered:
        form += f"{offset - position}x{code}"
        position = offset + Struct(">" + code).size
    constants: dict[str, int | None] = {**_ABSENT, **_ZERO, "version": 4 if ends == {"4s"} else 6}
    names = [*(name for name, _ in ordered), *constants]
    pick = itemgetter(*(names.index(name) for name in _FIELDS))
    bits = int.from_bytes(mask, "little")
    return _Layout(
        bits, int.from_bytes(message, "little") & bits, Struct(form).unpack_from, tuple(constants.values()), pick
    )


def _walk(
    message: bytes, start: int, end: int, path: tuple[int, ...], mask: bytearray, found: dict[str, tuple[int, str]]
) -> bool:
    """Marks every attribute header of message[start:end] in `mask` and notes where the values are."""
    while start + 4 <= end:
        length, kind = _HEADER.unpack_from(message, start)
        stop = start + length
        if length < 4 or stop > end:
            return False
        mask[start : start + 4] = b"\xff" * 4
        here = (*path, kind & NLA_TYPE_MASK)
        if here in _NESTS:
            if not _walk(message, start + 4, stop, here, mask, found):
                return False
        elif here in _VALUES:
            name, code = _VALUES[here]
            if length == 4 + Struct(">" + code).size and name not in found:
                found[name] = (start + 4, code)
        start += (length + 3) & ~3
    return True
