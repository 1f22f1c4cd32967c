"""What the running lab writes down about itself in `.lab/`, and the clearing away of a lab that crashed.

Every process of a lab has `DPI_LAB_RUN` with the lab's own random number in its environment, or lives in a
network namespace that the lab made: nothing else is ever taken for one of ours.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import select
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: One lab a directory; tests use one of their own, so that they do not disturb the lab you run.
DIRECTORY = Path(os.environ.get("DPI_LAB_DIRECTORY") or ROOT / ".lab")
RECORD = DIRECTORY / "lab.json"
PASSWORD = DIRECTORY / "password"
VIEWER_PASSWORD = DIRECTORY / "viewer-password"

#: The lab's run-time directory is a private one with a short name: a unix socket's path has 107 bytes at most.
PREFIX = "dpi-lab-"

#: Names the run in the environment of each of its processes.
RUN_VARIABLE = "DPI_LAB_RUN"


class AlreadyRunningError(RuntimeError):
    """A lab runs in this checkout already."""


def lock(directory: Path = DIRECTORY) -> int:
    """Takes this checkout for one lab; the returned descriptor holds it. Raises `AlreadyRunningError`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        running = read(directory / RECORD.name)
        where = f" (process {running['pid']}, {running['url']})" if running else ""
        raise AlreadyRunningError(f"a lab runs in this checkout already{where}; end it with Ctrl-C there") from None
    return descriptor


def read(path: Path = RECORD) -> dict[str, Any]:
    """The record, {} when there is none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write(record: dict[str, Any], path: Path = RECORD) -> None:
    """Replaces the record; it holds the password, so only its owner may read it."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.write("\n")
    temporary.replace(path)


def password(path: Path) -> str:
    """The password in that file, made up when there is none: the same one each time the lab runs here."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(4) + "\n")
    return path.read_text(encoding="ascii").strip()


def remove(path: Path = RECORD) -> None:
    path.unlink(missing_ok=True)


def processes_of(run: str) -> list[int]:
    """Processes, ourselves excepted, that carry this run's number in their environment."""
    mark = f"{RUN_VARIABLE}={run}".encode()
    return [pid for pid in _pids() if mark in _read(f"/proc/{pid}/environ").split(b"\0")]


def processes_in(namespaces: Iterable[int]) -> list[int]:
    """Processes whose network namespace is one of these open descriptors'."""
    wanted = {os.fstat(descriptor).st_ino for descriptor in namespaces}
    found = []
    for pid in _pids():
        try:
            if os.stat(f"/proc/{pid}/ns/net").st_ino in wanted:
                found.append(pid)
        except OSError:
            continue  # it has ended, or belongs to somebody else
    return found


def command_of(pid: int) -> str:
    """A process's command line, for a message."""
    return _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace").strip()[:100] or "?"


def end(pids: Iterable[int], patience_s: float = 2.0) -> None:
    """Ends processes that were proved to be ours: TERM, then KILL for those that stay."""
    handles = []
    for pid in pids:
        try:
            handles.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
    for number in (signal.SIGTERM, signal.SIGKILL):
        for handle in handles:
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + patience_s
        while handles and (left_s := deadline - time.monotonic()) > 0:
            ended, _, _ = select.select(handles, (), (), left_s)  # readable once the process has ended
            for handle in ended:
                handles.remove(handle)
                os.close(handle)
    for handle in handles:
        os.close(handle)


def clear_stale(path: Path = RECORD) -> list[str]:
    """Removes what a lab that is no more left behind; says what that was. Call only while holding `lock`."""
    record = read(path)
    said = []
    if run := record.get("run"):
        left = processes_of(str(run))
        said += [f"ended process {pid} of the last run: {command_of(pid)}" for pid in left]
        end(left)
    directory = Path(str(record.get("directory", "")))
    if directory.name.startswith(PREFIX) and directory.is_dir() and directory.stat().st_uid == os.stat(path).st_uid:
        shutil.rmtree(directory, ignore_errors=True)
        said.append(f"removed {directory} of the last run")
    remove(path)
    return said


def _pids() -> list[int]:
    own = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
