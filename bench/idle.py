"""What an engine costs that has nothing to do."""

from __future__ import annotations

import time

from bench.row import Row
from lab.engine import running_engine

WATCHED_S = 30.0


def measure() -> list[Row]:
    with running_engine() as engine:
        time.sleep(3)
        before = engine.cpu_s()
        time.sleep(WATCHED_S)
        share = 100 * (engine.cpu_s() - before) / WATCHED_S
    return [Row("idle engine", share, "% of a core", 0.0, "≤ 0.5", share <= 0.5)]
