"""A lab in a process of its own, as those see it who drive it from outside: the soak, and the tests of faults.

It lives in a mount namespace of its own, on a small file system of its own: its disk can be filled and frozen, and its
clock set, without anybody else noticing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import record
from lab.clock import CLOCK_VARIABLE, faketime_library
from lab.gateway.client import Client
from lab.record import ROOT
from lab.supervisor import order

#: The lab's disk; it also holds the state of CrowdSec and the logs.
DISK_MB = 160

#: Where the lab, and nobody else, sees it. HAProxy, another user, connects to sockets there: it could not below the
#: private directory of a test.
DISK = Path("/mnt")

START_S = 120.0
END_S = 90.0

#: Makes the disk, mounts it where only this process and its children see it, and becomes the lab.
_ENTER = """set -e
truncate -s {size}M "$1/disk.img"
mkfs.ext4 -q -F "$1/disk.img"
mount -o loop "$1/disk.img" {disk}
shift
exec "$@"
"""


class IsolatedLabError(RuntimeError):
    """The lab did not do what it was told; the message says what it said."""


def why_not() -> str | None:
    """What is missing for an isolated lab, in words; None when nothing is."""
    if os.geteuid() != 0:
        return "needs root, to mount a file system"
    lacking = [name for name in ("mkfs.ext4", "fsfreeze", "losetup") if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed"
    probe = subprocess.run(["losetup", "-f"], capture_output=True, text=True, check=False)
    return f"no loop device: {probe.stderr.strip()}" if probe.returncode else None


@dataclass
class IsolatedLab:
    """The running lab and how to ask, watch and disturb it."""

    process: subprocess.Popen[bytes]
    directory: Path
    """Where the record and the disk's image are."""
    record: dict[str, Any]

    def call(self, name: str, method: str, **arguments: Any) -> dict[str, Any]:
        """One ubus call; raises `CallError` or `OSError` when it fails."""
        with Client(self.record["ubus_socket"].replace(str(self.disk), str(self.inside(self.disk)))) as client:
            return client.call(name, method, arguments)

    @property
    def disk(self) -> Path:
        return DISK

    def inside(self, path: Path | str) -> Path:
        """Where a path of the lab's own mount namespace is to be found from outside."""
        return Path(f"/proc/{self.process.pid}/root{path}")

    @property
    def files(self) -> Path:
        """The lab's run-time directory."""
        return self.inside(self.record["directory"])

    def order(self, service: str, action: str) -> dict[str, Any]:
        return order(str(self.inside(self.record["supervisor_socket"])), service=service, action=action)

    def services(self) -> dict[str, Any]:
        socket = str(self.inside(self.record["supervisor_socket"]))
        services: dict[str, Any] = order(socket, action="list")["services"]
        return services

    def pid(self, service: str) -> int:
        """The process of a service, 0 when it does not run; `analyser` is mitmdump's child."""
        if service == "analyser":
            return next(iter(children(self.pid("mitmdump"))), 0)
        return int(self.services()[service]["pid"] or 0)

    def signal(self, service: str, number: signal.Signals) -> None:
        pid = self.pid(service)
        if not pid:
            raise IsolatedLabError(f"{service} does not run")
        os.kill(pid, number)

    def inside_router(self, *argv: str, check: bool = True) -> str:
        return self._enter("enter_router", argv, check)

    def inside_internet(self, *argv: str, check: bool = True) -> str:
        return self._enter("enter_internet", argv, check)

    def _enter(self, where: str, argv: tuple[str, ...], check: bool) -> str:
        command = [*self.record[where], "--", *argv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if check and done.returncode:
            raise IsolatedLabError(f"{' '.join(argv[:6])}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def cscli(self, *argv: str) -> str:
        config = str(Path(self.record["directory"], "crowdsec", "config.yaml"))
        return self.inside_router("/usr/bin/cscli", "-c", config, *argv)

    def end(self) -> int:
        """Ctrl-C; the lab's exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    @property
    def said(self) -> list[str]:
        """What the lab printed so far."""
        return (self.directory / "lab.log").read_text(errors="replace").splitlines()


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children") if pid else ():
        found += [int(child) for child in task.read_text().split()]
    return found


@contextmanager
def isolated_lab(directory: Path, *arguments: str) -> Iterator[IsolatedLab]:
    """A lab with everything it keeps under `directory`, until the block ends."""
    clock = directory / "clock"
    clock.write_text("+0\n")
    environment = {**os.environ, "DPI_LAB_DIRECTORY": str(directory), "TMPDIR": str(DISK)}
    if faketime_library():
        environment[CLOCK_VARIABLE] = str(clock)
    command = [sys.executable, "-m", "lab", "run", "--port", "0", *arguments]
    script = _ENTER.format(size=DISK_MB, disk=DISK)
    enter = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", str(directory)]
    log = directory / "lab.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*enter, *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_S
        while "  logs and files" not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        running = record.read(directory / "lab.json")
        if not running.get("ready"):
            raise IsolatedLabError("the lab did not start:\n" + "\n".join(log.read_text().splitlines()[-20:]))
        yield IsolatedLab(process, directory, running)
    finally:
        if process.poll() is None:
            IsolatedLab(process, directory, {}).end()
