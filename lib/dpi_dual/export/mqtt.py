"""The engine's side of MQTT: a bounded queue, and the process that publishes it, started again when it ends."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from typing import Any

from dpi_dual.export.mqtt_process import NOT_HERE
from dpi_dual.model import Problem
from dpi_dual.processes import own_program

#: Messages that wait; the oldest give way.
QUEUED = 500
MAX_BYTES = 8192
#: Handed to the process and not acknowledged yet.
WINDOW = 50
RETRY_S = (1.0, 5.0, 15.0, 60.0)

Message = tuple[int, str, str]


class Mqtt:
    """`publish` never waits; `run` sends. What was handed over and not acknowledged is sent again: at least once."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """`settings`: host, port, tls, user, password, topic, sensor."""
        self._settings = settings
        self._waiting: deque[Message] = deque()
        self._sent: deque[Message] = deque()
        self._number = 0
        self._wake = asyncio.Event()
        self._process: Process | None = None
        self.connected = False
        self._why = ""
        self.delivered = 0
        self.dropped = 0
        self.restarts = 0

    def publish(self, kind: str, content: dict[str, Any]) -> None:
        """Queues a message for the topic of its kind."""
        payload = json.dumps(content, separators=(",", ":"))
        if len(payload) > MAX_BYTES:
            self.dropped += 1
            return
        if len(self._waiting) + len(self._sent) >= QUEUED:
            (self._waiting or self._sent).popleft()
            self.dropped += 1
        self._number += 1
        self._waiting.append((self._number, f"{self._settings['topic']}/{self._settings['sensor']}/{kind}", payload))
        self._wake.set()

    def waiting(self) -> int:
        """Messages that no broker has acknowledged."""
        return len(self._waiting) + len(self._sent)

    async def run(self) -> None:
        """Keeps a process until cancelled; a clean end lets it say goodbye."""
        tries = 0
        while True:
            acknowledged = self.delivered
            await self._serve()
            tries = 0 if self.delivered > acknowledged else tries + 1
            self.restarts += 1
            await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S)) - 1])

    async def _serve(self) -> None:
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        process = self._process = await asyncio.create_subprocess_exec(
            *own_program("dpi_dual.export.mqtt_process"), stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        try:
            async with asyncio.TaskGroup() as group:
                feeding = group.create_task(self._feed(process))
                await self._listen(process)
                feeding.cancel()
        finally:
            self.connected = False
            await self._end(process)
        if process.returncode == NOT_HERE:
            self._why = "python3-paho-mqtt is not installed"
        else:
            self._why = self._why or f"the process ended with {process.returncode}"

    async def _feed(self, process: Process) -> None:
        stdin = process.stdin
        if stdin is None:
            return
        try:
            stdin.write(json.dumps(self._settings).encode("ascii") + b"\n")
            while True:
                while self._waiting and len(self._sent) < WINDOW:
                    message = self._waiting.popleft()
                    self._sent.append(message)
                    stdin.write(json.dumps(message).encode("ascii") + b"\n")
                await stdin.drain()
                self._wake.clear()
                await self._wake.wait()
        except ConnectionError:
            return  # it has ended; `_listen` sees that too

    async def _listen(self, process: Process) -> None:
        if process.stdout is None:
            return
        while line := await process.stdout.readline():
            match json.loads(line):
                case ["ack", number]:
                    self._acknowledged(number)
                case ["up"]:
                    self.connected, self._why = True, ""
                case ["down", why]:
                    self.connected, self._why = False, str(why)[:200]

    def _acknowledged(self, number: int) -> None:
        for message in self._sent:
            if message[0] == number:
                self._sent.remove(message)
                self.delivered += 1
                break
        self._wake.set()

    async def _end(self, process: Process) -> None:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(5.0):
                await process.wait()
        except TimeoutError:
            pass  # it hangs: killed below
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def counters(self) -> dict[str, int]:
        return {
            "mqtt_delivered": self.delivered,
            "mqtt_dropped": self.dropped,
            "mqtt_process_restarts": self.restarts,
        }

    def problems(self) -> list[Problem]:
        if self.connected or not self._why:
            return []
        place = f"{self._settings['host']}:{self._settings['port']}"
        return [
            Problem(
                "mqtt_down",
                f"The MQTT broker {place} takes no messages ({self._why}); the newest {QUEUED} wait.",
                "Check mqtt_host, mqtt_port, mqtt_tls, mqtt_user of dpi-dual.export, and mqtt_password of the secrets.",
                details={"waiting": self.waiting(), "dropped": self.dropped},
            )
        ]
