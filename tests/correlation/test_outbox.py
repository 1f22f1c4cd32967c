"""What leaves the engine: real processes, a real web server, a stand-in for `ubus`; bounded, retried, counted."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from dpi_dual.correlation import outbox as module
from dpi_dual.correlation.outbox import Outbox
from lab.waiting import eventually_async
from tests.correlation.scene import run


class Hook:
    """A web server that takes notifications, or answers with `status`."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if hook.status == 200:
                    hook.taken.append(body)
                self.send_response(hook.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=secret"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@asynccontextmanager
async def running(outbox: Outbox) -> Any:
    task = asyncio.ensure_future(outbox.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def test_notifications_are_posted_in_order(hook: Hook) -> None:
    async def work() -> None:
        outbox = Outbox(ubus="")
        outbox.set_webhooks((hook.url,))
        async with running(outbox):
            for number in range(30):
                outbox.notify({"id": number, "reason": '"; $(reboot) \u202e'})
            await eventually_async("all were posted", lambda: outbox.counters()["webhooks_sent"] == 30)
        assert [entry["id"] for entry in hook.taken] == list(range(30))
        assert outbox.problems() == []

    run(work)


@pytest.mark.parametrize("status", [500, 302])
def test_a_hook_that_refuses_is_tried_again_and_named_without_its_secret(hook: Hook, status: int) -> None:
    async def work() -> None:
        outbox = Outbox(ubus="", retry_s=(0.05,))
        outbox.set_webhooks((hook.url,))
        hook.status = status
        async with running(outbox):
            outbox.notify({"id": 1})
            await eventually_async("it says that it cannot post", outbox.problems)
            (problem,) = outbox.problems()
            assert f"it answered {status}" in problem.message
            assert "secret" not in problem.message
            assert hook.taken == []
            hook.status = 200
            await eventually_async("what waited is posted", lambda: hook.taken)
            await eventually_async("all is well again", lambda: not outbox.problems())
        assert outbox.counters()["webhooks_retried"] >= 1

    run(work)


def test_what_a_dead_hook_does_not_take_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        outbox = Outbox(ubus="")
        outbox.set_webhooks(("http://127.0.0.1:9/",))
        for number in range(module.QUEUED + 50):
            outbox.notify({"id": number})
        assert outbox.waiting() == module.QUEUED
        assert outbox.counters()["webhooks_dropped"] == 50
        outbox.set_webhooks(())
        assert outbox.waiting() == 0
        assert outbox.counters()["webhooks_dropped"] == 50 + module.QUEUED

    run(work)


@pytest.fixture
def ubus(tmp_path: Path) -> Path:
    """A command that notes what it was told to send."""
    command = tmp_path / "ubus"
    command.write_text(f'#!/bin/sh\nprintf \'%s|%s|%s\\n\' "$1" "$2" "$3" >>{tmp_path}/sent\n')
    command.chmod(0o755)
    return command


def test_events_are_sent_as_arguments_never_through_a_shell(ubus: Path) -> None:
    async def work() -> None:
        outbox = Outbox(ubus=str(ubus))
        sent = ubus.with_name("sent")
        async with running(outbox):
            outbox.event("dpi.threat", {"reason": "'; touch /tmp/x; $(reboot) `id` \x00\u202e"})
            await eventually_async("the program ran", sent.exists)
            await eventually_async("it is counted as sent", lambda: outbox.counters()["ubus_events_sent"])
        verb, name, content = sent.read_text().rstrip("\n").split("|")
        assert (verb, name) == ("send", "dpi.threat")
        assert json.loads(content) == {"reason": "'; touch /tmp/x; $(reboot) `id` \x00\u202e"}

    run(work)


def test_a_flood_of_events_is_bounded_and_a_command_that_fails_is_counted(tmp_path: Path) -> None:
    async def work() -> None:
        outbox = Outbox(ubus=str(tmp_path / "nowhere"))
        for _ in range(module.QUEUED + 7):
            outbox.event("dpi.threat", {})
        outbox.event("dpi.threat", {"reason": "x" * module.EVENT_BYTES})
        assert outbox.counters()["ubus_events_dropped"] == 8
        async with running(outbox):
            await eventually_async("both are counted as failed", lambda: outbox.counters()["ubus_events_failed"] >= 2)

    run(work)


def test_without_ubus_nothing_is_queued() -> None:
    async def work() -> None:
        outbox = Outbox(ubus="")
        outbox.event("dpi.threat", {})
        assert outbox.counters()["ubus_events_dropped"] == 0

    run(work)
