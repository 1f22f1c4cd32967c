"""Waiting for what must come true: patient enough for a busy machine, since only a failure meets the deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from lab.gateway.client import CallError

PATIENCE_S = 120.0
_PAUSE_S = 0.05

#: What a product that is only just starting answers with.
STARTING: tuple[type[Exception], ...] = (CallError, OSError, KeyError)

Found = TypeVar("Found")


class NeverError(RuntimeError):
    """It did not come true in time; the message says what, and what was found instead."""


class _Wait(Generic[Found]):
    def __init__(
        self, what: str, condition: Callable[[], Found], patience_s: float, not_yet: tuple[type[Exception], ...]
    ) -> None:
        self._what = what
        self._condition = condition
        self._patience_s = patience_s
        self._not_yet = not_yet
        self._deadline = time.monotonic() + patience_s

    def look(self) -> Found | None:
        """What the condition gives now, None for an error that is to pass; `NeverError` when it is too late."""
        found, seen = None, ""
        try:
            found = self._condition()
            seen = repr(found)
        except self._not_yet as error:
            seen = repr(error)
        if not found and time.monotonic() > self._deadline:
            raise NeverError(f"not within {self._patience_s:g} s: {self._what} ({seen[:2000]})")
        return found


def eventually(
    what: str,
    condition: Callable[[], Found],
    patience_s: float = PATIENCE_S,
    not_yet: tuple[type[Exception], ...] = STARTING,
) -> Found:
    """The first true value of `condition`, which may fail with `not_yet` before; raises `NeverError`."""
    wait = _Wait(what, condition, patience_s, not_yet)
    while not (found := wait.look()):
        time.sleep(_PAUSE_S)
    return found


async def eventually_async(
    what: str,
    condition: Callable[[], Found],
    patience_s: float = PATIENCE_S,
    not_yet: tuple[type[Exception], ...] = STARTING,
) -> Found:
    """The same where a loop is to go on meanwhile."""
    wait = _Wait(what, condition, patience_s, not_yet)
    while not (found := wait.look()):  # noqa: ASYNC110 - any condition, not only what sets an event
        await asyncio.sleep(_PAUSE_S / 5)
    return found


def seconds_until(
    what: str,
    condition: Callable[[], object],
    patience_s: float = PATIENCE_S,
    not_yet: tuple[type[Exception], ...] = STARTING,
) -> float:
    """How long it took to come true; raises `NeverError`."""
    began = time.monotonic()
    eventually(what, condition, patience_s, not_yet)
    return time.monotonic() - began
