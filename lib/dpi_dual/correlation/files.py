"""The correlator's files for other programs: one record a line, reputations by address, the last notifications."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Iterator

from dpi_dual.config import defaults
from dpi_dual.correlation.records import timestamp
from dpi_dual.correlation.reputation import Reputation
from dpi_dual.correlation.store import Store
from dpi_dual.directory import private_directory, replacing, unwritten
from dpi_dual.model import Problem
from dpi_dual.settings import Settings

LINES = 200
ADDRESSES = 1000
#: Parts that are made before others get a turn: about two milliseconds.
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
        await self._texts(folder, name, self._store.lines(LINES), end="\n")
        await self._texts(stats_dir, "ip-reputation.json", self._reputations(now))
        notifications = (json.dumps(row, separators=(",", ":")) for row in self._store.notifications())
        await self._texts(stats_dir, "notifications.json", notifications, end="\n")

    def _reputations(self, now: float) -> Iterator[str]:
        """One object by address, entry by entry: a thousand at once would take megabytes."""
        mark = "{"
        for standing in self._reputation.worst(now, ADDRESSES):
            entry = {
                "score": round(standing.score, 1),
                "events": standing.events,
                "last_event": standing.last_event,
                "updated": timestamp(standing.updated_at),
            }
            yield f"{mark}{json.dumps(standing.actor)}: {json.dumps(entry)}"
            mark = ", "
        yield "}\n" if mark == ", " else "{}\n"

    async def _texts(self, folder: str, name: str, texts: Iterable[str], end: str = "") -> None:
        path = f"{folder}/{name}"
        try:
            directory = private_directory(folder)
            try:
                with replacing(directory, name) as file:
                    for count, text in enumerate(texts, 1):
                        file.write(f"{text}{end}".encode("ascii"))
                        if count % STEP == 0:
                            await asyncio.sleep(0)
            finally:
                os.close(directory)
        except OSError as error:
            self._failures[path] = error.strerror or str(error)
        else:
            self._failures.pop(path, None)

    def problems(self) -> list[Problem]:
        """What could not be written."""
        return unwritten(self._failures, "Give dpi-dual.correlation.output a directory that only root can write.")
