"""Runs the engine's parts side by side: one that fails is started again with backoff, the others go on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from dpi_dual.model import Problem

log = logging.getLogger(__name__)

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
#: A part that ran this long before it failed starts again with the first delay.
SETTLED_S = 60.0
#: A failure is worth a word for so long after the part runs again: one that fails every minute must not look well.
RECENTLY_S = 600.0


@dataclass(slots=True)
class Part:
    """One supervised part and how it fares; `state` is running, waiting (to be started again) or stopped."""

    name: str
    run: Callable[[], Awaitable[None]]
    state: str = "running"
    restarts: int = 0
    since_at: float = 0.0
    error: str = ""
    task: asyncio.Task[None] | None = None


class Supervisor:
    """Starts and stops parts by name inside the task group that was handed in."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._parts: dict[str, Part] = {}

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts.values())

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Starts a part; `run` goes on until it is cancelled, and is called again if it fails or returns."""
        part = Part(name, run, since_at=time.time())
        self._parts[name] = part
        part.task = self._group.create_task(self._keep_running(part), name=name)

    async def stop(self, name: str) -> None:
        """Cancels a part and waits until it has cleaned up; nothing if there is no such part."""
        part = self._parts.pop(name, None)
        if part is not None and part.task is not None:
            part.task.cancel()
            await asyncio.wait([part.task])

    async def stop_all(self) -> None:
        """Stops the parts, the newest first."""
        for name in reversed(list(self._parts)):
            await self.stop(name)

    async def _keep_running(self, part: Part) -> None:
        delay = FIRST_DELAY_S
        while True:
            started = time.monotonic()
            part.state, part.since_at = "running", time.time()
            try:
                await part.run()
                part.error = "ended by itself"
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Nobody asked for it: something inside the part was cancelled and took the part along.
                part.error = "cancelled from within"
                log.error("part %s was cancelled from within", part.name)
            except Exception as error:
                part.error = f"{type(error).__name__}: {error}"
                log.error("part %s failed", part.name, exc_info=error)
            if time.monotonic() - started >= SETTLED_S:
                delay = FIRST_DELAY_S
            part.state, part.since_at = "waiting", time.time()
            part.restarts += 1
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY_S)

    def status(self) -> dict[str, dict[str, object]]:
        """Per part: state, restarts, since_at, error (of the last failure, empty if none)."""
        return {
            part.name: {
                "state": part.state,
                "restarts": part.restarts,
                "since_at": round(part.since_at, 3),
                "error": part.error,
            }
            for part in self
        }

    def problems(self) -> list[Problem]:
        """One problem for each part that is down at the moment, or was within the last minutes."""
        recently = time.time() - RECENTLY_S
        return [
            Problem(
                "part_failed" if part.state == "waiting" else "part_restarted",
                f"{part.name} failed ({part.error}) and "
                + ("is started again" if part.state == "waiting" else "was started again")
                + "; the other parts go on.",
                "If it keeps failing, see the log: logread -e dpi-dual.",
                "error" if part.state == "waiting" else "warning",
                {"part": part.name, "restarts": part.restarts},
            )
            for part in self
            if part.state == "waiting" or (part.restarts and part.since_at > recently)
        ]
