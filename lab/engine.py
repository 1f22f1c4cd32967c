"""Starts a real engine in a directory of its own, for tests and measurements that need one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """A dpi-duald that runs, and the environment in which plugins and commands find it."""

    process: subprocess.Popen[bytes]
    directory: Path
    environment: dict[str, str]

    def call(self, obj: str, method: str, **params: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.directory / "run" / "engine.sock"))
            sock.sendall(json.dumps([obj, method, params]).encode() + b"\n")
            with sock.makefile("rb") as file:
                answer: dict[str, Any] = json.loads(file.readline())
        return answer

    def resident_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def cpu_s(self) -> float:
        """`cpu_s` of its process."""
        return cpu_s(self.process.pid)


def cpu_s(pid: int) -> float:
    """User and system time of a process since it started, its ended children included, in seconds (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def answers(path: Path) -> bool:
    """True once somebody listens at a socket; that it is there is not enough."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
    return True


@contextmanager
def running_engine(uci: str = "") -> Iterator[RunningEngine]:
    """An engine with the TAP mirror off, its directories in /tmp; `uci` is added to its settings."""
    with tempfile.TemporaryDirectory(prefix="dpi-engine-") as name:
        directory = Path(name)
        (directory / "config").mkdir()
        (directory / "config" / "dpi-dual").write_text(
            f"config global 'settings'\n\toption stats_dir '{name}/stats'\n\toption flow_dir '{name}/flows'\n"
            f"\toption state_dir '{name}/state'\n"
            "config tap 'tap'\n\toption mirror_mode 'hardware'\n\toption interface 'tap0'\n"
            f"\toption netifyd_socket '{name}/agent.sock'\n"
            f"config lan 'lan'\n\toption interface 'br-lan'\n\toption netifyd_socket '{name}/agent.sock'\n" + uci
        )
        environment = {**os.environ, "DPI_DUAL_CONFIG_DIR": f"{name}/config", "DPI_DUAL_RUN_DIR": f"{name}/run"}
        log = (directory / "log").open("wb")
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "sbin" / "dpi-duald")], env=environment, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + 60
            while not answers(directory / "run" / "engine.sock"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the engine did not start: {(directory / 'log').read_text()[-2000:]}")
                time.sleep(0.05)
            yield RunningEngine(process, directory, environment)
        finally:
            process.terminate()
            process.wait(20)
            log.close()
