"""The engine as a process: starts what the settings ask for, reloads in place, stops clean, one at a time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dpi_dual import config, paths
from dpi_dual.engine.service import agent_sockets
from lab.engine import ROOT, RunningEngine, running_engine
from lab.waiting import eventually

BOTH = frozenset({"tap", "lan"})


def _settings(tmp_path: Path, text: str) -> config.Settings:
    (tmp_path / "dpi-dual").write_text(text)
    return config.load(str(tmp_path))


class _Agent:
    """A DPI agent that takes one connection and announces flows."""

    def __init__(self, path: Path) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(1)
        self._server.settimeout(20)

    def __enter__(self) -> _Agent:
        self._peer, _ = self._server.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self._peer.close()
        self._server.close()

    def announce(self, interface: str, digest: str) -> None:
        now = int(time.time() * 1000)
        ends = {"local_ip": "192.168.1.2", "local_port": 4000, "other_ip": "198.51.100.7", "other_port": 443}
        flow = {"digest": digest, "first_seen_at": now, "last_seen_at": now, "ip_version": 4, "ip_protocol": 6, **ends}
        line = json.dumps({"type": "flow", "interface": interface, "flow": flow}).encode() + b"\n"
        self._peer.sendall(b'{"length": %d}\n%b' % (len(line), line))


def _parts(engine: RunningEngine) -> set[str]:
    return set(engine.call("dpi.status", "health")["parts"])


class TestAgentSockets:
    """Which sockets the engine reads, by what UCI says and what is there."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(paths, "NETIFYD_SOCKET", str(tmp_path / "netifyd.sock"))

    def test_one_agent_serves_both_streams(self, tmp_path: Path) -> None:
        assert agent_sockets(_settings(tmp_path, ""), BOTH) == {"netifyd": f"{tmp_path}/netifyd.sock"}

    def test_an_instance_of_its_own_is_preferred_once_it_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "netifyd-tap.sock").touch()
        found = agent_sockets(_settings(tmp_path, ""), BOTH)
        assert found == {"netifyd": f"{tmp_path}/netifyd.sock", "tap": f"{tmp_path}/netifyd-tap.sock"}

    def test_a_configured_socket_wins(self, tmp_path: Path) -> None:
        (tmp_path / "netifyd-lan.sock").touch()
        settings = _settings(tmp_path, "config lan 'lan'\n\toption netifyd_socket '/run/other.sock'\n")
        assert agent_sockets(settings, BOTH)["lan"] == "/run/other.sock"

    def test_the_same_configured_socket_is_read_once(self, tmp_path: Path) -> None:
        one = "\toption netifyd_socket '/run/one.sock'\n"
        settings = _settings(tmp_path, f"config lan 'lan'\n{one}config tap 'tap'\n{one}")
        assert agent_sockets(settings, BOTH) == {"netifyd": "/run/one.sock"}

    def test_a_stream_that_is_off_needs_no_agent(self, tmp_path: Path) -> None:
        assert agent_sockets(_settings(tmp_path, ""), frozenset()) == {}


def test_the_engine_runs_what_the_settings_ask_for_and_stops_clean() -> None:
    with running_engine() as engine:
        status = engine.call("dpi.status", "status")
        assert status["engine"] == "running"
        assert status["lan_passive"]["running"]
        assert {"state", "series", "control", "tap", "lan", "mirror", "flow_log", "agent netifyd"} <= _parts(engine)
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(20) == 0
        assert not (engine.directory / "run" / "engine.sock").exists()
        assert (engine.directory / "state" / "state.db").exists()


def test_a_reload_starts_and_stops_parts_and_the_process_stays() -> None:
    with running_engine() as engine:
        file = engine.directory / "config" / "dpi-dual"
        before = engine.call("dpi.status", "status")["started_at"]
        text = file.read_text()
        file.write_text(text + "config global 'settings'\n\toption mode 'mitm-only'\n")
        engine.process.send_signal(signal.SIGHUP)
        eventually("the TAP stream stops", lambda: "tap" not in _parts(engine))
        assert "lan" in _parts(engine)
        assert engine.call("dpi.status", "status")["mode"] == "mitm-only"
        refused = engine.call("dpi.status", "mirror_start")
        assert refused["code"] == "tap_off"
        file.write_text(text)
        engine.process.send_signal(signal.SIGHUP)
        eventually("the TAP stream starts", lambda: {"tap", "mirror"} <= _parts(engine))
        assert engine.call("dpi.status", "status")["started_at"] == before


