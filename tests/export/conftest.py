"""Debian's real mosquitto on a loopback port of its own, and a DPI agent whose flows end."""

from __future__ import annotations

import json
import queue
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.waiting import eventually
from tests.cli import agent

PATIENCE_S = 120.0
_MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/sbin:/bin")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class Broker:
    """One mosquitto; it can be stopped and started again on the same port."""

    directory: Path
    port: int
    more: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # It would drop its rights to a user that cannot read the test's files.
        text = f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence false\n{self.more}"
        (self.directory / "mosquitto.conf").write_text(text)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [_MOSQUITTO or "mosquitto", "-c", str(self.directory / "mosquitto.conf"), "-v"], stdout=log, stderr=log
            )
        eventually(f"mosquitto did not start: {(self.directory / 'log').read_text()[-500:]}", self._listens)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
            self.process = None


@dataclass
class Subscriber:
    """Everything that is published, as it comes."""

    messages: queue.SimpleQueue[tuple[str, dict[str, Any], int, bool]] = field(default_factory=queue.SimpleQueue)
    seen: list[tuple[str, dict[str, Any], int, bool]] = field(default_factory=list)

    def wait(self, topic: str, fits: Callable[[dict[str, Any]], bool] = lambda content: True) -> dict[str, Any]:
        """The first message of a topic that fits, whether it came before or comes yet."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for name, content, qos, _ in self.seen:
                if name == topic and fits(content):
                    assert qos == 1
                    return content
            try:
                self.seen.append(self.messages.get(timeout=max(0.01, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"nothing fitting came on {topic}; {[entry[:2] for entry in self.seen]}") from None


@contextmanager
def subscribed(port: int, **tls: Any) -> Iterator[Subscriber]:
    """Listens to all topics."""
    mqtt = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    found = Subscriber()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="the-test")
    client.on_connect = lambda *given: client.subscribe("#", qos=1)
    client.on_message = lambda _client, _data, message: found.messages.put(
        (message.topic, json.loads(message.payload), message.qos, message.retain)
    )
    if tls:
        client.tls_set(**tls)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield found
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    if _MOSQUITTO is None:
        pytest.skip("mosquitto is not installed (Debian's package mosquitto)")
    started: list[Broker] = []

    def make(more: str = "", start: bool = True) -> Broker:
        directory = tmp_path / f"mosquitto{len(started)}"
        directory.mkdir()
        broker = Broker(directory, free_port(), more)
        started.append(broker)
        if start:
            broker.start()
        return broker

    yield make
    for broker in started:
        broker.stop()


class EndingAgent(agent.Agent):
    """Tells of the end of each flow too."""

    def said(self) -> bytes:
        return super().said() + agent.framed(self._ends())

    def _ends(self) -> list[dict[str, Any]]:
        now = int(time.time() * 1000)
        return [
            {
                "type": "flow_purge",
                "reason": "closed",
                "interface": "lo",
                "internal": True,
                "established": False,
                "flow": {
                    "digest": f"{number:040x}",
                    "last_seen_at": now,
                    "local_bytes": 0,
                    "other_bytes": 0,
                    "local_packets": 0,
                    "other_packets": 0,
                    "total_bytes": flow[7] + flow[8],
                    "total_packets": 14,
                },
            }
            for number, flow in enumerate(agent.FLOWS)
        ]


@pytest.fixture
def agent_socket(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "netifyd.sock"
    with EndingAgent(path):
        yield path
