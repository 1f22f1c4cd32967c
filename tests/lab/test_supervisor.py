"""Services are kept running, stopped, killed and started as procd would, and obey the socket."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.supervisor import RESPAWN_S, TERM_TIMEOUT_S, ControlSocket, Process, Supervisor, order
from lab.waiting import PATIENCE_S

from .conftest import ROOT


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def supervisor(clock: Clock) -> Iterator[Supervisor]:
    said: list[str] = []
    supervisor = Supervisor(said.append, clock)
    yield supervisor
    for service in supervisor.services.values():
        if service.process is not None and service.process.poll() is None:
            service.process.kill()
            service.process.wait()


def sleeper(*, deaf: bool = False) -> Process:
    """A process that does nothing; a deaf one ignores SIGTERM. It has its signal handler when this returns."""
    text = "import signal,sys,time\n"
    text += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if deaf else ""
    text += "print('ready', flush=True)\ntime.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


def wait_for_end(process: Process) -> None:
    process.wait(timeout=PATIENCE_S)


def pid_of(supervisor: Supervisor, name: str = "one") -> int:
    process = supervisor.services[name].process
    assert process is not None
    return process.pid


def test_a_service_that_dies_is_started_again_after_a_delay(supervisor: Supervisor, clock: Clock) -> None:
    service = supervisor.add("one", sleeper)
    clock.now += 60
    first = pid_of(supervisor)
    os.kill(first, signal.SIGKILL)
    assert service.process is not None
    wait_for_end(service.process)
    supervisor.tick()
    assert list(supervisor.unexpected) == ["one was killed by SIGKILL"]
    clock.now += RESPAWN_S[0] - 0.1
    supervisor.tick()
    assert not service.running
    clock.now += 0.2
    supervisor.tick()
    assert service.running
    assert pid_of(supervisor) != first
    assert service.restarts == 1


def test_one_that_dies_again_and_again_is_started_ever_more_slowly(supervisor: Supervisor, clock: Clock) -> None:
    service = supervisor.add("one", lambda: subprocess.Popen(["sh", "-c", "exit 3"]))
    delays = []
    for _ in range(4):
        assert service.process is not None
        wait_for_end(service.process)
        supervisor.tick()
        assert service.respawn_at is not None
        delays.append(service.respawn_at - clock.now)
        clock.now = service.respawn_at
        supervisor.tick()
    assert delays == [RESPAWN_S[1], RESPAWN_S[2], RESPAWN_S[2], RESPAWN_S[2]]
    assert supervisor.unexpected[0] == "one ended with 3"


def test_a_service_that_cannot_be_started_is_tried_again(supervisor: Supervisor, clock: Clock) -> None:
    service = supervisor.add("one", lambda: subprocess.Popen(["/nowhere/program"]))
    assert not service.running
    assert "could not be started" in supervisor.unexpected[0]
    service.start = sleeper
    clock.now += RESPAWN_S[-1]
    supervisor.tick()
    assert service.running


def test_stop_lasts_and_start_ends_it(supervisor: Supervisor, clock: Clock) -> None:
    service = supervisor.add("one", sleeper)
    assert service.process is not None
    supervisor.stop("one")
    wait_for_end(service.process)
    for _ in range(5):
        clock.now += 10
        supervisor.tick()
    assert not service.running
    assert not supervisor.unexpected
    supervisor.start("one")
    assert service.running
    assert service.restarts == 0
    pid = pid_of(supervisor)
    supervisor.start("one")
    assert pid_of(supervisor) == pid


def test_restart_waits_for_the_old_one(supervisor: Supervisor, clock: Clock) -> None:
    service = supervisor.add("one", sleeper)
    old = service.process
    assert old is not None
    supervisor.restart("one")
    assert service.process is old
    wait_for_end(old)
    supervisor.tick()
    assert service.running
    assert pid_of(supervisor) != old.pid
    assert service.restarts == 0


def test_one_that_does_not_end_is_killed(supervisor: Supervisor, clock: Clock) -> None:
    service = supervisor.add("one", lambda: sleeper(deaf=True))
    old = service.process
    assert old is not None
    supervisor.stop("one")
    clock.now += TERM_TIMEOUT_S - 0.1
    supervisor.tick()
    assert old.poll() is None
    clock.now += 0.2
    supervisor.tick()
    assert old.poll() == -signal.SIGKILL
    assert not service.running


def test_stop_all_ends_the_last_one_first_and_names_the_killed(supervisor: Supervisor, clock: Clock) -> None:
    supervisor.clock = time.monotonic
    ended: list[str] = []
    supervisor.add("first", lambda: sleeper(deaf=True))
    supervisor.add("second", sleeper)
    supervisor.tell = ended.append
    assert supervisor.stop_all() == ["first"]
    assert not any(service.running for service in supervisor.services.values())
    assert ended == ["first does not end; killing it"]


def test_one_that_ends_decently_while_all_is_ending_is_not_started_again(supervisor: Supervisor, clock: Clock) -> None:
    decent = supervisor.add("decent", lambda: subprocess.Popen(["true"]))
    crash = supervisor.add("crash", lambda: subprocess.Popen(["false"]))
    supervisor.ending = True
    for service in (decent, crash):
        assert service.process is not None
        wait_for_end(service.process)
    supervisor.tick()
    clock.now += RESPAWN_S[-1]
    supervisor.tick()
    assert (decent.restarts, crash.restarts) == (0, 1)
    assert list(supervisor.unexpected) == ["crash ended with 1"]


def test_reload_is_a_hangup(supervisor: Supervisor, tmp_path: Path) -> None:
    marker = tmp_path / "reloaded"
    text = f"import signal,sys,time,pathlib\nsignal.signal(1, lambda *_: pathlib.Path({str(marker)!r}).touch())\n"
    text += "print('ready', flush=True)\ntime.sleep(60)"
    service = supervisor.add("one", lambda: subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE))
    assert service.process is not None
    assert service.process.stdout is not None
    service.process.stdout.readline()
    supervisor.reload("one")
    deadline = time.monotonic() + PATIENCE_S
    while not marker.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert service.running
    service.process.stdout.close()


def test_orders_over_the_socket_and_from_the_init_script(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.sock"
    init = ROOT / "lab" / "bin" / "dpi-dual-init"

    def say(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [init, *arguments],
            env={**os.environ, "DPI_LAB_SUPERVISOR": str(path)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.returncode, done.stderr

    async def scenario() -> None:
        said: list[str] = []
        supervisor = Supervisor(said.append)
        control = ControlSocket(supervisor)
        service = supervisor.add("engine", sleeper)
        control.bind(path)
        await control.start()
        assert path.stat().st_mode & 0o777 == 0o600
        ticking = asyncio.ensure_future(supervisor.run())
        try:
            first = pid_of(supervisor, "engine")
            listed = await asyncio.to_thread(order, str(path), action="list")
            assert listed == {"services": {"engine": {"running": True, "pid": first, "restarts": 0}}}
            assert (await asyncio.to_thread(say, "running"))[0] == 0
            assert (await asyncio.to_thread(say, "restart"))[0] == 0
            while pid_of_or_none(supervisor) in (first, None):
                await asyncio.sleep(0.01)
            assert (await asyncio.to_thread(say, "stop"))[0] == 0
            while service.running:
                await asyncio.sleep(0.01)
            assert (await asyncio.to_thread(say, "running"))[0] == 1
            assert (await asyncio.to_thread(say, "start"))[0] == 0
            assert service.running
            assert (await asyncio.to_thread(say, "frob"))[0] == 1
            assert "no service" in (await asyncio.to_thread(order, str(path), service="x", action="stop"))["error"]
            assert "no action" in (await asyncio.to_thread(order, str(path), service="engine", action="x"))["error"]
            assert "not understood" in (await asyncio.to_thread(_raw, path, b"[]\n"))
            assert "not understood" in (await asyncio.to_thread(_raw, path, b"\xff\n"))
        finally:
            ticking.cancel()
            control.close()
            await asyncio.to_thread(supervisor.stop_all)

    asyncio.run(scenario())
    path.unlink(missing_ok=True)  # from Python 3.13 on the server does this itself
    code, complaint = say("start")
    assert code == 1
    assert "make run" in complaint


def pid_of_or_none(supervisor: Supervisor) -> int | None:
    process = supervisor.services["engine"].process
    return process.pid if process is not None and process.poll() is None else None


def _raw(path: Path, request: bytes) -> str:
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(path))
        connection.sendall(request)
        return connection.recv(65536).decode()
