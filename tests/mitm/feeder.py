"""An analyser as the addon starts it, fed by hand, and an engine's link to it."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dpi_dual import config
from dpi_dual.mitm.link import MitmLink
from dpi_dual.mitm.policy import Policy
from dpi_dual.mitm.record import Record, encode_record
from dpi_dual.mitm.wire import Frames, encode_frame
from dpi_dual.settings import Settings
from dpi_dual.waf.quick import QuickRules
from lab.waiting import PATIENCE_S, NeverError, eventually_async

ROOT = Path(__file__).resolve().parents[2]
QUICK = QuickRules()
ATTACK = "/item?id=1%27%20union%20select%20password%20from%20users--%20"


def record(number: int = 1, **values: Any) -> Record:
    """A request as the addon copies it."""
    given: dict[str, Any] = {
        "id": f"{number:016x}",
        "at": time.time(),
        "client_ip": "198.51.100.7",
        "client_port": 40000,
        "method": "GET",
        "scheme": "http",
        "host": "shop.example.org",
        "target": f"/item?id={number}",
        "version": "HTTP/1.1",
        "headers": (("host", "shop.example.org"), ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0")),
        **values,
    }
    made = Record(**given)
    return made if "quick" in values else replace(made, quick=QUICK.judge(made.request()))


def attack(number: int = 1, **values: Any) -> Record:
    """One that every tier finds."""
    return record(number, **{"target": ATTACK, **values})


class Feeder:
    """The addon's end: an analyser process and the socket pair to it."""

    def __init__(self, directory: Path, policy: Policy, key: bytes) -> None:
        self.directory = directory
        self._policy = policy
        self._key = key
        self._frames = Frames()
        self.down: list[tuple[dict[str, Any], bytes]] = []
        self.start()

    def start(self) -> None:
        """Starts the analyser (again)."""
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "dpi_dual.mitm.analyser",
                    "--fd",
                    str(theirs.fileno()),
                    "--directory",
                    str(self.directory),
                ],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": str(ROOT / "lib")},
            )
        self.socket.sendall(encode_frame({"t": "start", "policy": self._policy.as_dict()}, self._key))

    def send(self, *records: Record) -> None:
        """Hands copies over."""
        self.socket.sendall(b"".join(map(encode_record, records)))

    def tell(self, head: dict[str, Any]) -> None:
        """Any other message of the addon."""
        self.socket.sendall(encode_frame(head))

    def respond(self, number: int, status: int, **values: Any) -> None:
        """How a request was answered."""
        self.tell({"t": "response", "id": f"{number:016x}", "status": status, "size": 5, "type": "text/html", **values})

    def receive(self, kind: str, seconds: float = PATIENCE_S) -> tuple[dict[str, Any], bytes]:
        """The next message of a kind from the analyser."""
        until = time.monotonic() + seconds
        while True:
            for message in self.down:
                if message[0].get("t") == kind:
                    self.down.remove(message)
                    return message
            ready, _, _ = select.select([self.socket], [], [], max(until - time.monotonic(), 0))
            assert ready, f"no {kind} from the analyser"
            self.down += self._frames.feed(self.socket.recv(65536))

    def kill(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.wait()
        self.socket.close()

    def close(self) -> None:
        """As when mitmproxy ends."""
        self.socket.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()


def settings_for(directory: Path, **mitm: Any) -> Settings:
    """Everything at its default, with the buffer in `directory`."""
    default = config.defaults()
    # The built-in rules start sooner; tests that are about CRS ask for it.
    chosen = {"waf_engine": "builtin", **mitm}
    return replace(default, mitm=replace(default.mitm, buffer_dir=str(directory), **chosen))


class Engine:
    """What surrounds a link: a database, published files, and the alerts it told."""

    def __init__(self, settings: Settings, db: sqlite3.Connection | None = None) -> None:
        self.db = db or sqlite3.connect(":memory:", isolation_level=None)
        self.files: dict[str, Any] = {}
        self.told: list[dict[str, Any]] = []
        self.link = MitmLink(settings, self.db, self._publish, self.told.append)

    def _publish(self, name: str, content: Any) -> None:
        self.files[name] = [json.loads(text) for text in content] if isinstance(content, Iterator) else content

    async def __aenter__(self) -> Engine:
        self._task = asyncio.ensure_future(self.link.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def until(self, true: Callable[[], Any]) -> None:
        """Waits for what must come true; what the link knows is told if it does not."""
        try:
            await eventually_async("what the engine should know", true, not_yet=())
        except NeverError as error:
            error.add_note(repr((self.link.problems(), self.link.counters(), self.link.buffer())))
            raise