def test_a_reload_while_the_engine_starts_does_not_end_it() -> None:
    with running_engine() as engine:
        engine.process.terminate()
        engine.process.wait(20)
        again = subprocess.Popen([sys.executable, ROOT / "sbin" / "dpi-duald"], env=engine.environment)
        try:
            blocked = f"/proc/{again.pid}/status"
            eventually("it begins", lambda: int(Path(blocked).read_text().split("SigBlk:")[1].split()[0], 16) & 1 == 1)
            again.send_signal(signal.SIGHUP)
            eventually("the engine answers", lambda: _answers(engine))
        finally:
            again.terminate()
            assert again.wait(20) == 0


def test_another_lan_interface_is_watched_after_a_reload() -> None:
    with running_engine() as engine, _Agent(engine.directory / "agent.sock") as agent:
        agent.announce("br-lan", "a" * 40)
        eventually("the flow on br-lan is there", lambda: engine.call("dpi.lan", "flows")["total"] == 1)
        agent.announce("br-guest", "b" * 40)
        eventually("it is ignored", lambda: "br-guest" in engine.call("dpi.status", "health")["agents"][0]["ignored"])
        file = engine.directory / "config" / "dpi-dual"
        file.write_text(file.read_text() + "config lan 'lan'\n\tlist interface 'br-guest'\n")
        engine.process.send_signal(signal.SIGHUP)
        eventually(
            "it is reloaded", lambda: "br-guest" in engine.call("dpi.status", "status")["lan_passive"]["interface"]
        )
        agent.announce("br-guest", "c" * 40)
        eventually("the flow on br-guest is there", lambda: engine.call("dpi.lan", "flows")["total"] == 2)


def test_a_bad_value_is_named_in_health_and_the_engine_runs() -> None:
    with running_engine("config tap 'tap'\n\toption flow_retention 'abc'\n") as engine:
        messages = [problem["message"] for problem in engine.call("dpi.status", "health")["problems"]]
        wanted = "dpi-dual.tap.flow_retention: 'abc' is not a number of seconds; using 300"
        assert any(message.startswith(wanted) for message in messages), messages


def test_disabled_means_nothing_runs_but_questions_are_answered() -> None:
    with running_engine("config global 'settings'\n\toption enabled '0'\n") as engine:
        assert _parts(engine) == {"control", "state", "series"}
        assert engine.call("dpi.status", "status")["enabled"] is False


def test_a_second_engine_is_refused_and_the_first_goes_on() -> None:
    with running_engine() as engine:
        second = subprocess.run(
            [sys.executable, ROOT / "sbin" / "dpi-duald"],
            env=engine.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert second.returncode == 1
        assert f"process {engine.process.pid}" in second.stderr
        assert engine.call("dpi.status", "version")["engine"] == "running"


def test_a_killed_engine_leaves_nothing_that_stops_the_next() -> None:
    with running_engine() as engine:
        engine.process.kill()
        engine.process.wait()
        again = subprocess.Popen([sys.executable, ROOT / "sbin" / "dpi-duald"], env=engine.environment)
        try:
            eventually("the next engine answers", lambda: _answers(engine))
        finally:
            again.terminate()
            assert again.wait(20) == 0


def _answers(engine: RunningEngine) -> bool:
    try:
        return bool(engine.call("dpi.status", "version")["engine"] == "running")
    except OSError:
        return False


def test_snapshots_are_there_with_their_keys() -> None:
    wanted = {
        "dpi-flows.json": "timestamp flows_1min tap_interface rx_bytes tx_bytes rx_packets tx_packets protocols "
        "applications top_talkers mode",
        "lan-flows.json": "timestamp mode interface active_clients unique_destinations detected_protocols rx_bytes "
        "tx_bytes rx_packets tx_packets rx_rate_bps tx_rate_bps",
        "lan-clients.json": "timestamp clients",
        "lan-destinations.json": "timestamp destinations",
        "lan-protocols.json": "timestamp protocols",
    }
    with running_engine() as engine:
        stats = engine.directory / "stats"
        eventually("all snapshots are written", lambda: all((stats / name).exists() for name in wanted))
        for name, keys in wanted.items():
            assert set(keys.split()) <= set(json.loads((stats / name).read_text())), name
            assert os.stat(stats / name).st_mode & 0o777 == 0o640
