"""JSON as it comes out of ubus: what libubox's blobmsg keeps of a value, how it prints it, how large it is.

Values travel over ubus as blobmsg, not as text, so a JSON document changes on its way: integers are
cut to 64 bits, doubles are printed with six decimals, a string ends at its first NUL.
"""

from __future__ import annotations

import json
import re
from typing import Any

#: ubusd drops a client that sends more than this in one message (UBUS_MAX_MSGLEN).
MAX_MESSAGE = 1 << 20

#: What a reply's message adds around the data: message head, object id, data head.
MESSAGE_OVERHEAD = 16

#: json-c's default limit; the outermost object counts, and so does the innermost scalar.
MAX_DEPTH = 32

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1

_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_ESCAPES = {"\b": "\\b", "\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_NEEDS_ESCAPE = re.compile('[\x00-\x1f"\\\\]')
_DECODER = json.JSONDecoder(strict=False)


class IncompleteError(ValueError):
    """The text ended before a value did, or was not JSON at all."""


def parse_first(data: bytes) -> Any:
    """The first JSON value in `data`; whatever follows it is ignored, as rpcd ignores it.

    Raises `IncompleteError` when there is no whole value, or it nests deeper than `MAX_DEPTH`. A NUL byte
    ends the text. Bytes that are not UTF-8 come back as surrogate escapes and are printed unchanged.
    """
    text = data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape").lstrip(" \t\r\n\v\f")
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise IncompleteError(str(error)) from None
    if end == len(text) and text[0] not in '{["':
        raise IncompleteError("a bare word or number at the very end may be only its beginning")
    return normalise(value)


def normalise(value: Any, depth: int = 0) -> Any:
    """`value` as blobmsg would keep it; raises `IncompleteError` beyond `MAX_DEPTH` levels, a scalar being one too."""
    if depth == MAX_DEPTH:
        raise IncompleteError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        cut = value.split("\0", 1)[0]
        return _LONE_SURROGATE.sub("\ufffd", cut) if not cut.isascii() else cut
    if isinstance(value, (bool, float)) or value is None:
        return value
    if isinstance(value, int):
        return min(max(value, INT64_MIN), INT64_MAX)
    if isinstance(value, dict):
        return {normalise(key): normalise(item, depth + 1) for key, item in value.items()}
    return [normalise(item, depth + 1) for item in value]


def encoded_size(value: Any, name: str = "") -> int:
    """Bytes that `value` takes as one blobmsg attribute, head and padding included."""
    size = 4 + _padded(2 + len(name.encode("utf-8", "surrogatepass")) + 1)
    if isinstance(value, str):
        size += _padded(len(value.encode("utf-8", "surrogatepass")) + 1)
    elif isinstance(value, dict):
        size += sum(encoded_size(item, key) for key, item in value.items())
    elif isinstance(value, list):
        size += sum(encoded_size(item) for item in value)
    elif isinstance(value, bool):
        size += 4
    elif value is not None:
        size += 4 if isinstance(value, int) and -(1 << 31) <= value < 1 << 31 else 8
    return size


def message_size(data: dict[str, Any]) -> int:
    """Bytes of the ubus message that carries `data`."""
    return MESSAGE_OVERHEAD + sum(encoded_size(item, key) for key, item in data.items())


def dumps(value: Any, indent: bool = False) -> str:
    """`value` as `ubus call` prints it: tabs when `indent`, else one line without blanks."""
    out: list[str] = []
    _print(value, out, 1 if indent else 0)
    return "".join(out)


def encode(value: Any) -> bytes:
    """One-line JSON as bytes, the bytes that were not UTF-8 restored."""
    return dumps(value).encode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return (size + 3) & ~3


def _print(value: Any, out: list[str], level: int) -> None:
    """Appends `value` to `out`; `level` is 0 for one line, else one more than the tabs of this line."""
    if isinstance(value, str):
        out.append(_quoted(value))
    elif value is None:
        out.append("null")
    elif isinstance(value, bool):
        out.append("true" if value else "false")
    elif isinstance(value, float):
        out.append(f"{value:.6f}")
    elif isinstance(value, int):
        out.append(str(value))
    else:
        _print_container(value, out, level)


def _print_container(value: dict[str, Any] | list[Any], out: list[str], level: int) -> None:
    members = value.items() if isinstance(value, dict) else (("", item) for item in value)
    inner = "\n" + "\t" * min(level, 15) if level else ""
    out.append("{" if isinstance(value, dict) else "[")
    out.append(inner)
    separator = ""
    for name, item in members:
        out.append(separator)
        separator = "," + inner
        # libubox leaves out an empty name: in an object the result is not JSON, and that is what a client gets
        if name:
            out.append(_quoted(name) + (": " if level else ":"))
        _print(item, out, level + 1 if level else 0)
    out.append("\n" + "\t" * min(level - 1, 15) if level else "")
    out.append("}" if isinstance(value, dict) else "]")


def _quoted(text: str) -> str:
    if _NEEDS_ESCAPE.search(text) is None:
        return f'"{text}"'
    return '"' + _NEEDS_ESCAPE.sub(lambda hit: _ESCAPES.get(hit[0]) or f"\\u{ord(hit[0]):04x}", text) + '"'
