"""One JSON payload of an agent to a value: with orjson where it is installed, else the standard library."""

from __future__ import annotations

from json import JSONDecoder
from typing import Any

#: strict=False takes raw control characters inside strings, which agents copy from the wire.
_raw_decode = JSONDecoder(strict=False).raw_decode


def decode_stdlib(payload: bytes) -> Any:
    """The value in `payload`; raises ValueError or RecursionError when there is none.

    Bytes that are not UTF-8 become replacement characters: one odd host name must not cost a flow.
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        text = payload.decode(errors="replace")
    value, end = _raw_decode(text)
    if len(text) - end > 1 and not text[end:].isspace():
        raise ValueError("more than one JSON value")
    return value


try:
    from orjson import loads as _loads
except ImportError:
    decode = decode_stdlib
else:

    def decode(payload: bytes) -> Any:
        """As `decode_stdlib`, several times faster."""
        try:
            return _loads(payload)
        except ValueError:  # NaN, lone surrogates, bad UTF-8: orjson refuses what the standard library takes
            return decode_stdlib(payload)
