"""What ubusd and rpcd are together: objects by name, calls to them, events to whoever listens."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from lab.gateway import plugins
from lab.gateway.plugins import Plugin, PluginFaultError, Signature
from lab.gateway.sessions import METHODS as SESSION_METHODS
from lab.gateway.sessions import Answer, Sessions
from lab.gateway.status import Status

#: A listener that reads slower than events come loses the oldest ones.
MAX_QUEUED_EVENTS = 256

Event = tuple[str, dict[str, Any]]

#: A method of an object of the gateway's own, with the arguments.
OwnCall = Callable[[str, dict[str, Any]], Awaitable[Answer]]


@dataclass(frozen=True)
class BusObject:
    """One name on the bus: `session`, a plugin, or an object that the gateway answers itself."""

    name: str
    number: int
    signature: Signature
    plugin: Plugin | None = None
    own: OwnCall | None = None


@dataclass
class Statistics:
    """Calls to plugins since the start: how many, how long, how many failed or were answered with an error."""

    calls: int = 0
    errors: int = 0
    lost_events: int = 0
    milliseconds: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    faults: deque[str] = field(default_factory=lambda: deque(maxlen=100))

    def as_dict(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "errors": self.errors,
            "median_ms": round(median(self.milliseconds), 3) if self.milliseconds else 0.0,
            "lost_events": self.lost_events,
            "faults": list(self.faults),
        }


class Listener:
    """A queue of events whose type matches one of the patterns; only a final `*` is special, as in ubusd."""

    def __init__(self, patterns: list[str]) -> None:
        self.patterns = patterns
        self.queue: asyncio.Queue[Event] = asyncio.Queue(MAX_QUEUED_EVENTS)

    def wants(self, kind: str) -> bool:
        return any(matches(pattern, kind) for pattern in self.patterns)


def matches(pattern: str, name: str) -> bool:
    """ubusd's own matching of paths and event types: equal, or a prefix when the pattern ends with `*`."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


class Bus:
    """The objects of one router. Calls run in parallel; each goes on even if its caller goes away."""

    def __init__(self, plugin_directory: Path, sessions: Sessions, call_timeout_s: float = plugins.CALL_TIMEOUT_S):
        self.sessions = sessions
        self.statistics = Statistics()
        self._call_timeout_s = call_timeout_s
        self._listeners: set[Listener] = set()
        self._running: set[asyncio.Task[tuple[Status, dict[str, Any] | None]]] = set()
        found, faults = plugins.scan(plugin_directory)
        for fault in faults:
            self.fault(fault)
        names = [BusObject("session", _object_number(), SESSION_METHODS)]
        names += [BusObject(plugin.name, _object_number(), plugin.signature, plugin) for plugin in found]
        self._objects = {item.name: item for item in sorted(names, key=lambda item: item.name)}

    def fault(self, message: str) -> None:
        """Says aloud what would have hurt a router, and remembers it."""
        self.statistics.faults.append(message)
        print(f"gateway: {message}", file=sys.stderr, flush=True)

    def lookup(self, pattern: str | None = None) -> Iterator[BusObject]:
        """The objects whose name matches, in the order of their names."""
        return (item for name, item in self._objects.items() if pattern is None or matches(pattern, name))

    def find(self, name: str) -> BusObject | None:
        return self._objects.get(name)

    def add(self, name: str, signature: Signature, call: OwnCall) -> None:
        """Puts an object of the gateway's own on the bus."""
        self._objects[name] = BusObject(name, _object_number(), signature, own=call)
        self._objects = dict(sorted(self._objects.items()))

    async def call(
        self, target: BusObject, method: str, arguments: dict[str, Any]
    ) -> list[tuple[Status, dict[str, Any] | None]]:
        """Invokes a method; nearly always one answer (`session list` gives one a session)."""
        if target.own is not None:
            return [await target.own(method, arguments)]
        if target.plugin is None:
            answer = self.sessions.call(method, arguments)
            return answer if isinstance(answer, list) else [answer]
        if method not in target.signature:
            return [(Status.METHOD_NOT_FOUND, None)]
        task = asyncio.get_running_loop().create_task(self._call_plugin(target.plugin, method, arguments))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return [await asyncio.shield(task)]

    async def _call_plugin(
        self, plugin: Plugin, method: str, arguments: dict[str, Any]
    ) -> tuple[Status, dict[str, Any] | None]:
        started = time.perf_counter()
        try:
            status, data = await plugins.call(plugin, method, arguments, self._call_timeout_s)
        except PluginFaultError as fault:
            self.fault(str(fault))
            status, data = Status.CONNECTION_FAILED, None
        self.statistics.calls += 1
        refused = data is not None and "error" in data and "code" in data
        self.statistics.errors += status is not Status.OK or refused
        self.statistics.milliseconds.append((time.perf_counter() - started) * 1000)
        return status, data

    def send(self, kind: str, data: dict[str, Any]) -> None:
        """Gives an event to all who listen for its type."""
        for listener in self._listeners:
            if not listener.wants(kind):
                continue
            if listener.queue.full():
                listener.queue.get_nowait()
                self.statistics.lost_events += 1
            listener.queue.put_nowait((kind, data))

    def listen(self, patterns: list[str]) -> Listener:
        listener = Listener(patterns)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    async def close(self) -> None:
        """Ends the calls that still run."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


def _object_number() -> int:
    """ubusd picks object ids at random, above the few that are its own."""
    return 1024 + secrets.randbelow((1 << 32) - 1024)
