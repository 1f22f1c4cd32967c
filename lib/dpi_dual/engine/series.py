"""Time series of both streams for charts: one row each 10 s, 24 h of them, kept over restarts."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import time
from collections.abc import Callable

from dpi_dual.model import Problem

STEP_S = 10
KEEP_S = 24 * 3600
RANGES_S = {"10m": 600, "1h": 3600, "24h": KEEP_S}
#: Points in one answer: enough for a wide chart, and small enough for a poll.
POINTS = 360
#: 2024-01-01: a router's clock starts in 1970 until NTP has answered; such rows would stay for ever.
EARLIEST_AT = 1_704_067_200

#: What the Overview's graph asks for, again and again: range → seconds a point; few enough points for a light poll.
OVERVIEW_STEP_S = {"10m": STEP_S, "24h": 900}
OVERVIEW_POINTS = 96
OVERVIEW_COLUMNS = ("tap_bytes", "lan_bytes", "mitm_requests", "mitm_threats")
OVERVIEW_BYTES = 5600

COLUMNS = ("tap_bytes", "tap_flows", "lan_bytes", "mitm_requests", "mitm_threats")


class Series:
    """Samples cumulative figures and stores their differences; `read()` gives that many rows with `COLUMNS`."""

    def __init__(self, db: sqlite3.Connection, read: Callable[[], tuple[int, ...]]) -> None:
        self._db = db
        self._read = read
        self._last: tuple[int, ...] | None = None
        self._failed = ""
        columns = ", ".join(f"{name} INTEGER NOT NULL" for name in COLUMNS)
        db.execute(f"CREATE TABLE IF NOT EXISTS series (at INTEGER PRIMARY KEY, {columns})")

    async def run(self) -> None:
        """One row at each full 10 s."""
        while True:
            await asyncio.sleep(STEP_S - time.time() % STEP_S)
            self.sample(time.time())

    def sample(self, now: float) -> None:
        """Stores what came since the last sample, under the step that has just ended."""
        figures = self._read()
        last, self._last = self._last, figures
        at = int(now // STEP_S) * STEP_S
        if last is None or at < EARLIEST_AT:
            return
        # A figure that fell was reset (a new table, a new counter): what it shows now came since.
        grown = [new - old if new >= old else new for new, old in zip(figures, last, strict=True)]
        marks = ", ".join("?" * (1 + len(COLUMNS)))
        try:
            self._db.execute(f"INSERT OR REPLACE INTO series VALUES ({marks})", (at, *grown))  # noqa: S608
            # Rows of the future come from a clock that was ahead; they would hide the present.
            self._db.execute("DELETE FROM series WHERE at < ? OR at > ?", (at - KEEP_S, at))
            self._failed = ""
        except sqlite3.Error as error:
            self._failed = str(error)

    def points(self, span: str, now: float) -> dict[str, object]:
        """The rows of the last `span` (a key of `RANGES_S`), summed into at most `POINTS` equal steps.

        `{interval_s, columns, points}`; a point is `[at, figures…]` where `at` is the start of its step and the
        figures are sums over the step. Steps without any sample are left out.
        """
        length = RANGES_S[span]
        step = max(STEP_S, STEP_S * math.ceil(length / STEP_S / POINTS))
        return {
            "interval_s": step,
            "columns": ["at", *COLUMNS],
            "points": self._summed(COLUMNS, step, now - length, now),
        }

    def recent(self, span: str, now: float, since: float = 0.0) -> dict[str, object]:
        """As `points`, for polls: few columns, and only the steps that begin at `since` or later.

        The last step grows until it is over, so a poll asks with the `at` of the last point that it knows and
        replaces that point. `until_at` is how far the figures reach into the last step.
        """
        step = OVERVIEW_STEP_S[span]
        # Whole steps only: the first would be a sum over a part of its time.
        begin = (int(now) - RANGES_S[span] + step - 1) // step * step
        points = self._summed(OVERVIEW_COLUMNS, step, max(begin, since), now)
        (until,) = self._db.execute("SELECT MAX(at) FROM series WHERE at <= ?", (now,)).fetchone()
        while len(json.dumps(points, separators=(",", ":"))) > OVERVIEW_BYTES:
            del points[: max(1, len(points) // 8)]  # figures beyond what links carry; the newest are kept
        return {
            "range": span,
            "interval_s": step,
            "until_at": until or 0,
            "columns": ["at", *OVERVIEW_COLUMNS],
            "points": points[-OVERVIEW_POINTS:],
        }

    def _summed(self, columns: tuple[str, ...], step: int, since: float, now: float) -> list[list[int]]:
        """Rows `[start of the step, sums…]` of what was stored after `since`; steps without a sample are left out."""
        sums = ", ".join(f"SUM({name})" for name in columns)
        rows = self._db.execute(
            f"SELECT (at - {STEP_S}) / :step * :step AS start, {sums} FROM series "  # noqa: S608
            "WHERE at > :since AND at <= :now GROUP BY start ORDER BY start",
            {"step": step, "since": since, "now": now},
        )
        return [list(row) for row in rows]

    def problems(self) -> list[Problem]:
        if not self._failed:
            return []
        return [
            Problem(
                "series_failed",
                f"the time series cannot be stored ({self._failed}); charts have a gap.",
                "Free some memory in /tmp.",
                "error",
            )
        ]
