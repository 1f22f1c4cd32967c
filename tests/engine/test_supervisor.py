"""Supervision: a part that fails is started again, the others go on, a stop waits for the clean-up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dpi_dual.engine import supervisor
from dpi_dual.engine.supervisor import Supervisor


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.001)


def _scenario(steps: Callable[[Supervisor], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            parts = Supervisor(group)
            await asyncio.wait_for(steps(parts), 10)
            await parts.stop_all()

    asyncio.run(run())


def test_a_failing_part_is_started_again_and_the_others_go_on() -> None:
    beats: list[str] = []

    async def fails() -> None:
        beats.append("try")
        raise OSError("no such device")

    async def goes_on() -> None:
        beats.append("steady")
        await asyncio.sleep(3600)

    async def steps(parts: Supervisor) -> None:
        parts.start("fails", fails)
        parts.start("goes on", goes_on)
        while beats.count("try") < 3:
            await asyncio.sleep(0.001)
        status = parts.status()
        assert status["fails"]["restarts"] >= 2  # type: ignore[operator]
        assert status["fails"]["error"] == "OSError: no such device"
        assert status["goes on"] == {**status["goes on"], "state": "running", "restarts": 0}
        assert beats.count("steady") == 1
        while not parts.problems():
            await asyncio.sleep(0.0005)
        assert "fails failed (OSError: no such device)" in parts.problems()[0].message

    _scenario(steps)


def test_a_part_that_returns_is_started_again() -> None:
    count = 0

    async def returns() -> None:
        nonlocal count
        count += 1

    async def steps(parts: Supervisor) -> None:
        parts.start("returns", returns)
        while count < 2:
            await asyncio.sleep(0.001)
        assert parts.status()["returns"]["error"] == "ended by itself"

    _scenario(steps)


def test_a_stop_waits_for_the_clean_up() -> None:
    cleaned = []

    async def holds() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append("done")

    async def steps(parts: Supervisor) -> None:
        parts.start("holds", holds)
        await asyncio.sleep(0.001)
        await parts.stop("holds")
        assert cleaned == ["done"]
        assert "holds" not in parts
        await parts.stop("holds")

    _scenario(steps)


def test_parts_stop_the_newest_first() -> None:
    ended: list[str] = []

    def part(name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(name)

        return run

    async def steps(parts: Supervisor) -> None:
        for name in ("state", "mirror", "agent"):
            parts.start(name, part(name))
        await asyncio.sleep(0.001)
        await parts.stop_all()
        assert ended == ["agent", "mirror", "state"]

    _scenario(steps)


def test_a_part_that_was_cancelled_from_within_is_started_again() -> None:
    count = 0

    async def takes_a_cancelled_task_for_its_own_end() -> None:
        nonlocal count
        count += 1
        inner = asyncio.ensure_future(asyncio.sleep(3600))
        asyncio.get_running_loop().call_soon(inner.cancel)
        await inner

    async def steps(parts: Supervisor) -> None:
        parts.start("part", takes_a_cancelled_task_for_its_own_end)
        while count < 2:
            await asyncio.sleep(0.001)
        assert parts.status()["part"]["error"] == "cancelled from within"
        await parts.stop("part")
        assert "part" not in parts

    _scenario(steps)
