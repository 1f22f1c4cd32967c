"""The mirror's component where it needs no kernel; on the real one it is in tests/integration/test_mirror_watch.py."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from types import SimpleNamespace

from pytest_mock import MockerFixture

from dpi_dual.capture import mirror_watch
from dpi_dual.capture.mirror_watch import Mirror

TAP = SimpleNamespace(interface="nope0", mirror_source=("nope1",), mirror_mode="software")


def test_status_and_problems_work_without_running() -> None:
    async def ask() -> None:
        mirror = Mirror(TAP)
        assert mirror.problems() == []
        answer = await mirror.status()
        assert answer["stopped"] is False and not answer["exists"]
        json.dumps(answer)
        codes = {problem.code for problem in mirror.problems()}
        assert {"capture_interface_missing", "mirror_source_missing"} <= codes
        assert set(mirror.counters().values()) == {0}

    asyncio.run(ask())


def test_a_kernel_that_refuses_is_an_answer(mocker: MockerFixture) -> None:
    mocker.patch.object(mirror_watch, "Netlink", side_effect=PermissionError(1, "Operation not permitted"))
    answer = asyncio.run(Mirror(TAP).status())
    assert answer["code"] == "kernel_error"


def test_repairs_that_do_not_last_come_ever_later(mocker: MockerFixture) -> None:
    """Somebody who deletes the mirror again and again must not keep the router busy."""
    now = 1000.0
    made: list[float] = []

    async def keep_for(seconds: float) -> None:
        nonlocal now
        mirror = Mirror(TAP, lambda: now)

        async def process(action: str) -> dict[str, object]:
            made.append(now)
            return {}

        mocker.patch.object(mirror, "_process", process)
        mocker.patch.object(mirror_watch.plan, "is_settled", return_value=False)
        end = now + seconds
        while now < end:
            assert 0 < await mirror._keep() <= 10
            now += 0.5

    asyncio.run(keep_for(60))
    gaps = [later - earlier for earlier, later in pairwise(made)]
    assert gaps[:5] == [1, 2, 4, 8, 10] and set(gaps[5:]) == {10}


def test_what_must_end_well_is_awaited_through_cancellations() -> None:
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append("removed")

    async def cancelled_twice() -> None:
        task = asyncio.ensure_future(mirror_watch._to_its_end(work()))
        for _ in range(2):
            await asyncio.sleep(0.01)
            task.cancel()
        await task

    asyncio.run(cancelled_twice())
    assert done == ["removed"]
