"""The state that outlives the engine: one SQLite file in memory-backed `stats_dir`, copied to flash now and then.

Flash wears out, so the working file lives in RAM; a copy goes to `state_dir` every `checkpoint_interval`
and at a clean stop. A power cut costs at most that interval, a killed process nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
from pathlib import Path

from dpi_dual.engine.snapshots import private_directory
from dpi_dual.model import Problem

log = logging.getLogger(__name__)

NAME = "state.db"


def _is_sound(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def _copy(source: Path, target: Path) -> None:
    """Copies a database that may be in use: whole on disk under another name first, then moved into place."""
    fresh = target.with_name(target.name + ".new")
    fresh.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(source)) as old, contextlib.closing(sqlite3.connect(fresh)) as new:
            old.backup(new)
        descriptor = os.open(fresh, os.O_RDONLY)
        try:
            os.fchmod(descriptor, 0o640)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        fresh.unlink(missing_ok=True)


class State:
    """Opens the database (`db`), restoring it from flash when RAM has none, and keeps the copy on flash fresh."""

    def __init__(self, stats_dir: str, state_dir: str, checkpoint_interval_s: float) -> None:
        self.checkpoint_interval_s = checkpoint_interval_s
        self._live = Path(stats_dir) / NAME
        self._kept = Path(state_dir) / NAME
        self._notes: dict[str, Problem] = {}
        self._copied_changes = -1
        self._checkpoints = 0
        self.db = self._open(stats_dir)

    def _open(self, stats_dir: str) -> sqlite3.Connection:
        try:
            os.close(private_directory(stats_dir))
        except OSError as error:
            self._note(
                "state_unavailable",
                f"{stats_dir} cannot be used ({error.strerror or error}); history is in memory only, lost at a stop.",
                "Set dpi-dual.settings.stats_dir to a directory that only root can write.",
            )
            return sqlite3.connect(":memory:")
        if not _is_sound(self._live):
            self._set_aside(self._live)
            if _is_sound(self._kept):
                try:
                    _copy(self._kept, self._live)
                except (OSError, sqlite3.Error) as error:
                    log.error("cannot restore %s: %s", self._kept, error)
                    self._live.unlink(missing_ok=True)
            else:
                self._set_aside(self._kept)
        db = sqlite3.connect(self._live, isolation_level=None)
        self._live.chmod(0o640)
        # WAL without fsync: a killed process loses nothing; RAM does not survive a power cut anyway.
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=OFF")
        return db

    def _set_aside(self, path: Path) -> None:
        """Keeps a damaged database for a look, out of the way; one generation only."""
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                path.with_name(path.name + suffix).unlink()
        if not path.exists():
            return
        aside = path.with_name(path.name + ".damaged")
        try:
            path.replace(aside)
        except OSError as error:
            log.error("cannot set aside %s: %s", path, error)
            return
        self._note(
            "state_damaged",
            f"{path} was damaged and is kept as {aside.name}; history starts anew from the newest sound copy.",
            "Check the storage; remove the .damaged file when you no longer need it.",
        )

    def _note(self, code: str, message: str, hint: str) -> None:
        self._notes[code] = Problem(code, message, hint, "error")

    def problems(self) -> list[Problem]:
        return list(self._notes.values())

    def counters(self) -> dict[str, int]:
        return {"checkpoints": self._checkpoints}

    async def run(self) -> None:
        """Copies the state to flash every interval, if it changed, without stopping the loop."""
        while True:
            await asyncio.sleep(self.checkpoint_interval_s)
            if self._changed():
                self._copied(await asyncio.to_thread(self._copy_to_flash))

    def checkpoint(self) -> None:
        """Copies the state to `state_dir` now if it changed since the last copy; a failure becomes a problem."""
        if self._changed():
            self._copied(self._copy_to_flash())

    def _changed(self) -> bool:
        return self.db.total_changes != self._copied_changes and "state_unavailable" not in self._notes

    def _copy_to_flash(self) -> str:
        """Returns what went wrong, empty if nothing; may run in another thread, so it touches only files."""
        try:
            self._kept.parent.mkdir(0o750, parents=True, exist_ok=True)
            _copy(self._live, self._kept)
        except (OSError, sqlite3.Error) as error:
            return str(error)
        return ""

    def _copied(self, failure: str) -> None:
        if failure:
            self._note(
                "checkpoint_failed",
                f"the state cannot be copied to {self._kept} ({failure}); a power cut would lose what is newer.",
                "Free some flash, or set dpi-dual.settings.state_dir to another place.",
            )
            return
        self._notes.pop("checkpoint_failed", None)
        self._copied_changes = self.db.total_changes
        self._checkpoints += 1

    def close(self) -> None:
        """The last copy, then the database is closed."""
        self.checkpoint()
        self.db.close()
