"""CrowdSec's decisions in memory: kept as LAPI streams them, and looked up without a request.

A community blocklist brings tens of thousands of addresses, so an entry is two integers in a dictionary (about 110
bytes), a table for each kind of decision and prefix length. Expiry runs on the monotonic clock: LAPI says how long
a decision still lasts, and a router may learn the time of day only after it has asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any

#: The most that are held; what LAPI says beyond is counted.
MAX_DECISIONS = 150_000
MAX_TYPES = 8
MAX_LABELS = 4000
#: Ten years: what lasts longer lasts for ever.
LONGEST_S = 10 * 366 * 86_400

_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{0,15})?)(ns|us|µs|μs|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAPPED = (0xFFFF << 32, 96)

Address = tuple[int, int, int]
"""Bits (32 or 128), prefix length, and the prefix itself as a number of so many bits."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision that LAPI holds. `scope` is Ip or Range; `until_at` is Unix seconds."""

    value: str
    scope: str
    type: str
    scenario: str
    origin: str
    until_at: float


def go_duration_s(text: object) -> float | None:
    """`3h59m57.9s`, `-23.9ms`: a duration as Go prints it, in seconds; None if it is none."""
    if not isinstance(text, str) or not 1 < len(text) <= 64:
        return None
    rest = text.removeprefix("-").removeprefix("+")
    seconds, position = 0.0, 0
    while position < len(rest):
        found = _DURATION.match(rest, position)
        if found is None:
            return None
        seconds += float(found[1]) * _UNIT_S[found[2]]
        position = found.end()
    seconds = min(seconds, float(LONGEST_S))
    return -seconds if text.startswith("-") else seconds


def address(text: object) -> Address | None:
    """An IPv4 or IPv6 address or network; host bits are dropped, an IPv4-mapped address is IPv4."""
    if not isinstance(text, str) or len(text) > 49:
        return None
    host, slash, length = text.partition("/")
    bits = 128 if ":" in host else 32
    try:
        number = int.from_bytes(inet_pton(AF_INET6 if bits == 128 else AF_INET, host), "big")
    except (OSError, ValueError):  # ValueError: a NUL, or a character beyond ASCII
        return None
    prefix = bits
    if slash:
        if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= bits):
            return None
        prefix = int(length)
    if bits == 128 and prefix >= _MAPPED[1] and number >> 32 == _MAPPED[0] >> 32:
        bits, prefix, number = 32, prefix - 96, number & 0xFFFFFFFF
    return bits, prefix, number >> (bits - prefix)


