"""The programs with a real engine behind them, which a DPI agent's messages have given something to show."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.waiting import PATIENCE_S
from tests.cli import agent, programs

Run = Callable[..., subprocess.CompletedProcess[str]]


def _await(true: Callable[[], bool], what: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"no {what} in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An engine with the LAN part on `lo`, once it knows both clients; the environment to ask it in."""
    folder = tmp_path_factory.mktemp("suite")
    env = programs.place(folder)
    socket = Path(env["DPI_DUAL_NETIFYD_SOCKET"])
    with agent.Agent(socket):
        command = [sys.executable, "-I", str(programs.ROOT / "sbin" / "dpi-duald")]
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

        def knows_all() -> bool:
            answer = json.loads(programs.run(env, "dpi-dualctl", "lan", "flows", "--json").stdout)
            return len([flow for flow in answer["flows"] if flow["total_bytes"]]) == len(agent.FLOWS)

        try:
            _await(knows_all, "flows", process)
            yield env
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=60)[0] is None
        assert process.returncode == 0


@pytest.fixture
def run(env: dict[str, str]) -> Run:
    return lambda program, *argv: programs.run(env, program, *argv)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    assert all(line.isprintable() for line in done.stdout.split("\n"))
    assert all(len(line) <= 80 for line in done.stdout.split("\n") if "--before" not in line)
    return done.stdout


def test_status(run: Run) -> None:
    said = _said(run("dpi-dualctl", "status"))
    assert "LAN          running   lo, 2 clients" in said
    assert "up " in said.splitlines()[0]


def test_clients_and_their_order(run: Run) -> None:
    said = _said(run("dpi-dualctl", "clients"))
    rows = said.splitlines()
    assert "192.168.1.100" in rows[1]
    assert "903 kB" in rows[1]
    assert "192.168.1.101" in rows[2]
    page = run("dpi-dualctl", "clients", "--limit", "1")
    assert page.stdout.splitlines()[-2] == "1 of 2; the next page:"
    following = page.stdout.splitlines()[-1].split()
    assert following[:4] == ["dpi-dualctl", "clients", "--limit", "1"]
    assert "192.168.1.101" in run(*following).stdout


def test_one_client(run: Run) -> None:
    said = _said(run("dpi-dualctl", "client", "fdaa:1::101"))
    assert "address     192.168.1.101" in said
    assert "02:00:5e:00:01:65" in said
    assert "DNS" in said
    strange = run("dpi-dualctl", "client", "nobody")
    assert (strange.returncode, strange.stdout) == (4, "")
    assert "nobody" in strange.stderr


def test_destinations_are_harmless(run: Run) -> None:
    said = _said(run("dpi-dualctl", "destinations"))
    assert "www.youtube.com" in said
    assert "evil.example" in said
    only = _said(run("dpi-dualctl", "destinations", "--search", "youtube"))
    assert "evil" not in only
    assert _said(run("dpi-dualctl", "destinations", "--search", "nothing-like-it")) == "Nothing fits.\n"


@pytest.mark.parametrize(
    "words", ["lan", "lan flows", "lan history", "protocols", "applications", "flows", "buffer", "alerts", "version"]
)
def test_the_others(run: Run, words: str) -> None:
    assert _said(run("dpi-dualctl", *words.split()))


def test_health_counts_and_names_the_agent(run: Run) -> None:
    done = run("dpi-dualctl", "health")
    assert done.returncode in (0, 1)
    assert done.returncode == (0 if json.loads(run("dpi-dualctl", "health", "--json").stdout)["ok"] else 1)
    assert "connected" in done.stdout
    assert "netifyd 4.4.7" in done.stdout


def test_a_refusal_of_the_engine_is_an_error(run: Run) -> None:
    done = run("dpi-dualctl", "mirror", "start")
    assert (done.returncode, done.stdout) == (4, "")
    assert "dpi-dual.tap.enabled" in done.stderr


def test_json_is_what_the_socket_says(run: Run) -> None:
    answer = json.loads(_said(run("dpi-dualctl", "protocols", "--json", "--limit", "500")))
    assert {row["protocol"] for row in answer["protocols"]} >= {"DNS", "TLS"}


def test_lan_collector_once(run: Run) -> None:
    aggregate = json.loads(run("dpi-lan-collector", "once").stdout)
    assert aggregate["mode"] == "lan_passive"
    assert len(aggregate["clients"]) == 2
    assert {"destinations", "protocols"} <= aggregate.keys()


def test_flow_collector_once(run: Run) -> None:
    aggregate = json.loads(run("dpi-flow-collector", "once").stdout)
    assert aggregate["mode"] == "passive_tap"
    assert not {"flows", "total", "next"} & aggregate.keys()


def test_watch_shows_the_running_engine(env: dict[str, str]) -> None:
    command = [sys.executable, "-I", str(programs.ROOT / "sbin" / "dpi-lan-collector"), "clients", "--watch", "0.1"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    titles = [line for line in (process.stdout.readline() for _ in range(9)) if line.startswith("Client")]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == 0
    assert len(titles) >= 2


def test_a_second_engine_is_refused(run: Run) -> None:
    done = run("dpi-lan-collector", "start")
    assert done.returncode == 1
    assert "dpi-dualctl stop" in done.stderr


def test_a_collector_alone_runs_its_part_until_it_is_told(tmp_path: Path) -> None:
    env = programs.place(tmp_path)
    command = [sys.executable, "-I", str(programs.ROOT / "sbin" / "dpi-lan-collector"), "start"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def runs() -> bool:
        return programs.run(env, "dpi-lan-collector", "status").returncode == 0

    _await(runs, "LAN part", process)
    status = json.loads(programs.run(env, "dpi-dualctl", "status", "--json").stdout)
    assert status["lan_passive"]["running"]
    assert not status["tap_stream"]["running"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
