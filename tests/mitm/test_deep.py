"""The deep tier's process: what is too slow for it, and what only had to wait for the processor."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from dpi_dual.mitm import policy as policies
from dpi_dual.mitm.deep import LIMIT_S, DeepWorker, GoneError, TooSlowError
from tests.cli.programs import ROOT
from tests.mitm.feeder import attack, record, settings_for

#: Backtracks for ever in a text of its own letters.
SLOW = {"id": "own-slow", "pattern": "(a|a)*$", "category": "php", "place": "args"}
SLOW_TARGET = "/?note=" + "a" * 40 + "b"


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker finds the library as its analyser does."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "lib"))


def worker(folder: Path, **given: object) -> DeepWorker:
    policy = policies.of_settings(settings_for(folder, waf_engine="builtin"))
    return DeepWorker(policy, quick=True, **given)  # type: ignore[arg-type]


def test_a_worker_that_waits_for_the_processor_is_waited_for(tmp_path: Path) -> None:
    async def go() -> None:
        async with worker(tmp_path) as deep:
            await deep.judge(record(1))
            assert deep._process is not None
            pid = deep._process.pid
            os.kill(pid, signal.SIGSTOP)
            judging = asyncio.ensure_future(deep.judge(attack(2)))
            await asyncio.sleep(1.5 * LIMIT_S)
            os.kill(pid, signal.SIGCONT)
            assert (await judging).alert
            assert deep.counts == {"deep_too_slow": 0, "deep_crashes": 0}

    asyncio.run(go())


def test_a_worker_that_works_too_long_is_replaced(tmp_path: Path) -> None:
    async def go() -> None:
        async with worker(tmp_path, rules=[SLOW], limit_s=0.3) as deep:
            with pytest.raises(TooSlowError, match=r"more than 0\.3 s"):
                await deep.judge(record(1, target=SLOW_TARGET))
            assert deep.counts["deep_too_slow"] == 1
            assert (await deep.judge(attack(2))).alert

    asyncio.run(go())


def test_a_worker_that_ended_is_started_again(tmp_path: Path) -> None:
    async def go() -> None:
        async with worker(tmp_path) as deep:
            await deep.judge(record(1))
            assert deep._process is not None
            os.kill(deep._process.pid, signal.SIGKILL)
            with pytest.raises(GoneError):
                await deep.judge(attack(2))
            assert deep.counts["deep_crashes"] == 1

            async def judged() -> bool:
                try:
                    return (await deep.judge(attack(3))).alert
                except GoneError:
                    return False

            outcome: list[bool] = []
            while not any(outcome):
                outcome.append(await judged())
                await asyncio.sleep(0.05)

    asyncio.run(go())
