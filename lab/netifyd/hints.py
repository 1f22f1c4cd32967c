"""Which name an address was last looked up by: netifyd's "DNS hint cache", filled from the answers that pass."""

from __future__ import annotations

import struct
from collections import OrderedDict

_LIMIT = 1024
_MAX_NAME = 255
_MAX_RECORDS = 64


class DnsHints:
    """Address (packed) → name, for the last `_LIMIT` addresses."""

    def __init__(self) -> None:
        self._names: OrderedDict[bytes, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def get(self, address: bytes) -> str:
        """The name, empty if none is known."""
        return self._names.get(address, "")

    def learn(self, message: bytes) -> None:
        """Takes the A and AAAA records of a DNS answer (RFC 1035); what is no such answer is ignored."""
        try:
            found = _addresses(message)
        except (IndexError, struct.error):
            return
        for name, address in found:
            self._names[address] = name
            self._names.move_to_end(address)
        while len(self._names) > _LIMIT:
            self._names.popitem(last=False)


def _addresses(message: bytes) -> list[tuple[str, bytes]]:
    flags, questions, answers = struct.unpack_from(">HHH", message, 2)
    if not flags & 0x8000 or questions != 1:
        return []
    asked, position = _name(message, 12)
    position += 4
    found = []
    for _ in range(min(answers, _MAX_RECORDS)):
        _, position = _name(message, position)
        kind, _, _, size = struct.unpack_from(">HHIH", message, position)
        position += 10
        data = message[position : position + size]
        position += size
        if (kind, len(data)) in ((1, 4), (28, 16)):
            found.append((asked, data))
    return found


def _name(message: bytes, position: int) -> tuple[str, int]:
    """The name at `position` and where it ends; a compression pointer ends it (the question's name has none)."""
    labels: list[str] = []
    while (size := message[position]) and sum(map(len, labels)) < _MAX_NAME:
        if size & 0xC0:
            return ".".join(labels), position + 2
        labels.append(message[position + 1 : position + 1 + size].decode("ascii", errors="replace"))
        position += 1 + size
    return ".".join(labels), position + 1
