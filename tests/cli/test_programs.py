"""The programs without an engine: what they say, where, and how they end."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import dpi_dual
from lab.waiting import PATIENCE_S
from tests.cli import programs

Run = Callable[..., subprocess.CompletedProcess[str]]
NAMES = ("dpi-dualctl", "dpi-flow-collector", "dpi-lan-collector", "dpi-correlator")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return programs.place(tmp_path)


@pytest.fixture
def run(env: dict[str, str]) -> Run:
    return lambda program, *argv: programs.run(env, program, *argv)


@pytest.mark.parametrize("name", [*NAMES, "dpi-duald"])
def test_version(run: Run, name: str) -> None:
    done = run(name, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{name} {dpi_dual.__version__}\n", "")


@pytest.mark.parametrize("name", NAMES)
def test_help_names_every_command_and_the_exit_codes(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert "exit codes:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 88
    assert run(name).returncode == 2
    assert run(name).stderr == done.stdout


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("dpi-dualctl", ["flows", "--help"]),
        ("dpi-dualctl", ["help", "mirror", "start"]),
        ("dpi-dualctl", ["--help", "clients"]),
        ("dpi-flow-collector", ["start", "--help"]),
        ("dpi-flow-collector", ["--help", "start"]),
        ("dpi-lan-collector", ["once", "-h"]),
    ],
)
def test_help_of_a_command(run: Run, name: str, argv: list[str]) -> None:
    done = run(name, *argv)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name} ")


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--json"], "dpi-dualctl: a command is missing"),
        (["flwos"], "dpi-dualctl: there is no command 'flwos'; did you mean 'flows'?"),
        (["mirror", "begin"], "dpi-dualctl mirror: begin is not known here"),
        (["--limit", "3", "flows"], "dpi-dualctl: --limit is not known before a command; options follow the command"),
        (["\x1b[31m"], "dpi-dualctl: there is no command '\\x1b[31m'"),
        (["flows", "--limit", "501"], "dpi-dualctl flows: argument --limit: 501 is not between 1 and 500"),
    ],
)
def test_wrong_usage(run: Run, argv: list[str], complaint: str) -> None:
    done = run("dpi-dualctl", *argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == complaint
    assert "--help'" in done.stderr.splitlines()[1]


def test_status_without_an_engine_says_what_is_known(run: Run) -> None:
    done = run("dpi-dualctl", "status")
    assert done.returncode == 3
    assert done.stderr.startswith("dpi-dualctl status: the engine does not run")
    assert "dpi-dualctl start" in done.stderr
    assert "mode tap-only" in done.stdout
    assert "\x1b" not in done.stdout


def test_json_is_the_answer_itself(run: Run) -> None:
    done = run("dpi-dualctl", "--json", "status")
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert answer["engine"] == "down"
    assert answer["mode"] == "tap-only"
    assert answer["lan_passive"]["interface"] == "lo"


def test_health_without_an_engine(run: Run) -> None:
    done = run("dpi-dualctl", "health")
    assert done.returncode == 3
    assert done.stdout.startswith("Not well: ")
    assert "dpi-dualctl start" in done.stdout


def test_what_needs_the_engine_is_refused_with_what_to_do(run: Run) -> None:
    done = run("dpi-dualctl", "client", "nas")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("dpi-dualctl client: dpi.lan client needs the engine")
    assert "dpi-dualctl start" in done.stderr
    as_json = run("dpi-dualctl", "client", "nas", "--json")
    assert as_json.returncode == 3
    assert json.loads(as_json.stdout)["code"] == "engine_down"


def test_start_without_an_init_script(run: Run) -> None:
    done = run("dpi-dualctl", "start")
    assert (done.returncode, done.stdout) == (4, "")
    assert "no-init-script is not there" in done.stderr


def test_version_needs_no_engine(run: Run) -> None:
    assert run("dpi-dualctl", "version").returncode == 0


@pytest.mark.parametrize("name", NAMES[1:3])
def test_once_without_an_engine_prints_the_last_aggregate(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "stats").mkdir()
    file, key = (
        ("dpi-flows.json", "flows_1min") if name == "dpi-flow-collector" else ("lan-flows.json", "active_clients")
    )
    (tmp_path / "stats" / file).write_text(json.dumps({"timestamp": "2026-01-01T00:00:00Z", key: 7}))
    done = run(name, "once")
    assert done.returncode == 3
    aggregate = json.loads(done.stdout)
    assert aggregate[key] == 7
    assert "total" not in aggregate
    if name == "dpi-lan-collector":
        assert {"clients", "destinations", "protocols"} <= aggregate.keys()


def _start(env: dict[str, str], *argv: str, out: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", str(programs.ROOT / "sbin" / "dpi-dualctl"), *argv]
    return subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.PIPE)


def test_a_reader_that_goes_away_ends_it_quietly(env: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = _start(env, "status", out=writer)
    os.close(writer)
    assert b"Traceback" not in process.communicate(timeout=30)[1]
    assert process.returncode == 141


def test_a_full_disk_is_said(env: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        process = _start(env, "status", out=full.fileno())
    assert b"the output cannot be written: No space left" in process.communicate(timeout=30)[1]
    assert process.returncode == 4


def test_watch_elsewhere_prints_again_and_again(env: dict[str, str]) -> None:
    process = _start(env, "status", "--watch", "0.1", "--json", out=subprocess.PIPE)
    assert process.stdout is not None
    answers = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert all(answer["engine"] == "down" for answer in answers)
    assert process.returncode == 3


def _read_until(terminal: int, wanted: bytes, seen: bytes = b"") -> bytes:
    deadline = time.monotonic() + PATIENCE_S
    while wanted not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                break
    assert wanted in seen
    return seen


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_watch_on_a_terminal_leaves_it_as_it_was(env: dict[str, str], ending: signal.Signals) -> None:
    ours, theirs = pty.openpty()
    process = _start(env, "status", "--watch", "0.1", out=theirs)
    os.close(theirs)
    seen = _read_until(ours, b"\x1b[?1049h")
    seen = _read_until(ours, b"Correlation", seen)
    assert b"Ctrl-C ends" in seen
    process.send_signal(ending)
    seen = _read_until(ours, b"\x1b[?7h\x1b[?25h\x1b[?1049l", seen)
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == (3 if ending == signal.SIGINT else 128 + ending)
    os.close(ours)


def test_no_colour_when_told(env: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    process = _start({**env, "NO_COLOR": "1"}, "status", out=theirs)
    os.close(theirs)
    seen = _read_until(ours, b"Correlation")
    process.communicate(timeout=30)
    os.close(ours)
    assert b"\x1b" not in seen


def test_colours_on_a_terminal(env: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    process = _start({key: value for key, value in env.items() if key != "NO_COLOR"}, "status", out=theirs)
    os.close(theirs)
    seen = _read_until(ours, b"Correlation")
    process.communicate(timeout=30)
    os.close(ours)
    assert b"\x1b[1m" in seen


@pytest.mark.parametrize("argv", [[], ["begin"]])
def test_mirror_setup_usage(env: dict[str, str], argv: list[str]) -> None:
    script = programs.ROOT / "lib" / "mirror-setup.sh"
    done = subprocess.run([script, *argv], env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "start|stop|restart|status" in done.stderr


def test_mirror_setup_calls_dualctl(env: dict[str, str], tmp_path: Path) -> None:
    ctl = tmp_path / "ctl"
    ctl.write_text('#!/bin/sh\necho "$*"\n')
    ctl.chmod(0o755)
    script = programs.ROOT / "lib" / "mirror-setup.sh"

    def said(*argv: str) -> str:
        env_with = {**env, "DPI_DUALCTL": str(ctl)}
        return subprocess.run(
            [script, *argv], env=env_with, capture_output=True, text=True, timeout=30, check=True
        ).stdout

    assert said("start") == "mirror start\n"
    assert said("status", "--json") == "mirror status --json\n"
    assert said("restart") == "mirror start\n"


@pytest.mark.parametrize("action", ["start", "restart"])
def test_what_is_switched_off_says_so_and_how_to_switch_it_on(run: Run, env: dict[str, str], action: str) -> None:
    """The init script starts nothing then: who waits for an engine waits for nothing."""
    init, asked = Path(env["DPI_DUAL_INIT"]), Path(env["DPI_DUAL_INIT"]).with_name("asked")
    init.write_text(f"#!/bin/sh\necho $1 >>{asked}\n")
    init.chmod(0o755)
    settings = Path(env["DPI_DUAL_CONFIG_DIR"]) / "dpi-dual"
    settings.write_text(settings.read_text().replace("'settings'\n", "'settings'\n\toption enabled '0'\n"))
    done = run("dpi-dualctl", action)
    assert done.returncode == 4
    assert "switched off (dpi-dual.settings.enabled is 0)" in done.stderr
    assert "uci set dpi-dual.settings.enabled=1" in done.stderr
    assert asked.exists() is (action == "restart")  # what ran under the settings before is stopped
    for known in ("status", "clients"):
        assert "Switch it on: uci set" in run("dpi-dualctl", known).stderr