def spelled(where: Address) -> str:
    """`address` backwards: `192.0.2.7`, `2001:db8::/64`."""
    bits, prefix, number = where
    family = AF_INET if bits == 32 else AF_INET6
    host = inet_ntop(family, (number << (bits - prefix)).to_bytes(bits // 8, "big"))
    return host if prefix == bits else f"{host}/{prefix}"


def bounded(value: object, most: int = 128) -> str:
    """Text from LAPI as it may be shown and stored."""
    if not isinstance(value, str):
        return ""
    if len(value) <= most and value.isprintable():
        return value
    return "".join(c if c.isprintable() else "." for c in value[:most])


# A table's value: (whole second of the monotonic clock at which it ends << 17) | (generation << 16) | label.
_LABEL = 0xFFFF
_GENERATION = 1 << 16
_SHIFT = 17


class Decisions:
    """All that LAPI holds about addresses. `told("new" | "deleted", decision)` hears of each change."""

    def __init__(
        self,
        told: Callable[[str, Decision], None] | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._told = told
        self._clock = clock
        self._monotonic = monotonic
        self._tables: dict[tuple[str, int, int], dict[int, int]] = {}
        #: For each address family the tables in the order of a lookup: bans first, then the longest prefix.
        self._order: dict[int, list[tuple[int, str, dict[int, int]]]] = {32: [], 128: []}
        self._labels: list[tuple[str, str]] = [("", "")]
        self._numbers: dict[tuple[str, str], int] = {("", ""): 0}
        self._generation = 0
        self._count = 0
        self._full_load = False
        self._silent = True
        #: What this delta brought: newer LAPIs say `new` before `deleted`, older ones after.
        self._fresh: set[tuple[str, Address]] = set()
        self.over_limit = 0
        self.refused = 0
        self.other_scopes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def ranges(self) -> int:
        """How many of them are networks."""
        return sum(len(table) for (_, bits, prefix), table in self._tables.items() if prefix != bits)

    def lookup(self, ip: str) -> Decision | None:
        """The decision that holds for `ip` now, a ban before anything else; None for what is no address."""
        where = address(ip)
        if where is None or where[0] != where[1]:
            return None
        bits, _, number = where
        now = self._monotonic()
        for shift, kind, table in self._order[bits]:
            value = table.get(number >> shift)
            if value is not None and value >> _SHIFT > now:
                return self._decision(kind, (bits, bits - shift, number >> shift), value)
        return None

    def _decision(self, kind: str, where: Address, value: int) -> Decision:
        origin, scenario = self._labels[value & _LABEL]
        until = self._clock() + (value >> _SHIFT) - self._monotonic()
        return Decision(spelled(where), "Ip" if where[0] == where[1] else "Range", kind, scenario, origin, until)

    # --- changes

    def begin(self, full: bool) -> None:
        """An answer begins. After a full one, what it did not bring is gone; of the first one nobody is told."""
        self._fresh.clear()
        self._full_load = full
        if full:
            self._generation ^= _GENERATION

    def take(self, change: str, item: dict[str, Any]) -> None:
        """One decision of the answer, out of its list `new` or `deleted`."""
        if change == "new":
            self.put(item)
        elif change == "deleted" and not self._full_load:
            self.drop(item)

    def end(self) -> None:
        """The answer came to its end."""
        self._fresh.clear()
        if self._full_load:
            self._full_load = self._silent = False
            self._remove(lambda value: value & _GENERATION != self._generation)

    def abandon(self) -> None:
        """The answer broke off: what is known stays known."""
        self._fresh.clear()
        if self._full_load:
            self._full_load = False
            for table in self._tables.values():
                for number in table:
                    table[number] = table[number] & ~_GENERATION | self._generation

    def put(self, item: dict[str, Any], ours: bool = False) -> None:
        """A decision from LAPI, as JSON has it. One of `ours` may not be the one that lasts longest."""
        found = self._place(item)
        seconds = go_duration_s(item.get("duration"))
        if found is None:
            return
        if seconds is None:
            self.refused += 1
            return
        if seconds <= 0 or item.get("simulated") is True:
            return
        kind, where = found
        table = self._table(kind, where)
        before = table.get(where[2]) if table is not None else None
        if table is None or (before is None and self._count >= MAX_DECISIONS):
            self.over_limit += 1
            return
        ends = int(self._monotonic() + seconds) + 1
        if ours and before is not None:
            ends = max(ends, before >> _SHIFT)
        value = ends << _SHIFT | self._generation | self._label(item)
        table[where[2]] = value
        if not self._full_load:
            self._fresh.add((kind, where))
        if before is None:
            self._count += 1
            self._tell("new", kind, where, value)

    def drop(self, item: dict[str, Any]) -> None:
        """A decision that LAPI holds no longer."""
        found = self._place(item)
        if found is not None and found not in self._fresh:
            kind, where = found
            value = self._tables.get((kind, *where[:2]), {}).pop(where[2], None)
            if value is not None:
                self._count -= 1
                self._tell("deleted", kind, where, value)

    def drop_within(self, where: Address) -> None:
        """Everything about an address, or about and within a network: it was undone by us."""
        bits, prefix, number = where
        for (kind, table_bits, length), table in self._tables.items():
            if table_bits == bits and length >= prefix:
                for inside in [n for n in table if n >> (length - prefix) == number]:
                    value = table.pop(inside)
                    self._count -= 1
                    self._tell("deleted", kind, (bits, length, inside), value)

    def expire(self) -> None:
        """Forgets what has run out; LAPI usually says so first."""
        now = self._monotonic()
        self._remove(lambda value: value >> _SHIFT <= now)

    def _remove(self, gone: Callable[[int], bool]) -> None:
        for (kind, bits, prefix), table in self._tables.items():
            for number in [number for number, value in table.items() if gone(value)]:
                value = table.pop(number)
                self._count -= 1
                self._tell("deleted", kind, (bits, prefix, number), value)

    def _place(self, item: dict[str, Any]) -> tuple[str, Address] | None:
        scope = item.get("scope")
        if not isinstance(scope, str) or scope.lower() not in ("ip", "range"):
            self.other_scopes += 1
            return None
        where = address(item.get("value"))
        kind = bounded(item.get("type"), 32).lower()
        if where is None or not kind:
            self.refused += 1
            return None
        return kind, where

    def _table(self, kind: str, where: Address) -> dict[int, int] | None:
        key = (kind, where[0], where[1])
        table = self._tables.get(key)
        if table is None:
            kinds = {name for name, _, _ in self._tables}
            if kind not in kinds and len(kinds) >= MAX_TYPES:
                return None
            table = self._tables[key] = {}
            order = self._order[where[0]]
            order.append((where[0] - where[1], kind, table))
            order.sort(key=lambda entry: (entry[1] != "ban", entry[0], entry[1]))
        return table

    def _label(self, item: dict[str, Any]) -> int:
        label = (bounded(item.get("origin"), 64), bounded(item.get("scenario")))
        number = self._numbers.get(label)
        if number is None:
            if len(self._labels) >= MAX_LABELS:
                return 0
            number = self._numbers[label] = len(self._labels)
            self._labels.append(label)
        return number

    def _tell(self, change: str, kind: str, where: Address, value: int) -> None:
        if self._told is not None and not self._silent:
            self._told(change, self._decision(kind, where, value))
