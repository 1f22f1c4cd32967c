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
import threading
from pathlib import Path

from dpi_dual.directory import make_directory, private_directory
from dpi_dual.model import Problem

log = logging.getLogger(__name__)

NAME = "state.db"

#: Statements that stay compiled, at some ten kilobytes each; an alert takes sixteen, Python would keep 128.
STATEMENTS = 32


#: What SQLite says when it could not look, which tells nothing of the file: no room, no memory, locked …
_UNTOLD = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)


def _is_sound(path: Path) -> bool:
    """False if it is absent or damaged; raises sqlite3.Error if that cannot be told at the moment."""
    if not path.exists():
        return False
    try:
        with contextlib.closing(_opened(path)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF in _UNTOLD:
            raise
        return False


def _opened(path: Path) -> sqlite3.Connection:
    """An existing database; `connect` alone would make an empty one of a file that somebody has deleted."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)


def _copy(source: sqlite3.Connection, target: Path) -> None:
    """Copies a database that may be in use: whole on disk under another name first, then moved into place."""
    fresh = target.with_name(target.name + ".new")
    fresh.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(fresh)) as new:
            source.backup(new)
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
        self._copying = threading.Lock()
        """A copy goes on in its thread when the part that began it is stopped."""
        self._is_moved = False
        self._is_leaving = False
        self.db = self._open(stats_dir)

    def _open(self, stats_dir: str) -> sqlite3.Connection:
        try:
            os.close(private_directory(stats_dir))
            return self._open_file()
        except (OSError, sqlite3.Error) as error:
            why = getattr(error, "strerror", None) or error
            self._note(
                "state_unavailable",
                f"{stats_dir} cannot be used ({why}); history is in memory only, lost at a stop.",
                "Make room there, or set dpi-dual.settings.stats_dir to a directory that only root can write; then"
                " restart the service.",
            )
            return sqlite3.connect(":memory:", isolation_level=None)

    def _open_file(self) -> sqlite3.Connection:
        if not _is_sound(self._live):
            self._set_aside(self._live)
            if _is_sound(self._kept):
                try:
                    with contextlib.closing(_opened(self._kept)) as kept:
                        _copy(kept, self._live)
                except (OSError, sqlite3.Error) as error:
                    log.error("cannot restore %s: %s", self._kept, error)
                    self._live.unlink(missing_ok=True)
            else:
                self._set_aside(self._kept)
        db = sqlite3.connect(self._live, isolation_level=None, cached_statements=STATEMENTS)
        try:
            self._live.chmod(0o640)
            # WAL without fsync: a killed process loses nothing; RAM does not survive a power cut anyway.
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=OFF")
            # The file is in memory itself: a large cache of it would only be a second copy.
            db.execute("PRAGMA cache_size=-128")
            # The log keeps the size of the largest transaction otherwise, in RAM.
            db.execute("PRAGMA journal_size_limit=1048576")
            # A newer version's parts add tables: hear of a full disk here, not in one of them.
            db.execute("CREATE TABLE IF NOT EXISTS room (filler)")
            db.execute("INSERT INTO room VALUES (zeroblob(65536))")
            db.execute("DROP TABLE room")
        except BaseException:
            db.close()
            raise
        return db

    def reconfigure(self, stats_dir: str, state_dir: str, checkpoint_interval_s: float) -> None:
        """Takes new settings. The next copy goes to the new `state_dir`, at once; the open file moves at a restart."""
        self.checkpoint_interval_s = checkpoint_interval_s
        if self._kept != Path(state_dir) / NAME:
            self._kept = Path(state_dir) / NAME
            self._copied_changes = -1
            self._is_moved = True
        self._is_leaving = self._live != Path(stats_dir) / NAME
        if self._is_leaving:
            text = f"the history stays in {self._live.parent} until the service is restarted."
            self._note("state_moves_later", text, "", "info")
        else:
            self._notes.pop("state_moves_later", None)

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

    def _note(self, code: str, message: str, hint: str, severity: str = "error") -> None:
        self._notes[code] = Problem(code, message, hint, severity)

    def problems(self) -> list[Problem]:
        return list(self._notes.values())

    def counters(self) -> dict[str, int]:
        return {"checkpoints": self._checkpoints}

    async def run(self) -> None:
        """Copies the state to flash every interval, if it changed, without stopping the loop."""
        while True:
            await asyncio.sleep(0 if self._is_moved else self.checkpoint_interval_s)
            self._is_moved = False
            if self._changed() and self._live.exists():
                changes = self.db.total_changes
                self._copied(changes, await asyncio.to_thread(self._copy_to_flash))
            else:
                self.checkpoint()

    def checkpoint(self) -> None:
        """Copies the state to `state_dir` now if it changed since the last copy; a failure becomes a problem."""
        if self._changed():
            # Our connection still has what somebody has deleted; no other one can open it.
            mine = None if self._live.exists() else self.db
            self._copied(self.db.total_changes, self._copy_to_flash(mine))

    def _changed(self) -> bool:
        return self.db.total_changes != self._copied_changes and "state_unavailable" not in self._notes

    def _copy_to_flash(self, mine: sqlite3.Connection | None = None) -> str:
        """Returns what went wrong, empty if nothing; without `mine` it touches only files, in whatever thread."""
        try:
            with self._copying:
                make_directory(self._kept.parent)
                if mine is not None:
                    _copy(mine, self._kept)
                else:
                    with contextlib.closing(_opened(self._live)) as source:
                        _copy(source, self._kept)
        except (OSError, sqlite3.Error) as error:
            return str(error)
        return ""

    def _copied(self, changes: int, failure: str) -> None:
        if failure:
            self._note(
                "checkpoint_failed",
                f"the state cannot be copied to {self._kept} ({failure}); a power cut would lose what is newer.",
                "Free some flash, or set dpi-dual.settings.state_dir to another place.",
            )
            return
        self._notes.pop("checkpoint_failed", None)
        self._copied_changes = changes
        self._checkpoints += 1

    def close(self) -> None:
        """The last copy, then the database is closed."""
        self.checkpoint()
        is_saved = not self._changed()
        self.db.close()
        if self._is_leaving and is_saved:
            # Left behind, it would pass for the newest if this directory were chosen again.
            self._live.unlink(missing_ok=True)
