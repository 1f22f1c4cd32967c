"""Makes bad input of good: cuts, flips, splices and hostile words, and for JSON hostile values in any place."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

#: What parsers trip over, for any place in JSON.
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1 << 31,
    1 << 53,
    1 << 70,
    -(10**400),
    1.5,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "0",
    "-1",
    "٣",
    "\ud800",
    "\u202e",
    "\x00",
    "a\r\nb: c",
    "\x1b[2J",
    "9" * 5000,
    "../../etc/passwd",
    "%n$(id)`id`'\"\\",
    "198.51.100.7",
    "fe80::1%eth0",
    "::ffff:198.51.100.7/33",
    [],
    {},
    [[]],
    [None] * 300,
    {"": {}},
    {"a" * 300: 1},
)
WORDS = (
    b"",
    b"\n",
    b"\r\n\r\n",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"%",
    b"%u00",
    b"%c0%af",
    b"&#",
    b"\\",
    b"\\x",
    b"'",
    b'"',
    b"[" * 2000,
    b'{"a":' * 500,
    b"9" * 5000,
    b"-1",
    b"1e999",
    b"NaN",
    b"Infinity",
    b'{"length": 5}\n',
    b"00005",
    b"\\ud800",
    "٣²".encode(),
    "\u2028\x85".encode(),
    b"Content-Length: 99999999999999999999\r\n",
    b"ffffffff",
    b"\x7f\xff\xff\xff",
)


def damaged(data: bytes, other: bytes, random: Random) -> bytes:
    """`data` with a few things wrong; `other` is where pieces come from."""
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(data))
        to = min(len(data), at + random.randint(0, 30))
        match random.randrange(7):
            case 0:
                data = data[:at] + data[to:]
            case 1:
                data = data[:at]
            case 2 if data:
                at = min(at, len(data) - 1)
                data = data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
            case 3:
                data = data[:at] + random.choice(WORDS) + data[to:]
            case 4:
                data = data[:at] + data[at:to] * random.randint(2, 20) + data[to:]
            case 5:
                begin = random.randint(0, len(other))
                data = data[:at] + other[begin : begin + random.randint(1, 200)] + data[to:]
            case _:
                data = bytes(random.randrange(256) for _ in range(random.randint(0, 8))).join((data[:at], data[at:]))
    return data


def damaged_json(data: bytes, random: Random) -> bytes | None:
    """The JSON of some of the lines with hostile values in some places; None if no line is JSON."""
    lines = data.split(b"\n")
    known = [number for number, line in enumerate(lines) if line[:1] in b"[{" and line]
    if not known:
        return None
    for number in random.sample(known, min(len(known), random.randint(1, 2))):
        try:
            document = json.loads(lines[number])
        except (ValueError, RecursionError):
            continue
        for _ in range(random.randint(1, 3)):
            document = _changed(document, random)
        lines[number] = json.dumps(document).encode()
    return b"\n".join(lines)


def _changed(document: Any, random: Random) -> Any:
    places = list(_places(document))
    if not places:
        return copy.deepcopy(random.choice(VALUES))
    inside, key = random.choice(places)
    match random.randrange(6):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, dict):
            inside[random.choice(["", "x", "type", "id", "\ud800"])] = inside[key]
        case 2:
            other, other_key = random.choice(places)
            inside[key] = copy.deepcopy(other[other_key])
        case _:
            inside[key] = copy.deepcopy(random.choice(VALUES))
    return document


def _places(document: Any) -> Any:
    keys = list(document) if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in keys:
        yield document, key
        yield from _places(document[key])
