"""How addon, analyser and engine talk: binary frames between addon and analyser, JSON lines to the engine."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

#: Largest frame: the largest `max_body` (16 MiB) and its head.
MAX_FRAME = 20 * 1024 * 1024
#: Largest line either way between analyser and engine: an answer of 256 KiB and room around it.
MAX_LINE = 512 * 1024
#: The analyser's socket in `buffer_dir`.
SOCKET = "analyser.sock"

#: Made once: `json.dumps` with separators makes an encoder for each call, which costs as much as the encoding.
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

_LENGTHS = struct.Struct("!II")


class WireError(ValueError):
    """The peer does not keep to the protocol; the connection cannot go on."""


def encode_frame(head: Any, payload: bytes = b"") -> bytes:
    """Two lengths, the head as JSON, then raw bytes: a body needs no encoding."""
    text = _encode(head).encode("ascii")
    return _LENGTHS.pack(len(text), len(payload)) + text + payload


def decode_frame(frame: bytes) -> tuple[dict[str, Any], bytes]:
    """One whole frame taken apart; raises WireError."""
    for head, payload in Frames().feed(frame):
        return head, payload
    raise WireError("the frame is cut off")


class Frames:
    """Frames out of a stream of bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The frames that `data` completes; raises WireError."""
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= _LENGTHS.size:
                head, payload = _LENGTHS.unpack_from(self._buffer, start)
                if head + payload > MAX_FRAME:
                    raise WireError(f"a frame of {head + payload} bytes")
                end = start + _LENGTHS.size + head + payload
                if len(self._buffer) < end:
                    break
                text, middle = start + _LENGTHS.size, start + _LENGTHS.size + head
                start = end
                yield _object(bytes(self._buffer[text:middle])), bytes(self._buffer[middle:end])
        finally:
            # Also when the caller took only the first of them.
            del self._buffer[:start]


def encode_line(message: dict[str, Any]) -> bytes:
    """One line of plain ASCII."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def decode_line(line: bytes) -> dict[str, Any]:
    """The message of a line; raises WireError."""
    return _object(line)


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"no JSON: {error}") from None
    if not isinstance(value, dict):
        raise WireError("no JSON object")
    return value
