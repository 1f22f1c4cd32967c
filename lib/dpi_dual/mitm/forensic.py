"""The forensic log: what was found in each suspicious request, one sealed JSON line each, bounded in size and age."""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from typing import Any

from dpi_dual.mitm import folder as disk
from dpi_dual.mitm.seal import Seal, SealError

NAME = "analysis.jsonl"
OLDER = "analysis.jsonl.1"
MAX_BYTES = 4 * 1024 * 1024

_PURPOSE = b"forensic"


class ForensicLog:
    """`analysis.jsonl` and one file before it, both of at most `max_bytes`."""

    def __init__(self, folder: int, seal: Seal, retention_s: float, max_bytes: int = MAX_BYTES) -> None:
        """`folder` is a descriptor of the buffer directory, which stays the caller's."""
        self._folder = folder
        self.seal = seal
        self.retention_s = retention_s
        self._max = max_bytes
        self._begun_at = 0.0
        self._failed = 0

    def counters(self) -> dict[str, int]:
        return {"forensic_not_stored": self._failed}

    def write(self, content: dict[str, Any], now: float) -> None:
        """Appends a line."""
        sealed = self.seal.close(json.dumps(content, separators=(",", ":")).encode("ascii"), _PURPOSE)
        line = b'{"v":1,"sealed":"' + b64encode(sealed) + b'"}\n'
        try:
            descriptor = disk.append_to(self._folder, NAME)
            try:
                size = os.fstat(descriptor).st_size
                if os.write(descriptor, line) != len(line):
                    os.ftruncate(descriptor, size)
                    raise OSError(28, "No space left on device")
            finally:
                os.close(descriptor)
            self._begun_at = self._begun_at or now
            if size + len(line) > self._max:
                self._rotate(now)
        except OSError:
            self._failed += 1

    def expire(self, now: float) -> None:
        """Everything in a file is older than the retention once it was set aside that long ago."""
        if self._begun_at and now - self._begun_at > self.retention_s:
            try:
                self._rotate(now)
            except OSError:
                self._failed += 1

    def _rotate(self, now: float) -> None:
        try:
            os.replace(NAME, OLDER, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except FileNotFoundError:
            disk.remove_from(self._folder, OLDER)
            self._begun_at = 0.0
            return
        self._begun_at = now


def read_line(line: bytes, seal: Seal) -> dict[str, Any]:
    """The content of one line; raises SealError."""
    try:
        outer = json.loads(line)
        content: dict[str, Any] = json.loads(seal.open(b64decode(outer["sealed"], validate=True), _PURPOSE))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SealError(f"no line of a forensic log: {error}") from None
    return content
