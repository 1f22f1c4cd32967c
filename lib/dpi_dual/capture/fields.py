"""Cheap validation and cleaning of single values that came off a DPI agent's socket: all of it is hostile text."""

from __future__ import annotations

import re
from collections.abc import Callable
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

#: No counter is believed above this: 8 PiB is more than a flow can carry, and every JSON reader keeps it exact.
MAX_COUNT = 1 << 53

#: Year 3000 in milliseconds: later times are nonsense.
MAX_TIME_MS = 32_503_680_000_000

#: RFC 1035 §2.3.4 allows 253 printable characters without the trailing dot.
MAX_HOSTNAME = 253

_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")


class Known(dict[str, str]):
    """Remembers what a cleaner made of a text, so that equal texts are cleaned once and share one string.

    Forgets everything when it holds `limit` texts: an attacker who sends ever new ones only makes it slower.
    """

    __slots__ = ("_clean", "_limit")

    def __init__(self, clean: Callable[[str], str], limit: int = 2048) -> None:
        super().__init__()
        self._clean = clean
        self._limit = limit

    def __missing__(self, raw: str) -> str:
        cleaned = self._clean(raw)
        if len(raw) <= MAX_HOSTNAME:
            if len(self) >= self._limit:
                self.clear()
            if cleaned == raw:
                cleaned = raw
            self[raw] = cleaned
        return cleaned


def count(value: object) -> int:
    """`value` if it is a believable counter, else -1. True is not 1 here."""
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    return -1


def small(value: object, limit: int) -> int:
    """`value` if it is an integer in 0 … `limit`, else 0: ports, protocol numbers, VLANs."""
    if type(value) is int and 0 <= value <= limit:
        return value
    return 0


def seconds(milliseconds: object) -> float:
    """Unix seconds of a time in milliseconds, or 0.0 if it is not one."""
    if type(milliseconds) is int and 0 < milliseconds < MAX_TIME_MS:
        return milliseconds / 1000
    return 0.0


def text(value: object, limit: int = 64) -> str:
    """`value` without control characters and lone surrogates, at most `limit` characters; '' if no text."""
    if type(value) is not str:
        return ""
    value = value[:limit]
    if value.isprintable():
        return value
    return "".join(c for c in value if c.isprintable())


def _clean_hostname(raw: str) -> str:
    name = text(raw, MAX_HOSTNAME + 1).lower().rstrip(".")[:MAX_HOSTNAME]
    return "".join(name.split()) if " " in name else name


def _canonical_ip(raw: str) -> str:
    """The one spelling of an address (RFC 5952 for IPv6), or '' if it is none."""
    if len(raw) > 45 or not raw.isascii():
        return ""
    family = AF_INET6 if ":" in raw else AF_INET
    try:
        return inet_ntop(family, inet_pton(family, raw))
    except (OSError, ValueError):
        return ""


def _canonical_mac(raw: str) -> str:
    return raw.lower() if _MAC.fullmatch(raw) else ""


_ips = Known(_canonical_ip)
_macs = Known(_canonical_mac)
_hostnames = Known(_clean_hostname)


def ip(value: object) -> str:
    """A valid address in its one spelling, or ''."""
    return _ips[value] if type(value) is str else ""


def mac(value: object) -> str:
    """A valid hardware address in lower case, or ''."""
    return _macs[value] if type(value) is str else ""


def hostname(value: object) -> str:
    """A host name as people compare them: lower case, no trailing dot, no blanks, nothing unprintable."""
    return _hostnames[value] if type(value) is str else ""
