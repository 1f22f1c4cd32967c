"""The files that other programs read: whole or not at all, replaced atomically, mode 0640."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from dpi_dual.directory import private_directory, replace_file, unwritten
from dpi_dual.model import Problem

__all__ = ["Snapshots", "private_directory", "replace_file"]


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
        """Replaces one JSON file. An iterator gives the JSON texts of an array: a long one is never whole in memory."""
        try:
            if isinstance(content, Iterator):
                replace_file(self.directory, name, _array(content))
            else:
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
        failures = {f"{self.directory}/{name}": reason for name, reason in self._failures.items()}
        hint = "Free some memory in /tmp, or set dpi-dual.settings.stats_dir to a directory of its own."
        return unwritten(failures, hint)


def _array(texts: Iterator[str]) -> Iterator[bytes]:
    mark = "["
    for text in texts:
        yield f"{mark}{text}".encode("ascii")
        mark = ","
    yield b"]\n" if mark == "," else b"[]\n"
