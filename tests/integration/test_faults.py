"""Each fault by itself: everything runs again afterwards, the mirror is whole, and what was recorded is still known."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from lab.clock import faketime_library
from lab.faults import AT_ONCE, FAULTS, LASTS_S, fault, filters, seconds_to_recover
from lab.isolated import IsolatedLab, isolated_lab, why_not
from lab.soak import CHECKPOINT_S, Ledger

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(why_not()), reason=str(why_not()))]

PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedLab]:
    # A socket's path has 107 bytes at most.
    directory = tmp_path_factory.mktemp("lab")
    with isolated_lab(directory, "--checkpoint", str(CHECKPOINT_S)) as running:
        since = time.time() - 10
        seconds_to_recover(running, since, PATIENCE_S)
        yield running


@pytest.fixture(scope="module")
def all_recorded() -> list[Ledger]:
    """What was recorded before each fault of these tests."""
    return []


@pytest.mark.parametrize("name", FAULTS)
def test_all_runs_again_and_nothing_is_lost(lab: IsolatedLab, all_recorded: list[Ledger], name: str) -> None:
    if name.startswith("clock-") and faketime_library() is None:
        pytest.skip("Debian's faketime is not installed")
    ledger = Ledger(number=10 * len(all_recorded))
    for _ in range(10):  # the tenth is a ban
        ledger.write(lab)
    assert ledger.records and ledger.bans
    all_recorded.append(ledger)
    if name == "database-corrupted":
        for before in all_recorded:
            before.forget_since(time.monotonic() - 2 * CHECKPOINT_S)
    with fault(lab, name, random.Random(name)):
        if name not in AT_ONCE:
            time.sleep(LASTS_S)
    since = time.time()
    took = seconds_to_recover(lab, since, PATIENCE_S)
    print(f"{name}: all runs again {took:.1f} s after its end")
    assert filters(lab) == [1, 1]
    assert ledger.lost(lab) == []


def test_nothing_recorded_was_lost_by_any_later_fault(lab: IsolatedLab, all_recorded: list[Ledger]) -> None:
    everything = Ledger(
        records=[record for ledger in all_recorded for record in ledger.records],
        bans=[ban for ledger in all_recorded for ban in ledger.bans],
    )
    assert everything.lost(lab) == []


def test_a_lost_record_and_a_lost_ban_would_be_noticed(lab: IsolatedLab) -> None:
    ledger = Ledger(records=[(0.0, 987654321, "3fff:9:9::1")], bans=[(0.0, "198.51.100.250")])
    assert len(ledger.lost(lab)) == 2
