"""A plugin call as a process, against an interpreter that does nothing."""

from __future__ import annotations

import statistics
import subprocess
import time

from bench.row import Row
from lab.engine import ROOT, running_engine

PAIRS = 150


def _timed(argv: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(argv, input=b"{}", stdout=subprocess.DEVNULL, env=environment, check=True)
    return time.perf_counter() - started


def measure() -> list[Row]:
    bare = ["/usr/bin/python3", "-I", "-S", "-c", "pass"]
    plugin = [str(ROOT / "rpcd" / "dpi.status"), "call", "status"]
    with running_engine() as engine:
        for argv in (bare, plugin):
            _timed(argv, engine.environment)
        # In turn, so that a machine that speeds up or slows down does so for both.
        pairs = [(_timed(plugin, engine.environment), _timed(bare, engine.environment)) for _ in range(PAIRS)]
    value, baseline = (1000 * statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = value / baseline
    beside = "python3 -I -S -c pass"
    return [
        Row("plugin call", value, "ms", baseline, "≤ 1.2 × the baseline", ratio <= 1.2, PAIRS, beside),
        Row("plugin call, ratio", ratio, "×", 1.0, "≤ 1.2", ratio <= 1.2, PAIRS, beside),
    ]
