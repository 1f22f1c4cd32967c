"""The mirror kept right by a running engine: vanished interfaces, a killed engine, stop and start, clean removal."""

from __future__ import annotations

import compileall
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.netns import Namespace
from lab.waiting import eventually
from tests.integration.mirror_router import ROOT, Router

pytestmark = pytest.mark.root

ENGINE = """
import asyncio, json, signal, sys
from types import SimpleNamespace
from dpi_dual.capture.mirror_watch import Mirror

async def main():
    tap = SimpleNamespace(interface="tap0", mirror_source=("eth0",), mirror_mode="software")
    mirror = Mirror(tap)
    keeping = asyncio.ensure_future(mirror.run())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, keeping.cancel)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async def answer():
        while line := await lines.readline():
            match line.decode().strip():
                case "problems": print(json.dumps([problem.answer() for problem in mirror.problems()]), flush=True)
                case "counters": print(json.dumps(mirror.counters()), flush=True)
                case word: print(json.dumps(await getattr(mirror, word)()), flush=True)
    answering = asyncio.ensure_future(answer())
    await asyncio.wait([keeping])
    answering.cancel()
    assert "pyroute2" not in sys.modules
    if not keeping.cancelled():
        keeping.result()

asyncio.run(main())
"""


class Engine:
    """A process that runs nothing but the mirror, and answers on its standard input and output."""

    def __init__(self, router: Router, *, library: Path | None = None) -> None:
        environment = {**router.environment, "PYTHONPATH": str(library or ROOT / "lib")}
        self.process = router.host.popen(
            sys.executable, "-c", ENGINE, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, word: str) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def until_complete(self) -> dict[str, Any]:
        return self.until(lambda answer: bool(answer["complete"]))

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        answers: list[dict[str, Any]] = []

        def holds() -> bool:
            answers[:] = [self.ask("status")]
            return condition(answers[0])

        eventually("the mirror is as it should be", holds)
        return answers[0]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(timeout=30)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        return status


@pytest.fixture
def router(make_host: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Router]:
    yield Router(make_host("router"), make_host("far"), tmp_path)


def test_it_is_made_kept_and_removed(router: Router) -> None:
    before, links = router.control(), router.links()
    engine = Engine(router)
    answer = engine.until_complete()
    assert answer["problems"] == [] and answer["stopped"] is False
    assert router.ours() == (1, 1)
    router.ping(3)
    assert engine.ask("status")["packets_mirrored"] >= 6
    assert engine.end() == 0
    assert (router.control(), router.links()) == (before, links)


def test_its_own_changes_do_not_set_it_going_again(router: Router) -> None:
    engine = Engine(router)
    engine.until_complete()
    time.sleep(1.5)  # several times what it waits before it looks again
    assert engine.ask("counters")["mirror_changes"] == 1
    engine.end()


def test_a_deleted_capture_interface_is_back_with_one_filter_a_direction(router: Router) -> None:
    engine = Engine(router)
    engine.until_complete()
    for _ in range(2):
        router.host.ip("link", "del", "tap0")
        engine.until_complete()
        assert router.ours() == (1, 1)
    assert engine.end() == 0
    assert "clsact" not in router.control()


def test_a_source_that_vanishes_is_named_and_mirrored_again_when_it_returns(router: Router) -> None:
    engine = Engine(router)
    engine.until_complete()
    router.host.ip("link", "del", "eth0")
    engine.until(lambda answer: [p["code"] for p in answer["problems"]] == ["mirror_source_missing"])
    assert [problem["code"] for problem in engine.ask("problems")] == ["mirror_source_missing"]
    router.cable()
    engine.until_complete()
    assert router.ours() == (1, 1)
    engine.end()


def test_deleted_filters_come_back(router: Router) -> None:
    engine = Engine(router)
    engine.until_complete()
    router.host.run("tc", "filter", "del", "dev", "eth0", "egress")
    engine.until_complete()
    router.host.run("tc", "qdisc", "del", "dev", "eth0", "clsact")
    engine.until_complete()
    assert router.ours() == (1, 1)
    engine.end()


def test_what_a_killed_engine_left_is_adopted_and_removed(router: Router) -> None:
    before, links = router.control(), router.links()
    engine = Engine(router)
    engine.until_complete()
    assert engine.end(signal.SIGKILL) == -signal.SIGKILL
    assert router.ours() == (1, 1)
    engine = Engine(router)
    engine.until_complete()
    assert router.ours() == (1, 1)
    assert engine.end() == 0
    assert (router.control(), router.links()) == (before, links)


def test_stopped_by_hand_it_stays_so_until_started(router: Router) -> None:
    before, links = router.control(), router.links()
    engine = Engine(router)
    engine.until_complete()
    answer = engine.ask("stop")
    assert answer["stopped"] is True and answer["exists"] is False
    assert [problem["code"] for problem in answer["problems"]] == ["mirror_stopped"]
    router.host.ip("link", "set", "eth0", "down")
    router.host.ip("link", "set", "eth0", "up")
    time.sleep(1)
    assert (router.control(), router.links()) == (before, links)
    assert engine.ask("start")["complete"]
    assert router.ours() == (1, 1)
    engine.end()


def test_an_end_while_it_is_being_made_leaves_nothing(router: Router) -> None:
    before, links = router.control(), router.links()
    for patience in (0.25, 0.4, 0.55):  # any moment is right; these meet the process in different steps
        engine = Engine(router)
        engine.ask("counters")
        time.sleep(patience - 0.25)
        assert engine.end() == 0
        assert (router.control(), router.links()) == (before, links)


def test_it_works_where_only_bytecode_is_installed(router: Router, tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(ROOT / "lib", library, ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(library, legacy=True, quiet=1)
    for source in library.rglob("*.py"):
        source.unlink()
    engine = Engine(router, library=library)
    engine.until_complete()
    assert engine.end() == 0


def test_a_process_that_cannot_work_is_a_problem_not_an_end(router: Router, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the directory should be")
    engine = Engine(router)
    engine.until(lambda answer: "mirror_lock" in [problem["code"] for problem in answer["problems"]])
    (tmp_path / "run").unlink()
    engine.until(lambda answer: answer["complete"] and answer["problems"] == [])
    assert engine.ask("counters")["mirror_failures"] >= 1
    engine.end()
