"""The engine is killed at random moments while alerts come in: each counts once, none is lost, no ban either."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpi_dual import config_edit
from lab import crowdsec
from lab.crowdsec import LocalApi, running_crowdsec
from lab.engine import ROOT, RunningEngine, answers, running_engine
from lab.waiting import eventually

#: How often; `DPI_DUAL_KILLS=200 pytest tests/correlation/test_kill.py` for longer.
KILLS = int(os.environ.get("DPI_DUAL_KILLS", "15"))
ADDRESSES = 40
#: For what will happen, however slow the machine.
PATIENCE_S = 120.0


def event(number: int) -> dict[str, Any]:
    """An alert that adds nothing to a reputation."""
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


def grave(number: int) -> dict[str, Any]:
    """Every tenth comes from an address of its own, which crosses the threshold with it."""
    if number % 10:
        return event(number)
    return {**event(number), "event": "scanner", "client_ip": f"2001:db8:{number // 10:x}::7", "threat_score": 90}


class Analyser:
    """Sends numbered alerts and sends again what was not acknowledged, as the analyser's spool does."""

    def __init__(self, directory: Path, event: Callable[[int], dict[str, Any]] = event) -> None:
        self._event = event
        directory.mkdir(0o750)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / "analyser.sock"))
        self._listener.listen(4)
        self._listener.settimeout(0.1)
        self.acknowledged = 0
        self.produced = 0
        self.most = 1 << 30
        """How many there may be so far: what CrowdSec's queue and the kept records hold is bounded."""
        self.stop = threading.Event()
        self.finish = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

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
                self.produced = max(self.produced, min(sent + 3, self.acknowledged + 60, self.most))
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
    deadline = time.monotonic() + PATIENCE_S
    while not answers(socket_path):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    return process


def _progress(analyser: Analyser) -> None:
    """Waits until the engine took something since."""
    before = analyser.acknowledged
    eventually("alerts are acknowledged", lambda: analyser.acknowledged > before)


def _all_taken(analyser: Analyser, engine: RunningEngine) -> int:
    """How many alerts there were, once the engine has all of them."""
    analyser.finish.set()
    eventually("all alerts are acknowledged", lambda: analyser.acknowledged >= analyser.produced)
    produced = analyser.produced
    assert analyser.acknowledged == produced > KILLS
    # what the last kill left is taken in after the start
    eventually("all events are counted", lambda: engine.call("dpi.correlator", "stats")["events"] >= produced)
    return produced


def test_each_alert_counts_once_whenever_the_engine_is_killed(tmp_path: Path) -> None:
    chance = random.Random(1)
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
                _progress(analyser)
                time.sleep(chance.uniform(0, 0.05))
                process.kill()
                process.wait()
                process = _start(engine, log)
            produced = _all_taken(analyser, engine)
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


class ByHand(threading.Thread):
    """Somebody who bans an address while the engine may be killed."""

    def __init__(self, engine: RunningEngine, ip: str) -> None:
        super().__init__(daemon=True)
        self.ip = ip
        self.answer: dict[str, Any] = {}
        self._engine = engine
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._engine.call("dpi.correlator", "ban", ip=self.ip, duration="1h")
        except (OSError, ValueError):
            pass  # the engine was killed before it answered: nothing was promised


@pytest.mark.skipif(bool(crowdsec.missing()), reason=crowdsec.missing())
def test_no_ban_that_was_reported_or_due_is_lost_whenever_the_engine_is_killed(tmp_path: Path) -> None:
    chance = random.Random(2)
    with running_crowdsec() as api:
        api.add_machine("router", "only-for-this-test")
        uci = (
            f"config mitm 'mitm'\n\toption buffer_dir '{tmp_path}/buffer'\n"
            "config correlation 'correlation'\n\toption sensitivity 'custom'\n\toption reputation_decay '0'\n"
            "\toption auto_ban '1'\n\toption auto_ban_threshold '80'\n"
            "config scoring 'scoring'\n\toption waf_alert '0'\n\toption scanner '100'\n"
            f"config crowdsec 'crowdsec'\n\toption url '{api.url}'\n\toption machine_id 'router'\n"
        )
        with running_engine(uci) as engine, (tmp_path / "log").open("wb") as log:
            key = api.add_bouncer("router")
            config_edit.write(
                {"secrets.crowdsec": {"password": "only-for-this-test", "bouncer_key": key}},
                str(engine.directory / "config"),
                notify=False,
            )
            process: subprocess.Popen[bytes] = engine.process
            process.kill()
            process.wait()
            process = _start(engine, log)
            analyser = Analyser(tmp_path / "buffer", grave)
            analyser.most = 0
            by_hand: list[ByHand] = []
            try:
                for number in range(KILLS):
                    analyser.most = 20 * (number + 1)
                    _progress(analyser)
                    by_hand.append(ByHand(engine, f"203.0.113.{number % 255}"))
                    if number % 2:
                        by_hand[-1].join(PATIENCE_S)  # killed as soon as it said that the ban is made
                    else:
                        time.sleep(chance.uniform(0, 0.15))
                    process.kill()
                    process.wait()
                    process = _start(engine, log)
                produced = _all_taken(analyser, engine)
                for somebody in by_hand:
                    somebody.join(PATIENCE_S)
                # One that nobody disturbs is among them whatever the moments of the kills.
                by_hand.append(ByHand(engine, "203.0.113.255"))
                by_hand[-1].join(PATIENCE_S)
                eventually(
                    "nothing waits for CrowdSec",
                    lambda: engine.call("dpi.correlator", "stats")["crowdsec"]["queued"] == 0,
                )
                due = [f"2001:db8:{number:x}::/64" for number in range(1, produced // 10 + 1)]
                records = _records(engine, type="scanner")
            finally:
                analyser.close()
                process.terminate()
                process.wait(20)
        reported = {somebody.ip for somebody in by_hand if somebody.answer.get("ok") is True}
        assert "203.0.113.255" in reported, by_hand[-1].answer
        held = _decisions(api)
        assert {*due, *reported} <= held
        assert [record["state"] for record in records] == ["crowdsec_ban"] * len(due)
        alerts = json.loads(api.cscli("alerts", "list", "-a", "-l", "0", "-o", "json"))
        scanners = Counter(alert["source"]["value"] for alert in alerts if alert["scenario"] == "dpi-dual/scanner")
        assert scanners == Counter(due)
        print(f"{KILLS} kills: {len(due)} bans due and made, {len(reported)} of {len(by_hand)} by hand reported")


def _decisions(api: LocalApi) -> set[str]:
    """Whom any bouncer would be told to ban."""
    request = urllib.request.Request(f"{api.url}/v1/decisions", headers={"X-Api-Key": api.add_bouncer("somebody")})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return {decision["value"] for decision in json.load(answer) or []}


def _rules(engine: RunningEngine) -> list[str]:
    return [record["rule"] for record in _records(engine)]


def _records(engine: RunningEngine, **wanted: Any) -> list[dict[str, Any]]:
    """Every record, page by page."""
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next": ""}
    while "next" in page:
        page = engine.call("dpi.correlator", "timeline", limit=500, before=page["next"], **wanted)
        found += page["threats"]
    return found
