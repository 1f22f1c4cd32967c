"""What a measurement gives: one row of the table and of `bench/results.json`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`value` and `baseline` are in `unit`; `budget` says in words what `ok` was judged by."""

    name: str
    value: float
    unit: str
    baseline: float | None
    budget: str
    ok: bool
