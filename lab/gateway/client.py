"""Talks to the gateway's unix socket: what `lab/bin/ubus`, the report and the tests call."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from lab.gateway.status import Status


class CallError(RuntimeError):
    """A call that ubus answered with a status other than 0."""

    def __init__(self, what: str, status: Status, object_found: bool = True) -> None:
        super().__init__(f"{what}: {status.message}")
        self.status = status
        self.object_found = object_found


class Client:
    """One connection to the gateway; a context manager. Raises `OSError` when nobody listens."""

    def __init__(self, path: str, timeout_s: float | None = 30.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def set_timeout(self, timeout_s: float | None) -> None:
        self._socket.settimeout(timeout_s)

    def objects(self, pattern: str | None = None) -> list[tuple[str, int, dict[str, dict[str, str]]]]:
        """Objects with number and signature; none when nothing matches."""
        return [(name, number, signature) for name, number, signature in self._ask({"list": pattern})["objects"]]

    def answers(self, name: str, method: str, arguments: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Calls a method; nearly always one answer. Raises `CallError`, or `TimeoutError` after the timeout."""
        reply = self._ask({"call": [name, method, arguments or {}]})
        status = Status(reply["status"])
        if status:
            raise CallError(f"{name} {method}", status, reply["found"])
        data: list[dict[str, Any]] = reply["data"]
        return data

    def call(self, name: str, method: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """The one answer of a method, {} when it gave none."""
        return next(iter(self.answers(name, method, arguments)), {})

    def send(self, kind: str, data: dict[str, Any] | None = None) -> None:
        """Broadcasts an event."""
        self._ask({"send": [kind, data or {}]})

    def listen(self, patterns: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Registers at once, then gives the events as they come; ends when the gateway does."""
        self._ask({"listen": patterns})
        return self._events()

    def statistics(self) -> dict[str, Any]:
        """What the gateway counted: calls, errors, median_ms, faults."""
        counted: dict[str, Any] = self._ask({"statistics": True})["statistics"]
        return counted

    def _events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for line in self._file:
            event = json.loads(line)
            yield event["event"], event["data"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        line = self._file.readline()
        if not line:
            raise ConnectionError("the gateway closed the connection")
        reply: dict[str, Any] = json.loads(line)
        return reply
