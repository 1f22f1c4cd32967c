"""What an engine costs that has nothing to do, beside an event loop that only wakes up once a second."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.row import Row
from lab.engine import cpu_s, running_engine

WINDOWS, WINDOW_S = 5, 8.0

_LOOP = """
import asyncio
async def tick():
    while True:
        await asyncio.sleep(1)
asyncio.run(tick())
"""


def measure() -> list[Row]:
    loop = subprocess.Popen([sys.executable, "-c", _LOOP])
    try:
        with running_engine() as engine:
            time.sleep(3)
            shares: dict[int, list[float]] = {engine.process.pid: [], loop.pid: []}
            for _ in range(WINDOWS):
                before, began = {pid: cpu_s(pid) for pid in shares}, time.monotonic()
                time.sleep(WINDOW_S)
                for pid, found in shares.items():
                    found.append(100 * (cpu_s(pid) - before[pid]) / (time.monotonic() - began))
    finally:
        loop.terminate()
        loop.wait()
    share, bare = map(statistics.median, shares.values())
    return [Row("idle engine", share, "% of a core", bare, "≤ 0.5", share <= 0.5, WINDOWS, "a loop that wakes up")]
