"""Cuts an agent's byte stream into JSON payloads, and tells from the first bytes which agent is talking.

Three framings exist. netifyd 2.6 to 4.4 and the legacy socket of 5.x send `{"length": N}` and a newline, then
exactly N bytes. Some outputs of netifyd 5.x send JSON objects one after another with nothing between.
nDPId's distributor sends five ASCII digits, then that many bytes.

Time is linear in the bytes fed, whatever the sizes of the pieces, and memory is bounded by the largest frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: The largest payload taken from netifyd; its biggest real message is `definitions` with about 19,000 bytes.
MAX_NETIFYD_PAYLOAD = 1 << 20

#: nDPId never sends more than 33,792 bytes (its network buffer size).
MAX_NDPID_PAYLOAD = 40_000

#: A netifyd length header is at most this long, blanks included.
_MAX_HEADER = 64

_HEADER = re.compile(rb'\{\s*+"length"\s*+:\s*+([0-9]{1,10}+)\s*+\}[ \t\r]*+\n?')
_HEADER_START = b'{"length":'
_BLANK = b" \t\r\n"

#: Outside a string: the next whole string, or one lone quote when it does not end here, or a brace.
_OUTSIDE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}]', re.DOTALL)
_INSIDE = re.compile(rb'["\\]')


class FramingError(ValueError):
    """The stream is not what an agent sends; only a new connection can find the next message again."""


class Framing:
    """Incremental splitter of one connection's bytes; `kind` is '' until the first bytes have told."""

    def __init__(self) -> None:
        self.kind = ""
        """netifyd, netifyd-stream (no framing) or ndpid."""
        self._rest = bytearray()
        self._need = 1
        # Headers repeat: looking one up is several times cheaper than parsing it.
        self._lengths_seen: dict[bytes, int] = {}
        # The object scanner's state, kept so that no byte is looked at twice.
        self._scanned = 0
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads completed by `data`; raises FramingError when the stream makes no sense.

        Take all of them before feeding again.
        """
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._need:
                return
            if self.kind != "netifyd-stream":
                data = bytes(rest)
                rest.clear()
        if not self.kind:
            data = data.lstrip(_BLANK)
            self.kind = _recognise(data)
            if not self.kind:
                self._need = len(data) + 1
                rest += data
                return
        if self.kind == "netifyd":
            yield from self._lengths(data)
        elif self.kind == "ndpid":
            yield from self._digits(data)
        else:
            if not rest:
                rest += data
            yield from self._objects()

    def _lengths(self, data: bytes) -> Iterator[bytes]:
        position, end = 0, len(data)
        lengths = self._lengths_seen
        while position < end:
            start = data.find(b"\n", position, position + _MAX_HEADER) + 1
            length = lengths.get(data[position:start], -1)
            if length < 0:
                header = _HEADER.match(data, position, position + _MAX_HEADER)
                if header is None or not header[0].endswith(b"\n"):
                    if data[position] in _BLANK:  # harmless between frames
                        position += 1
                        continue
                    piece = data[position : position + _MAX_HEADER]
                    if len(piece) == _MAX_HEADER or not _may_become_header(piece):
                        raise FramingError(f"no length header where one must be: {piece[:32]!r}")
                    self._keep(data, position, len(piece) + 1)
                    return
                length, start = int(header[1]), header.end()
                if length > MAX_NETIFYD_PAYLOAD:
                    raise FramingError(f"a message of {length} bytes is announced, more than {MAX_NETIFYD_PAYLOAD}")
                if len(lengths) < 2048:
                    lengths[header[0]] = length
            if start + length > end:
                self._keep(data, position, start - position + length)
                return
            position = start + length
            yield data[start:position]

    def _digits(self, data: bytes) -> Iterator[bytes]:
        position, end = 0, len(data)
        while position < end:
            digits = data[position : position + 5]
            if not digits.isdigit():
                raise FramingError(f"no five digits where they must be: {digits!r}")
            if len(digits) < 5:
                self._keep(data, position, 5)
                return
            length = int(digits)
            if length > MAX_NDPID_PAYLOAD:
                raise FramingError(f"a message of {length} bytes is announced, more than {MAX_NDPID_PAYLOAD}")
            start = position + 5
            if start + length > end:
                self._keep(data, position, 5 + length)
                return
            position = start + length
            yield data[start:position]

    def _keep(self, data: bytes, position: int, need: int) -> None:
        self._rest += data[position:] if position else data
        self._need = need

    def _objects(self) -> Iterator[bytes]:
        rest = self._rest
        while True:
            end = self._object_end()
            if end == 0:
                break
            yield bytes(rest[:end])
            del rest[:end]
        if len(rest) > MAX_NETIFYD_PAYLOAD:
            raise FramingError(f"an object of more than {MAX_NETIFYD_PAYLOAD} bytes does not end")
        self._need = len(rest) + 1

    def _object_end(self) -> int:  # noqa: PLR0912 (one pass over the bytes, every branch a kind of byte)
        """Where the first object in the buffer ends, or 0 when it does not yet."""
        rest = self._rest
        position, depth = self._scanned, self._depth
        size = len(rest)
        if depth == 0 and not self._in_string:
            while position < size and rest[position] in _BLANK:
                position += 1
            if position:
                del rest[:position]
                position, size = 0, len(rest)
            if size and rest[0] != 0x7B:
                raise FramingError(f"no object where one must begin: {bytes(rest[:32])!r}")
        while position < size:
            if self._in_string:
                found = _INSIDE.search(rest, position)
                if found is None:
                    position = size
                elif found[0] == b'"':
                    self._in_string = False
                    position = found.end()
                elif found.end() == size:
                    position = found.start()  # a backslash at the very end: look again with the next byte
                    break
                else:
                    position = found.end() + 1
                continue
            found = _OUTSIDE.search(rest, position)
            if found is None:
                position = size
                break
            position = found.end()
            token = rest[found.start()]
            if token == 0x7B:
                depth += 1
            elif token == 0x7D:
                depth -= 1
                if depth == 0:
                    self._scanned = self._depth = 0
                    return position
            elif position - found.start() == 1:
                self._in_string = True
        self._scanned, self._depth = position, depth
        return 0


def _recognise(data: bytes) -> str:
    """Which framing a stream that begins with `data` uses, or '' if more bytes are needed."""
    if not data:
        return ""
    if data[:1].isdigit():
        return "ndpid"
    if data[:1] != b"{":
        raise FramingError(f"neither netifyd nor nDPId begins like this: {data[:32]!r}")
    header = _HEADER.match(data)
    if header is not None:
        return "netifyd" if header[0].endswith(b"\n") else ("" if len(data) == header.end() else "netifyd-stream")
    return "" if len(data) < _MAX_HEADER and _may_become_header(data) else "netifyd-stream"


def _may_become_header(piece: bytes) -> bool:
    """Whether more bytes could make `piece` a length header."""
    bare = bytes(c for c in piece if c not in _BLANK)
    return _HEADER_START.startswith(bare) or re.fullmatch(rb'\{"length":[0-9]{0,10}\}?', bare) is not None
