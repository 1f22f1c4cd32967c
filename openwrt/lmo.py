"""Writes LuCI's compiled translations: `python -m openwrt.lmo FILE.po FILE.lmo`.

A file is the translations one after another, each padded to 4 bytes; an index sorted by the hash of what is
translated, four big-endian numbers an entry (hash, number of plural forms, offset, length); and the index's own
offset. The entry with hash 0 is the rule for plurals. The hash is SuperFastHash (Paul Hsieh), begun with the length.
"""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

from lab import pofile

_MASK = 0xFFFFFFFF


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def fast_hash(data: bytes) -> int:
    """SuperFastHash of `data`."""
    if not data:
        return 0
    value = len(data) & _MASK
    whole = len(data) // 4 * 4
    for first, second in struct.iter_unpack("<HH", data[:whole]):
        value = (value + first) & _MASK
        value = ((value << 16) ^ (second << 11) ^ value) & _MASK
        value = (value + (value >> 11)) & _MASK
    rest = data[whole:]
    if len(rest) >= 2:
        value = (value + int.from_bytes(rest[:2], "little")) & _MASK
        if len(rest) == 3:
            value = (value ^ value << 16) & _MASK
            value = (value ^ _signed(rest[2]) << 18) & _MASK
            value = (value + (value >> 11)) & _MASK
        else:
            value = (value ^ value << 11) & _MASK
            value = (value + (value >> 17)) & _MASK
    elif rest:
        value = (value + _signed(rest[0])) & _MASK
        value = (value ^ value << 10) & _MASK
        value = (value + (value >> 1)) & _MASK
    for left, right in ((3, 5), (4, 17), (25, 6)):
        value = (value ^ value << left) & _MASK
        value = (value + (value >> right)) & _MASK
    return value


def _raw(text: str) -> bytes:
    """As LuCI has it: a line's end stays written as backslash and n."""
    return text.replace("\n", "\\n").replace("\t", "\\t").encode()


def compiled(po: str) -> bytes:
    """The whole .lmo of a .po file's text."""
    header, messages = pofile.parse(po)
    data = b""
    index: list[tuple[int, int, int, int]] = []

    def add(key: int, forms: int, text: bytes) -> None:
        nonlocal data
        index.append((key, forms, len(data), len(text)))
        data += text + bytes(-len(text) % 4)

    if rule := re.search(r"^Plural-Forms: *(.*)$", header, re.MULTILINE | re.IGNORECASE):
        add(0, 0, rule[1].encode())
    for message in messages:
        if message.fuzzy:
            continue
        for number, text in enumerate(message.texts):
            key = f"{message.context}\1{message.one}" if message.context else message.one
            source = _raw(f"{key}\2{number}" if message.many else key)
            if text and fast_hash(source) != fast_hash(_raw(text)):
                add(fast_hash(source), len(message.texts), _raw(text))
    if not index:
        return b""
    return data + b"".join(struct.pack(">4I", *entry) for entry in sorted(index)) + struct.pack(">I", len(data))


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(compiled(Path(sys.argv[1]).read_text(encoding="utf-8")))
