"""Finished flows as JSON lines, one file a minute, deleted when they are older than the retention."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from dpi_dual.capture.flow_rows import row
from dpi_dual.directory import append_in, private_directory
from dpi_dual.model import Flow, Problem

#: Finished flows that wait to be written; the oldest give way.
MAX_PENDING = 5000

#: Written at a time: some 10 ms of work on a small PC.
SLICE = 400

#: Bytes in the directory: it usually lives in RAM. The oldest files give way.
MAX_BYTES = 16 << 20

WRITE_INTERVAL_S = 1.0

_NAME = re.compile(r"flows-[0-9]{8}T[0-9]{4}Z\.jsonl")


class FlowLog:
    """A flow sink that writes what has ended. Nothing that goes wrong with the disk reaches the ingest loop."""

    def __init__(self, flow_dir: str, retention_s: float, clock: Callable[[], float] = time.time) -> None:
        self._dir = Path(flow_dir)
        self._retention_s = retention_s
        self._clock = clock
        self._pending: deque[Flow] = deque()
        self._counts = dict.fromkeys(("written", "dropped", "failed_writes", "deleted_early"), 0)
        self._error = ""
        self._minute = 0

    # -- flow sink ------------------------------------------------------------------------------------------

    def flow_started(self, flow: Flow) -> None:
        """Only ends are logged."""

    def flow_counted(
        self,
        flow: Flow,
        local_bytes: int,
        other_bytes: int,
        undirected_bytes: int,
        local_packets: int,
        other_packets: int,
        undirected_packets: int,
    ) -> None:
        """Only ends are logged."""

    def flow_ended(self, flow: Flow) -> None:
        if len(self._pending) >= MAX_PENDING:
            self._pending.popleft()
            self._counts["dropped"] += 1
        self._pending.append(flow)

    # -- writing --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write and tidy up until cancelled; then write what is left."""
        try:
            while True:
                while len(self._pending) >= SLICE:
                    self.write()
                    await asyncio.sleep(0)
                self.write()
                await asyncio.sleep(WRITE_INTERVAL_S)
        finally:
            self.close()

    def close(self) -> None:
        """Write all that waits."""
        while self._pending:
            self.write()

    def reconfigure(self, flow_dir: str, retention_s: float) -> None:
        """Another place and time from now on; what is in the place before is deleted, as nobody would do it later."""
        if Path(flow_dir) != self._dir:
            self.close()
            self._tidy(self._clock(), -120)
        self._dir = Path(flow_dir)
        self._retention_s = retention_s
        self._minute = 0

    def write(self) -> None:
        """Append up to `SLICE` waiting flows to the file of this minute. What cannot be written is dropped."""
        now = self._clock()
        flows = [self._pending.popleft() for _ in range(min(SLICE, len(self._pending)))]
        if flows:
            lines = "".join(json.dumps(row(flow), separators=(",", ":")) + "\n" for flow in flows)
            try:
                self._append(_file_name(now), lines.encode("ascii"))
            except OSError as error:
                self._counts["failed_writes"] += 1
                self._counts["dropped"] += len(flows)
                self._error = error.strerror or str(error)
            else:
                self._counts["written"] += len(flows)
                self._error = ""
        minute = int(now // 60)
        if minute != self._minute:
            self._minute = minute
            self._tidy(now, self._retention_s)

    def _append(self, name: str, data: bytes) -> None:
        folder = private_directory(str(self._dir))
        try:
            append_in(folder, name, data)
        finally:
            os.close(folder)

    def _tidy(self, now: float, retention_s: float) -> None:
        """Delete our files that are too old, and the oldest while there are too many bytes."""
        try:
            folder = private_directory(str(self._dir), make=False)
        except FileNotFoundError:
            return
        except OSError as error:
            self._error = error.strerror or str(error)
            return
        try:
            self._tidy_in(folder, now, retention_s)
        finally:
            os.close(folder)

    def _tidy_in(self, folder: int, now: float, retention_s: float) -> None:
        files: list[tuple[str, int]] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        files.append((entry.name, entry.stat(follow_symlinks=False).st_size))
        except OSError as error:
            self._error = error.strerror or str(error)
            return
        files.sort()
        size = sum(file_size for _, file_size in files)
        newest_old = _file_name(now - retention_s - 60)  # a file goes on for a minute
        for name, file_size in files:
            old = name <= newest_old
            if not old and size <= MAX_BYTES:
                break
            try:
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                pass
            except OSError as error:
                self._error = error.strerror or str(error)
                continue
            size -= file_size
            if not old:
                self._counts["deleted_early"] += 1

    # -- how it is ------------------------------------------------------------------------------------------

    def counters(self) -> dict[str, int]:
        return {f"flow_log_{name}": number for name, number in self._counts.items()}

    def problems(self) -> list[Problem]:
        if not self._error:
            return []
        return [
            Problem(
                "flow_log_failing",
                f"Finished flows cannot be written to {self._dir} ({self._error}); those of the meantime are lost.",
                "Make room there, or set flow_dir in the settings section to a place that has some.",
                details={"directory": str(self._dir), "dropped": self._counts["dropped"]},
            )
        ]


def _file_name(at: float) -> str:
    """The file of the minute `at` is in; names sort by time."""
    return time.strftime("flows-%Y%m%dT%H%MZ.jsonl", time.gmtime(max(0.0, at)))
