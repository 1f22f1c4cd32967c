"""Small netlink requests and dumps over a plain socket: a bounded buffer, checked lengths, errors as OSError.

The engine asks the kernel a few things every few seconds (neighbours, conntrack, the state of the mirror).
This does that with the standard library; pyroute2, larger and slower, is for the short-lived process that
changes things. Formats: RFC 3549 and linux/netlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from struct import Struct
from types import TracebackType

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_ACK_TLVS = 0x200

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLMSG_OVERRUN = 4

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NLMSGERR_ATTR_MSG = 1

NLA_TYPE_MASK = 0x3FFF
"""An attribute's type without the flags for nested and for network byte order."""
NLA_F_NESTED = 0x8000

_HEADER = Struct("=IHHII")
_ATTRIBUTE = Struct("=HH")
_ERROR = Struct("=i")
_BUFFER_BYTES = 65536
"""The kernel fills at most 32 KiB of one datagram of a dump (netlink_dump), single answers are smaller."""
_DUMP_ATTEMPTS = 4


class DumpInterruptedError(OSError):
    """The table changed while the kernel listed it, so entries may be missing or double: ask again."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, "the kernel's table changed during the dump")


class Netlink:
    """One netlink socket for requests; not for several threads at once. A context manager."""

    def __init__(self, protocol: int = NETLINK_ROUTE, timeout_s: float = 3.0) -> None:
        self._timeout_s = timeout_s
        self._sequence = int(time.monotonic() * 1000) & 0x7FFFFFFF
        self._buffer = bytearray(_BUFFER_BYTES)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
                try:
                    self._socket.setsockopt(_SOL_NETLINK, option, 1)
                except OSError as error:  # a kernel before 4.12 says errors by number only
                    if error.errno != errno.ENOPROTOOPT:
                        raise
            self._socket.bind((0, 0))
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Closes the socket; safe to call twice."""
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def request(self, kind: int, body: bytes, flags: int = 0) -> list[tuple[int, bytes]]:
        """Sends one request and returns its answers as (type, body); raises the kernel's error as OSError."""
        sequence = self._send(kind, body, flags | NLM_F_REQUEST | NLM_F_ACK)
        return [(kind, data[start:end]) for data, kind, start, end in self._answers(sequence, dump=False)]

    def batch(self, messages: list[tuple[int, int, bytes]]) -> list[OSError | None]:
        """Sends several requests (type, flags, body) as one; the kernel's word on each: None or its error.

        The kernel works through one datagram without returning to us: either all of it happens or none,
        whatever becomes of this process.
        """
        data, sequences = b"", []
        for kind, flags, body in messages:
            self._sequence = (self._sequence + 1) & 0x7FFFFFFF
            sequences.append(self._sequence)
            wanted = flags | NLM_F_REQUEST | NLM_F_ACK
            data += _HEADER.pack(_HEADER.size + len(body), kind, wanted, self._sequence, 0) + body
            data += bytes(-len(body) % 4)
        self._socket.settimeout(self._timeout_s)
        self._socket.sendto(data, (0, 0))
        answers: list[OSError | None] = []
        for sequence in sequences:
            try:
                for _ in self._answers(sequence, dump=False):
                    pass
            except TimeoutError:
                raise
            except OSError as error:
                answers.append(error)
            else:
                answers.append(None)
        return answers

    def dump(self, kind: int, body: bytes) -> list[tuple[int, bytes]]:
        """Lists a table as (type, body); asks again, a few times, when the table changes meanwhile."""
        for attempt in range(_DUMP_ATTEMPTS):
            try:
                return [(kind, data[start:end]) for data, kind, start, end in self.stream(kind, body)]
            except DumpInterruptedError:
                if attempt + 1 == _DUMP_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def stream(self, kind: int, body: bytes) -> Iterator[tuple[bytes, int, int, int]]:
        """Lists a large table without holding it: (datagram, type, start, end), the message's body being [start:end].

        Raises `DumpInterruptedError` at the end when the table changed in a way that makes the list inconsistent.
        """
        return self._answers(self._send(kind, body, NLM_F_REQUEST | NLM_F_DUMP), dump=True)

    def _send(self, kind: int, body: bytes, flags: int) -> int:
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0)
        self._socket.settimeout(self._timeout_s)
        self._socket.sendto(header + body, (0, 0))
        return self._sequence

    def _receive(self, deadline: float) -> bytes:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "the kernel did not answer a netlink request in time")
            self._socket.settimeout(left)
            try:
                size, _, flags, sender = self._socket.recvmsg_into([self._buffer])
            except TimeoutError:
                continue
            if sender[0] != 0:  # only the kernel is port 0: whatever another process sent here is not an answer
                continue
            if flags & socket.MSG_TRUNC:
                raise OSError(errno.EMSGSIZE, "a netlink message is larger than any expected")
            return bytes(memoryview(self._buffer)[:size])

    def _answers(self, wanted: int, dump: bool) -> Iterator[tuple[bytes, int, int, int]]:
        interrupted = False
        deadline = time.monotonic() + self._timeout_s
        unpack = _HEADER.unpack_from
        while True:
            data = self._receive(deadline)
            offset, size = 0, len(data)
            while offset + 16 <= size:
                length, kind, flags, sequence, _ = unpack(data, offset)
                start, end = offset + 16, offset + length
                if length < 16 or end > size:
                    raise OSError(errno.EBADMSG, "a netlink message with an impossible length")
                offset += (length + 3) & ~3
                if sequence != wanted:  # the rest of a dump that was given up
                    continue
                if flags & NLM_F_DUMP_INTR:
                    interrupted = True
                if kind == _NLMSG_ERROR:
                    _raise_error(data, start, end, flags)
                    if not dump:
                        return
                elif kind == _NLMSG_DONE:
                    if end - start >= 4:  # a dump that failed half-way says so in its last message
                        _raise_error(data, start, end, 0)
                    if interrupted:
                        raise DumpInterruptedError
                    return
                elif kind == _NLMSG_OVERRUN:
                    raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
                else:
                    yield data, kind, start, end


def _raise_error(data: bytes, start: int, end: int, flags: int) -> None:
    """Raises the OSError that an acknowledgement carries, with the kernel's own words when it has some."""
    if end - start < 4:
        raise OSError(errno.EBADMSG, "a netlink error message without a number")
    code = _ERROR.unpack_from(data, start)[0]
    if code >= 0:
        return
    words = os.strerror(-code)
    if flags & NLM_F_ACK_TLVS:  # capped: after the number comes only the header of our request
        said = dict(attributes(data, start + 4 + _HEADER.size, end)).get(_NLMSGERR_ATTR_MSG, b"")
        if said:
            words += f": {said.rstrip(bytes(1)).decode('ascii', 'replace')}"
    raise OSError(-code, words)


def attributes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each attribute in data[start:end]; stops at the first one with an impossible length."""
    end = len(data) if end is None else min(end, len(data))
    unpack = _ATTRIBUTE.unpack_from
    while start + 4 <= end:
        length, kind = unpack(data, start)
        stop = start + length
        if length < 4 or stop > end:
            return
        yield kind & NLA_TYPE_MASK, data[start + 4 : stop]
        start += (length + 3) & ~3


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute as the kernel wants it: length, type, payload, padding to four bytes."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def text(payload: bytes) -> str:
    """The NUL-terminated string in an attribute; bytes that are not UTF-8 come out as replacement characters."""
    return payload.partition(b"\0")[0].decode("utf-8", "replace")
