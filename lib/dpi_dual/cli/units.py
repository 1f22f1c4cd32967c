"""Figures as a person reads them: bytes, rates, ages, counts. Decimal prefixes, as networks count."""

from __future__ import annotations

import math

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _scaled(value: object, unit: str, small: str) -> str:
    number = _number(value)
    if number is None:
        return "?"
    for prefix in _PREFIXES:
        # 999.95 would be printed as 1000: it belongs to the next prefix.
        if abs(number) < 999.5 or prefix == _PREFIXES[-1]:
            break
        number /= 1000
    if not prefix:
        return f"{number:.0f} {small}"
    return f"{number:.{0 if abs(number) >= 99.95 else 1}f} {prefix}{unit}"


def amount(value: object) -> str:
    """Bytes: `999 B`, `1.2 kB`, `345 MB`."""
    return _scaled(value, "B", "B")


def rate(value: object) -> str:
    """Bits per second: `0 bit/s`, `3.4 Mbit/s`."""
    return _scaled(value, "bit/s", "bit/s")


def count(value: object) -> str:
    """A number of things: `12,345`."""
    number = _number(value)
    return "?" if number is None else f"{number:,.0f}"


def plural(value: object, one: str, many: str = "") -> str:
    """`1 flow`, `12,345 flows`."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def span(seconds: object) -> str:
    """A length of time in its largest sensible unit: `12 s`, `3 min`, `5 h`, `9 d`."""
    number = _number(seconds)
    if number is None:
        return "?"
    number = max(number, 0.0)
    for limit, length, unit in ((100, 1, "s"), (6000, 60, "min"), (48 * 3600, 3600, "h")):
        if number < limit:
            return f"{int(number / length)} {unit}"
    return f"{int(number / 86400)} d"


def remaining(seconds: float) -> str:
    """What is left of a length of time, to the nearest half minute: of four hours just begun `4 h`, not `3 h`."""
    return span(seconds + 30 if seconds > 100 else seconds)


def ago(moment: object, now: float) -> str:
    """The age of a Unix time: `now`, `12 s ago`; 0 is a time that never was."""
    number = _number(moment)
    if number is None:
        return "?"
    if number <= 0:
        return "never"
    # Less than a second, or a clock that was set back meanwhile.
    return "now" if now - number < 1 else span(now - number) + " ago"
