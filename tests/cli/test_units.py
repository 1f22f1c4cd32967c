"""Figures as a person reads them."""

from __future__ import annotations

import pytest

from dpi_dual.cli import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1234, "1.2 kB"),
        (99_949, "99.9 kB"),
        (99_951, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_234_567_890, "1.2 GB"),
        (10**21, "1000 EB"),
        ("12", "?"),
        (None, "?"),
        (float("nan"), "?"),
    ],
)
def test_bytes(value: object, text: str) -> None:
    assert units.amount(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0 bit/s"), (999.4, "999 bit/s"), (3_400_000.0, "3.4 Mbit/s")])
def test_rates(value: float, text: str) -> None:
    assert units.rate(value) == text


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (-5, "now"),
        (0.5, "now"),
        (1, "1 s ago"),
        (99.9, "99 s ago"),
        (100, "1 min ago"),
        (5999, "99 min ago"),
        (6000, "1 h ago"),
        (47 * 3600, "47 h ago"),
        (49 * 3600, "2 d ago"),
    ],
)
def test_ages(age: float, text: str) -> None:
    assert units.ago(1_000_000 - age, 1_000_000) == text


def test_a_time_that_never_was() -> None:
    assert units.ago(0, 1_000_000) == "never"
    assert units.ago("yesterday", 1_000_000) == "?"


def test_counts() -> None:
    assert units.plural(1, "flow") == "1 flow"
    assert units.plural(0, "flow") == "0 flows"
    assert units.plural(12_345, "entry", "entries") == "12,345 entries"
    assert units.count(True) == "?"


@pytest.mark.parametrize(
    ("seconds", "text"), [(14_399.5, "4 h"), (1799.0, "30 min"), (1770.5, "30 min"), (99.0, "99 s"), (0.4, "0 s")]
)
def test_what_was_just_begun_is_left_in_full(seconds: float, text: str) -> None:
    assert units.remaining(seconds) == text
