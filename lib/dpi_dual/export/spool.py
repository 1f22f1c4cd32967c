"""A file of JSON lines that never outgrows its bound: two halves, the older of which gives way."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dpi_dual.directory import append_in, private_directory


class Spool:
    """Appends whole lines. Who follows the file may move or delete it at any time: it is opened by name each time."""

    def __init__(self, path: str, max_bytes: int) -> None:
        self._folder, self._name = os.path.split(path)
        self._half = max_bytes // 2
        self._lines = 0
        """In the file, as far as we wrote them."""
        self._old_lines = 0
        self.written = 0
        self.dropped = 0
        """Lines that gave way to newer ones, read by somebody or not."""

    def append(self, lines: Sequence[bytes]) -> None:
        """All of it or nothing; raises OSError. A line ends with a newline."""
        data = b"".join(lines)
        folder = private_directory(self._folder or ".")
        try:
            self._make_room(folder, len(data))
            before = append_in(folder, self._name, data)
        finally:
            os.close(folder)
        if before == 0:
            self._lines = 0
        self._lines += len(lines)
        self.written += len(lines)

    def _make_room(self, folder: int, more: int) -> None:
        """Half full: this half becomes the old one, and the old one is gone."""
        try:
            size = os.stat(self._name, dir_fd=folder, follow_symlinks=False).st_size
        except FileNotFoundError:
            return
        if size == 0 or size + more <= self._half:
            return
        old = f"{self._name}.1"
        try:
            os.stat(old, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            pass  # somebody took it away
        else:
            self.dropped += self._old_lines
        os.replace(self._name, old, src_dir_fd=folder, dst_dir_fd=folder)
        self._old_lines, self._lines = self._lines, 0
