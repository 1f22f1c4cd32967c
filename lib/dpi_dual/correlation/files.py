"""The correlator's files for other programs: one record a line, reputations by address, the last notifications."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from typing import Any

from dpi_dual.config import defaults
from dpi_dual.correlation.reputation import Reputation
from dpi_dual.correlation.store import Store, timestamp
from dpi_dual.directory import replace_file
from dpi_dual.model import Problem
from dpi_dual.settings import Settings

LINES = 200
ADDRESSES = 1000
#: Lines that are made before others get a turn: about two milliseconds.
STEP = 40


class Files:
    """Writes them whole; what cannot be written is a problem that health shows."""

    def __init__(self, store: Store, reputation: Reputation) -> None:
        self._store = store
        self._reputation = reputation
        self._failures: dict[str, str] = {}

    async def write(self, settings: Settings, now: float) -> None:
        """All three, in steps."""
        stats_dir = settings.settings.stats_dir
        output = settings.correlation.output
        # Left at its default it is one of the files of `stats_dir`, wherever that is.
        folder, name = os.path.split(output)
        if output == defaults().correlation.output:
            folder = stats_dir
        await self._lines(folder, name, self._store.newest(LINES))
        reputations = {
            standing.actor: {
                "score": round(standing.score, 1),
                "events": standing.events,
                "last_event": standing.last_event,
                "updated": timestamp(standing.updated_at),
            }
            for standing in self._reputation.worst(now, ADDRESSES)
        }
        await asyncio.sleep(0)
        self._replace(stats_dir, "ip-reputation.json", json.dumps(reputations).encode("ascii") + b"\n")
        await self._lines(stats_dir, "notifications.json", self._store.notifications())

    async def _lines(self, folder: str, name: str, rows: Iterable[dict[str, Any]]) -> None:
        lines: list[bytes] = []
        for row in rows:
            lines.append(json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n")
            if len(lines) % STEP == 0:
                await asyncio.sleep(0)
        self._replace(folder, name, b"".join(lines))

    def _replace(self, folder: str, name: str, data: bytes) -> None:
        path = f"{folder}/{name}"
        try:
            replace_file(folder, name, data)
        except OSError as error:
            self._failures[path] = error.strerror or str(error)
        else:
            self._failures.pop(path, None)

    def problems(self) -> list[Problem]:
        """What could not be written."""
        return [
            Problem(
                "snapshot_failed",
                f"{path} cannot be written ({reason}); programs that read it see old records.",
                "Give dpi-dual.correlation.output a directory that only root can write.",
                "error",
                {"file": path},
            )
            for path, reason in self._failures.items()
        ]
