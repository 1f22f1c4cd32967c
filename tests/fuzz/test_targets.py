"""Every parser of the table with any bytes, with damaged messages of the real peer, and with what once broke it.

The same examples in each run: looking for new ones is `python -m tests.fuzz`.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.damage import damaged, damaged_json
from tests.fuzz.table import TARGETS

FOUND = Path(__file__).with_name("found")


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_real_peer_says(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("case", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_stays_mended(case: Path) -> None:
    TARGETS[case.parent.name].run(case.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400))
def test_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 1 << 64))
def test_damaged_messages(name: str, number: int) -> None:
    # By a seed rather than by draws: a failing example prints one number, which gives the same bytes again.
    TARGETS[name].run(example(name, random.Random(number)))


def example(name: str, source: random.Random) -> bytes:
    """A damaged message of the target's peer."""
    seeds = TARGETS[name].seeds
    seed = source.choice(seeds)
    changed = damaged_json(seed, source) if source.random() < 0.6 else None
    return changed if changed is not None else damaged(seed, source.choice(seeds), source)
