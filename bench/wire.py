"""The other side of the engine's sockets, for measurements: a DPI agent, and an analyser with its alerts."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.engine import RunningEngine

HOST = "shop.example.org"


def frame(message: dict[str, object]) -> bytes:
    """A message as netifyd frames it."""
    body = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    return b'{"length": %d}\n%s' % (len(body), body)


HELLO = frame({"agent_version": "4.4.7", "type": "agent_hello"})


class Listener:
    """A unix socket in the place of an agent or an analyser."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(0o750, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._listener.settimeout(60)

    def accept(self) -> socket.socket:
        return self._listener.accept()[0]

    def close(self) -> None:
        self._listener.close()


@contextmanager
def agent(engine: RunningEngine) -> Iterator[socket.socket]:
    """The connection of an engine to its DPI agent, which has said hello."""
    listener = Listener(engine.directory / "agent.sock")
    try:
        with listener.accept() as connection:
            connection.sendall(HELLO)
            yield connection
    finally:
        listener.close()


def alert(number: int) -> dict[str, Any]:
    """A WAF alert as the analyser tells it, each of an address of its own."""
    return {
        "n": number,
        "id": f"bench-{number:08d}",
        "request_id": f"{number:032x}",
        "at": time.time(),
        "event": ("waf_alert", "waf_block", "scanner", "brute_force")[number % 4],
        "client_ip": f"203.{number // 62_500 % 250}.{number // 250 % 250}.{number % 250}",
        "client_port": 1024 + number % 60_000,
        "host": HOST,
        "path": f"/search/{number}/" + "garden-chairs-" * 5,
        "method": "GET",
        "threat_score": 40 + number % 60,
        "categories": ["sqli", "xss"],
        "blocked": False,
        "rule": f"sqli-{number % 20}",
        "place": "ARGS:q",
        "tier": "crs",
        "rules": [
            {"rule": f"942{rule}00", "category": "sqli", "place": "ARGS:q", "score": 20 + rule} for rule in range(4)
        ],
    }


def events(*alerts: dict[str, Any]) -> bytes:
    """One line with alerts."""
    return json.dumps({"stream": "bench", "events": alerts}).encode() + b"\n"


def _requests() -> list[dict[str, Any]]:
    """What Buffer B says of an address."""
    return [
        {
            "id": f"{number:032x}",
            "at": time.time(),
            "timestamp": "2026-01-01T00:00:00.000+00:00",
            "method": "GET",
            "host": HOST,
            "path": "/search/" + "garden-chairs-" * 5,
            "status": 200,
            "threat_score": 50,
            "blocked": False,
            "rule": "sqli-1",
        }
        for number in range(5)
    ]


class Analyser:
    """The analyser's end of the link: answers the engine's questions, tells who listens of acknowledgements."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the engine's `buffer_dir`."""
        self._listener = Listener(directory / "analyser.sock")
        self.acknowledged: Callable[[int], None] = lambda number: None

    def __enter__(self) -> Analyser:
        self._link = self._listener.accept()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._link.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._link.close()
        self._listener.close()

    def send(self, *alerts: dict[str, Any]) -> None:
        self._link.sendall(events(*alerts))

    def _serve(self) -> None:
        with self._link.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                if "ack" in message:
                    self.acknowledged(message["ack"])
                if "query" in message:
                    answer = {"answer": message["query"], "result": {"requests": _requests()}}
                    self._link.sendall(json.dumps(answer).encode() + b"\n")


def mitm_section(buffer: Path) -> str:
    """UCI that has an engine look for its analyser there."""
    return f"config mitm 'mitm'\n\toption buffer_dir '{buffer}'\n"
