"""What a measurement gives: one row of the table and of `bench/results.json`."""

from __future__ import annotations

from dataclasses import dataclass


class NotHere(RuntimeError):  # noqa: N818 - it says what is the case
    """A measurement that cannot be taken on this machine; `str()` says what it lacks."""


@dataclass(frozen=True, slots=True)
class Row:
    """`value` and `baseline` are in `unit`; `budget` says in words what `ok` was judged by."""

    name: str
    value: float
    unit: str
    baseline: float | None
    budget: str
    ok: bool
    repeats: int = 1
    """How many repeats `value` is the median of."""
    beside: str = ""
    """What the baseline is."""
