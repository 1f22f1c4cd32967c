"""The engine is killed at random moments while alerts come in: each counts once, none is lost."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lab.engine import ROOT, RunningEngine, running_engine

#: How often; `DPI_DUAL_KILLS=200 pytest tests/correlation/test_kill.py` for longer.
KILLS = int(os.environ.get("DPI_DUAL_KILLS", "30"))
ADDRESSES = 40


class Analyser:
    """Sends numbered alerts and sends again what was not acknowledged, as the analyser's spool does."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(0o750)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / "analyser.sock"))
        self._listener.listen(4)
        self._listener.settimeout(0.1)
        self.acknowledged = 0
        self.produced = 0
        self.stop = threading.Event()
        self.finish = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _event(self, number: int) -> dict[str, Any]:
        return {
            "n": number,
            "id": f"kill-{number:07d}",
            "at": time.time(),
            "event": "waf_alert",
            "client_ip": f"198.51.100.{number % ADDRESSES}",
            "client_port": 0,
            "host": "www.example.com",
            "path": "/",
            "method": "GET",
            "threat_score": 40,
            "categories": ["sqli"],
            "blocked": False,
            "rule": f"rule-{number}",
            "rules": [],
        }

    def _serve(self) -> None:
        while not self.stop.is_set():
            try:
                link, _ = self._listener.accept()
            except TimeoutError:
                continue
            with link:
                link.settimeout(0.01)
                try:
                    self._talk(link)
                except OSError:
                    continue  # the engine was killed

    def _talk(self, link: socket.socket) -> None:
        buffered = b""
        sent = self.acknowledged
        while not self.stop.is_set():
            if not self.finish.is_set():
                self.produced = max(self.produced, min(sent + 3, self.acknowledged + 60))
            if sent < self.produced:
                events = [self._event(number) for number in range(sent + 1, self.produced + 1)][:50]
                link.sendall(json.dumps({"stream": "kill", "events": events}).encode() + b"\n")
                sent += len(events)
            try:
                data = link.recv(65536)
            except TimeoutError:
                continue
            if not data:
                return
            *lines, buffered = (buffered + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "ack" in message:
                    self.acknowledged = max(self.acknowledged, message["ack"])

    def close(self) -> None:
        self.stop.set()
        self._thread.join(10)
        self._listener.close()


def _start(engine: RunningEngine, log: Any) -> subprocess.Popen[bytes]:
    socket_path = engine.directory / "run" / "engine.sock"
    socket_path.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, ROOT / "sbin" / "dpi-duald"], env=engine.environment, stdout=log, stderr=log
    )
    deadline = time.monotonic() + 30
    while not socket_path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("seed", [1])
def test_each_alert_counts_once_whenever_the_engine_is_killed(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    analyser = Analyser(tmp_path / "buffer")
    uci = (
        f"config mitm 'mitm'\n\toption buffer_dir '{tmp_path}/buffer'\n"
        "config correlation 'correlation'\n\toption sensitivity 'custom'\n\toption reputation_decay '0'\n"
        "config scoring 'scoring'\n\toption waf_alert '0'\n"
    )
    with running_engine(uci) as engine, (tmp_path / "log").open("wb") as log:
        process: subprocess.Popen[bytes] = engine.process
        try:
            for _ in range(KILLS):
                before = analyser.acknowledged
                deadline = time.monotonic() + 20
                while analyser.acknowledged == before and time.monotonic() < deadline:
                    time.sleep(0.005)
                time.sleep(chance.uniform(0, 0.05))
                process.kill()
                process.wait()
                process = _start(engine, log)
            analyser.finish.set()
            deadline = time.monotonic() + 30
            while analyser.acknowledged < analyser.produced and time.monotonic() < deadline:
                time.sleep(0.05)
            produced = analyser.produced
            assert analyser.acknowledged == produced > KILLS
            deadline = time.monotonic() + 10  # what the last kill left is taken in after the start
            while engine.call("dpi.correlator", "stats")["events"] < produced and time.monotonic() < deadline:
                time.sleep(0.05)
            stats = engine.call("dpi.correlator", "stats")
            assert stats["events"] == stats["threats"] == produced
            rules = _rules(engine)
            assert len(rules) == len(set(rules)) == min(produced, stats["threats_kept"])
            counted = engine.call("dpi.correlator", "reputation", ip="198.51.100.1")["events"]
            assert counted == sum(number % ADDRESSES == 1 for number in range(1, produced + 1))
        finally:
            analyser.close()
            process.terminate()
            process.wait(20)


def _rules(engine: RunningEngine) -> list[str]:
    """The rule of every record, page by page."""
    found: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while "next" in page:
        page = engine.call("dpi.correlator", "timeline", limit=500, before=page["next"])
        found += [record["rule"] for record in page["threats"]]
    return found
