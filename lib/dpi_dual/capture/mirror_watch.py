"""Keeps the mirror right while the engine runs: makes it, repairs it within a second or two, removes it at the end.

Looking is done here, over plain netlink, and costs a millisecond. Only when something is to be changed is the
short-lived process started that does it (`capture.mirror`), so our own changes end in "nothing to do".
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from dpi_dual.capture import mirror_plan as plan
from dpi_dual.capture import mirror_status, offload
from dpi_dual.capture.link_watch import LinkWatch
from dpi_dual.capture.netlink import Netlink
from dpi_dual.model import Problem
from dpi_dual.processes import own_program

log = logging.getLogger(__name__)

_PROCESS_TIMEOUT_S = 30.0
_LOOK_EVERY_S = 60.0
_LOOK_PAUSE_S = 0.3
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 10.0
_CALM_S = 30.0
"""After this long without a repair, the pause after the next one is the shortest again."""


class TapSettings(Protocol):
    """What the mirror needs of the `tap` section."""

    @property
    def interface(self) -> str: ...
    @property
    def mirror_source(self) -> tuple[str, ...]: ...
    @property
    def mirror_mode(self) -> str: ...


class Mirror:
    """The mirror of one `tap` section. `status`, `problems` and `counters` work whether `run` runs or not."""

    def __init__(self, tap: TapSettings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._interface, self._sources, self._mode = tap.interface, tuple(tap.mirror_source), tap.mirror_mode
        self._monotonic = monotonic
        self._changing = asyncio.Lock()
        self._stopped = False
        self._failure: Problem | None = None
        self._found: tuple[Problem, ...] = ()
        self._pause_s = _SHORTEST_PAUSE_S
        self._changed_at = -_CALM_S
        self._changes = self._failures = self._overruns = self._drops = 0

    async def run(self) -> None:
        """Keeps the mirror right until cancelled, then removes what was made."""
        with LinkWatch() as watch:
            try:
                while True:
                    due_s = await self._keep()
                    self._overruns = watch.overruns
                    await asyncio.sleep(_LOOK_PAUSE_S)
                    await watch.wait(due_s)
            finally:
                await _to_its_end(self._remove())

    async def start(self) -> dict[str, Any]:
        """Makes the mirror again after `stop`; the status after it."""
        async with self._changing:
            self._stopped = False
            await self._change("ensure")
        return await self.status()

    async def stop(self) -> dict[str, Any]:
        """Removes the mirror; it stays removed until `start`, or until the engine starts anew. The status after it."""
        async with self._changing:
            self._stopped = True
            await self._change("remove")
        return await self.status()

    async def status(self) -> dict[str, Any]:
        """The mirror as the kernel has it at this moment; `stopped` is true after `stop`."""
        try:
            view = self._look()
        except OSError as error:
            return {"error": f"the kernel refused a question about the mirror: {error}", "code": "kernel_error"}
        return {**mirror_status.report(view, self._mode, self.problems()), "stopped": self._stopped}

    def problems(self) -> list[Problem]:
        """What was wrong when the kernel was looked at last: at most a minute ago, or since nothing changed."""
        return [*self._found, *([self._failure] if self._failure else [])]

    def counters(self) -> dict[str, int]:
        """`mirror_drops` are packets that could not be copied, `mirror_changes` how often something had to be made."""
        return {
            "mirror_drops": self._drops,
            "mirror_changes": self._changes,
            "mirror_failures": self._failures,
            "mirror_notices_lost": self._overruns,
        }

    def _look(self) -> plan.View:
        with Netlink() as netlink:
            view = plan.look(netlink, self._interface, self._sources)
        hidden = offload.problems(self._sources if self._mode == "software" else (self._interface,))
        if self._stopped:
            text = "the mirror was stopped by hand: nothing reaches the TAP stream"
            mine = [Problem("mirror_stopped", text, "Start it: dpi-dualctl mirror start", "info")]
        else:
            mine = mirror_status.problems(view, self._mode)
        self._found = (*mine, *hidden)
        self._drops = mirror_status.describe(view, self._mode)["drops"]
        return view

    async def _keep(self) -> float:
        """Looks, and changes what is not right; how many seconds from now to look again at the latest."""
        async with self._changing:
            try:
                if self._stopped or plan.is_settled(self._look(), self._mode):
                    return _LOOK_EVERY_S
                wait_s = self._changed_at + self._pause_s - self._monotonic()
                if wait_s > 0:
                    return wait_s
                since_s = self._monotonic() - self._changed_at
                await self._change("ensure")
                # Whoever else keeps changing it back is met ever less often.
                self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S) if since_s < _CALM_S else _SHORTEST_PAUSE_S
                return _LOOK_EVERY_S if plan.is_settled(self._look(), self._mode) else self._pause_s
            except OSError as error:
                self._fail(Problem("mirror_unknown", f"the kernel refused a question about the mirror: {error}"))
                return self._pause_s

    async def _change(self, action: str) -> None:
        answer = await self._process(action)
        self._changed_at = self._monotonic()
        self._changes += 1
        if "error" in answer:
            text = f"the mirror could not be changed: {answer['error']}"
            self._fail(Problem(str(answer.get("code", "mirror_failed")), text, str(answer.get("hint", "")), "error"))
        else:
            self._failure = None

    def _fail(self, problem: Problem) -> None:
        if problem != self._failure:
            log.warning("%s", problem.message)
        self._failure = problem
        self._failures += 1

    async def _remove(self) -> None:
        async with self._changing:
            try:
                with Netlink() as netlink:
                    view = plan.look(netlink, self._interface, self._sources)
                if not plan.is_removed(view):
                    await self._change("remove")
            except OSError as error:
                log.warning("the mirror could not be removed: %s", error)

    async def _process(self, action: str) -> dict[str, Any]:
        """Runs `capture.mirror` and returns its answer, or one of the same form saying what became of it."""
        sources = [f"--source={source}" for source in self._sources]
        command = [action, f"--interface={self._interface}", f"--mode={self._mode}", *sources]
        process = await asyncio.create_subprocess_exec(
            *own_program("dpi_dual.capture.mirror"),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the engine's terminal is not meant for a removal half-way
        )
        try:
            async with asyncio.timeout(_PROCESS_TIMEOUT_S):
                out, complaint = await process.communicate()
        except TimeoutError:
            return {"error": f"changing the mirror took over {_PROCESS_TIMEOUT_S:.0f} s", "code": "mirror_timeout"}
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        try:
            answer = json.loads(out)
        except ValueError:
            last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
            return {"error": last or f"it ended with status {process.returncode}", "code": "mirror_failed"}
        return answer if isinstance(answer, dict) else {"error": "no answer", "code": "mirror_failed"}


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Awaits `work` even while being cancelled, as often as that may happen: it must not be left half done."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
