"""The files that other programs read: whole or not at all, replaced atomically, mode 0640."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

from dpi_dual.model import Problem

FILE_MODE = 0o640
DIRECTORY_MODE = 0o750


def private_directory(path: str) -> int:
    """Opens a directory of ours, made if absent (0750); the caller closes the descriptor.

    /tmp is anybody's: a symbolic link or a directory of another user in our place is refused (OSError).
    """
    Path(path).mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & stat.S_IWOTH:
        os.close(descriptor)
        raise PermissionError(f"{path} belongs to another user or is writable by all")
    return descriptor


def replace_file(directory: str, name: str, data: bytes) -> None:
    """Writes `directory/name` so that a reader sees the old file or the new one, never a part; raises OSError."""
    temporary = f".{name}.new"
    folder = private_directory(directory)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(temporary, flags, FILE_MODE, dir_fd=folder), "wb") as file:  # noqa: PTH123 - by dir_fd
                os.fchmod(file.fileno(), FILE_MODE)
                file.write(data)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
    finally:
        os.close(folder)


class Snapshots:
    """Writes the snapshot files; a full or missing directory is a problem that health shows, never an end."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._failures: dict[str, str] = {}
        self._written: set[str] = set()
        self._count = 0
        self._failed = 0

    def reconfigure(self, directory: str) -> None:
        """Another place from now on; the files in the place before are deleted: they would never be fresh again."""
        if directory == self.directory:
            return
        for name in self._written:
            with contextlib.suppress(OSError):
                Path(self.directory, name).unlink()
        self._written.clear()
        self._failures.clear()
        self.directory = directory

    def write(self, name: str, content: object) -> None:
        """Replaces one JSON file."""
        try:
            replace_file(self.directory, name, json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n")
        except OSError as error:
            self._failed += 1
            self._failures[name] = error.strerror or str(error)
        else:
            self._count += 1
            self._written.add(name)
            self._failures.pop(name, None)

    def counters(self) -> dict[str, int]:
        return {"snapshots_written": self._count, "snapshots_failed": self._failed}

    def problems(self) -> list[Problem]:
        return [
            Problem(
                "snapshot_failed",
                f"{self.directory}/{name} cannot be written ({reason}); programs that read it see old figures.",
                "Free some memory in /tmp, or set dpi-dual.settings.stats_dir to a directory of its own.",
                "error",
                {"file": name},
            )
            for name, reason in sorted(self._failures.items())
        ]
