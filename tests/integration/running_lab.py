"""A whole lab for the tests of one module, its own visitors silent, so that every request and attack is a test's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lab import record
from lab.gateway.client import Client
from lab.supervisor import order

ROOT = Path(__file__).resolve().parent.parent.parent
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


def lab_environment(directory: Path) -> dict[str, str]:
    """What a lab, and the programs of `lab/bin`, need to keep to this directory."""
    return {**os.environ, "DPI_LAB_DIRECTORY": str(directory)}


def start_lab(directory: Path, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    """`python -m lab run` in a process group of its own, as a terminal would have it."""
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "lab", "run", *arguments],
        cwd=ROOT,
        env=lab_environment(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until_ready(process: subprocess.Popen[str]) -> list[str]:
    """What a lab says until it runs, or has failed."""
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line.rstrip())
        if line.startswith("  logs and files"):
            break
    return said


@contextmanager
def running_lab(kind: type[Lab], directory: Path) -> Iterator[Lab]:
    """`python -m lab run` until the block ends, with everything it keeps in `directory`."""
    report = directory / "report.json"
    process = start_lab(directory, "--report", str(report), "--port", "0")
    assert process.stdout is not None
    with process.stdout:
        said = until_ready(process)
        running = record.read(directory / "lab.json")
        if not running.get("ready"):
            process.send_signal(signal.SIGINT)
            pytest.fail("\n".join([*said, *process.communicate(timeout=END_S)[0].splitlines()]))
        lab = kind(process, report, said, lab_environment(directory), running)
        lab.order("visitors", "stop")
        try:
            yield lab
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=END_S)
