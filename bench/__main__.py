"""`make bench`: runs the measurements, prints a table, writes `bench/results.json`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from bench.row import Row

#: Measurement → module; each has `measure() -> list[Row]`.
MEASUREMENTS = ("plugin", "ingest", "memory", "idle", "mirror", "correlation", "proxy", "waf", "overview")
RESULTS = Path(__file__).with_name("results.json")


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "taken_at": round(time.time()),
    }


def table(rows: list[Row]) -> str:
    """The rows as text, columns aligned."""
    cells = [("what", "value", "baseline", "unit", "budget", "")]
    for row in rows:
        baseline = "" if row.baseline is None else f"{row.baseline:.4g}"
        cells.append((row.name, f"{row.value:.4g}", baseline, row.unit, row.budget, "ok" if row.ok else "MISSED"))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def main() -> int:
    """Returns 1 if a budget was missed, 0 otherwise."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--row", choices=MEASUREMENTS, help="take only this measurement")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in [options.row] if options.row else MEASUREMENTS:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        measure: Callable[[], list[Row]] = import_module(f"bench.{name}").measure
        rows += measure()
    print(table(rows))
    RESULTS.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    print(
        f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}",
        file=sys.stderr,
    )
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
