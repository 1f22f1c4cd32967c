"""What leaves the engine to others: ubus events and webhooks, by short-lived processes, bounded, retried, counted."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from dpi_dual.correlation.bus import IDLE_S, Bus, find_ubus
from dpi_dual.http_post import post_all
from dpi_dual.model import Problem

QUEUED = 200
#: Notifications that one process posts.
BATCH = 20
#: ubus events a second; a flood of threats is not to become a flood of processes.
EVENTS_S = 5.0
POST_TIMEOUT_S = 10.0
RETRY_S = (2.0, 5.0, 15.0, 60.0, 300.0)
#: ubus carries more, but an event is to be read at a glance.
EVENT_BYTES = 4096


async def _post(url: str, notifications: list[dict[str, Any]]) -> tuple[int, str]:
    """How many were taken, and why not more."""
    bodies = [json.dumps(notification) for notification in notifications]
    return await post_all(url, {"Content-Type": "application/json"}, bodies, POST_TIMEOUT_S)


class Outbox:
    """`event` and `notify` never wait; `run` sends. Outlives reloads."""

    def __init__(
        self,
        post: Callable[[str, list[dict[str, Any]]], Awaitable[tuple[int, str]]] = _post,
        ubus: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        retry_s: tuple[float, ...] = RETRY_S,
    ) -> None:
        """`ubus`: path of the command; None looks for it, '' means there is none."""
        self._send = post
        self._retry_s = retry_s
        self._ubus = find_ubus() if ubus is None else ubus
        self._bus = Bus(self._ubus)
        self._monotonic = monotonic
        self.listener: Callable[[str, dict[str, Any]], None] | None = None
        self._urls: tuple[str, ...] = ()
        self._hooks: dict[str, deque[dict[str, Any]]] = {}
        self._tries: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._failures: dict[str, str] = {}
        self._events: deque[tuple[str, str]] = deque()
        self._wake = asyncio.Event()
        self._counts = dict.fromkeys(
            (
                "ubus_events_sent",
                "ubus_events_dropped",
                "ubus_events_failed",
                "webhooks_sent",
                "webhooks_dropped",
                "webhooks_retried",
            ),
            0,
        )

    def set_webhooks(self, urls: tuple[str, ...]) -> None:
        """The addresses that get notifications; what waits for others is dropped."""
        for url in set(self._urls) - set(urls):
            self._counts["webhooks_dropped"] += len(self._hooks.pop(url, ()))
            self._failures.pop(url, None)
        self._urls = urls

    def event(self, name: str, content: dict[str, Any]) -> None:
        """Queues a ubus event, and tells whoever listens in the engine."""
        if self.listener is not None:
            self.listener(name, content)
        if not self._ubus:
            return
        text = json.dumps(content, separators=(",", ":"))
        if len(self._events) >= QUEUED or len(text) > EVENT_BYTES:
            self._counts["ubus_events_dropped"] += 1
            return
        self._events.append((name, text))
        self._wake.set()

    def notify(self, notification: dict[str, Any]) -> None:
        """Queues a notification for every webhook; the oldest goes when a queue is full."""
        for url in self._urls:
            queue = self._hooks.setdefault(url, deque())
            if len(queue) >= QUEUED:
                queue.popleft()
                self._counts["webhooks_dropped"] += 1
            queue.append(notification)
        self._wake.set()

    def waiting(self) -> int:
        """Notifications that no webhook has taken yet."""
        return sum(map(len, self._hooks.values()))

    async def run(self) -> None:
        """Sends until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_events())
            group.create_task(self._send_hooks())

    async def _send_events(self) -> None:
        try:
            while True:
                while self._events:
                    sent = await self._bus.send(*self._events.popleft())
                    self._counts["ubus_events_sent" if sent else "ubus_events_failed"] += 1
                    await asyncio.sleep(1 / EVENTS_S)
                await asyncio.sleep(0.05)
                if not self._events:
                    self._wake.clear()
                    await self._next_event()
        finally:
            await self._bus.rest()

    async def _next_event(self) -> None:
        try:
            async with asyncio.timeout(IDLE_S):
                await self._wake.wait()
        except TimeoutError:
            await self._bus.rest()
            await self._wake.wait()

    async def _send_hooks(self) -> None:
        while True:
            now = self._monotonic()
            for url in self._urls:
                if self._hooks.get(url) and self._due.get(url, 0.0) <= now:
                    await self._send_batch(url)
            await asyncio.sleep(min(1.0, self._retry_s[0]))
            if not self.waiting():
                self._wake.clear()
                await self._wake.wait()

    async def _send_batch(self, url: str) -> None:
        batch = list(self._hooks[url])[:BATCH]
        taken, failure = await self._send(url, batch)
        queue = self._hooks.get(url)
        for sent in batch[:taken]:
            if queue and queue[0] is sent:
                queue.popleft()
        self._counts["webhooks_sent"] += taken
        if not failure:
            self._tries[url] = 0
            self._failures.pop(url, None)
            return
        tries = self._tries[url] = 0 if taken else self._tries.get(url, 0) + 1
        self._due[url] = self._monotonic() + self._retry_s[min(tries, len(self._retry_s)) - 1]
        self._counts["webhooks_retried"] += 1
        self._failures[url] = failure

    def counters(self) -> dict[str, int]:
        """What was sent, and what was not."""
        return dict(self._counts)

    def problems(self) -> list[Problem]:
        """Webhooks that do not answer."""
        return [
            Problem(
                "webhook_failed",
                f"The webhook {_place(url)} takes no notifications ({failure}); they are tried again.",
                "Check dpi-dual.correlation.webhook.",
                details={"waiting": len(self._hooks.get(url, ()))},
            )
            for url, failure in self._failures.items()
            if url in self._urls
        ]


def _place(url: str) -> str:
    """An address without its path and query, which may hold a secret."""
    return "/".join(url.split("/", 3)[:3])
