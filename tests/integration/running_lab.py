"""A whole lab for the tests of one module, its own visitors silent, so that every request and attack is a test's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lab import record
from lab.gateway.client import CallError, Client
from lab.supervisor import order

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 20.0
END_S = 60

Lab = TypeVar("Lab", bound="RunningLab")


@dataclass
class RunningLab:
    """The lab's process, what it has said, and how to ask and use it."""

    process: subprocess.Popen[str]
    report: Path
    said: list[str]
    environment: dict[str, str]
    record: dict[str, Any]

    def call(self, name: str, method: str, **arguments: Any) -> dict[str, Any]:
        with Client(self.record["ubus_socket"]) as client:
            return client.call(name, method, arguments)

    def order(self, service: str, action: str) -> dict[str, Any]:
        return order(self.record["supervisor_socket"], service=service, action=action)

    def script(self, name: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """Runs a program of `lab/bin` to its end."""
        command = [str(ROOT / "lab" / "bin" / name), *argv]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)


def eventually(what: str, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first true value of `condition`; fails the test if there is none in time."""
    deadline = time.monotonic() + patience_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            if last := condition():
                return last
        except (CallError, OSError, KeyError) as error:
            last = error
        time.sleep(0.05)
    pytest.fail(f"not within {patience_s} s: {what} ({last})")


@contextmanager
def running_lab(kind: type[Lab], directory: Path) -> Iterator[Lab]:
    """`python -m lab run` until the block ends, with everything it keeps in `directory`."""
    report = directory / "report.json"
    environment = {**os.environ, "DPI_LAB_DIRECTORY": str(directory)}
    process = subprocess.Popen(
        [sys.executable, "-m", "lab", "run", "--report", str(report), "--port", "0"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        said: list[str] = []
        for line in process.stdout:
            said.append(line.rstrip())
            if line.startswith("  logs and files"):
                break
        running = record.read(directory / "lab.json")
        if not running.get("ready"):
            process.send_signal(signal.SIGINT)
            pytest.fail("\n".join([*said, *process.communicate(timeout=END_S)[0].splitlines()]))
        lab = kind(process, report, said, environment, running)
        lab.order("visitors", "stop")
        try:
            yield lab
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=END_S)
