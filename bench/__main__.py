"""`make bench`: runs the measurements, prints a table, writes `bench/results.json`.

Exit status 0: every budget was kept; 1: one was missed; 2: a measurement could not be taken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from bench import document
from bench.row import NotHere, Row

#: Measurement → module; each has `measure() -> list[Row]`, and its docstring's first line says what it is.
MEASUREMENTS = ("plugin", "ingest", "memory", "idle", "mirror", "correlation", "proxy", "waf", "overview")
#: The same, but only when named: what they need is seldom there.
ON_REQUEST = ("peers",)
RESULTS = Path(__file__).with_name("results.json")


def machine() -> dict[str, object]:
    """What the figures are taken on, and how busy it is with other work when they begin."""
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
        "load_1min": round(os.getloadavg()[0], 2),
        "taken_at": round(time.time()),
    }


def table(rows: list[Row]) -> str:
    """The rows as text, columns aligned."""
    cells = [("what", "median", "baseline", "unit", "budget", "repeats", "", "the baseline is")]
    for row in rows:
        baseline = "" if row.baseline is None else f"{row.baseline:.4g}"
        verdict = "ok" if row.ok else "MISSED"
        cells.append(
            (row.name, f"{row.value:.4g}", baseline, row.unit, row.budget, str(row.repeats), verdict, row.beside)
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def take(names: list[str]) -> tuple[list[Row], dict[str, str]]:
    """The rows of these measurements, and why others could not be taken; tells how it goes on."""
    rows: list[Row] = []
    lacking: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        _say(f"[{number}/{len(names)}] {name}: {summary(name)} …")
        began = time.monotonic()
        measure: Callable[[], list[Row]] = import_module(f"bench.{name}").measure
        try:
            found = measure()
        except (NotHere, RuntimeError, OSError, subprocess.SubprocessError) as error:
            lacking[name] = str(error) or type(error).__name__
            _say(f"    not taken: {lacking[name]}")
            continue
        rows += found
        missed = sum(not row.ok for row in found)
        _say(f"    {len(found)} rows in {time.monotonic() - began:.0f} s" + (f", {missed} missed" if missed else ""))
    return rows, lacking


def summary(name: str) -> str:
    """What a measurement measures, in a line."""
    return str(import_module(f"bench.{name}").__doc__).split("\n", 1)[0].rstrip(".")


def main() -> int:
    """Runs what the options ask for; the module's docstring has the exit statuses."""
    parser = argparse.ArgumentParser(prog="bench", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--row", nargs="+", choices=(*MEASUREMENTS, *ON_REQUEST), help="take only these measurements")
    parser.add_argument("--list", action="store_true", help="say what can be measured")
    parser.add_argument("--curves", nargs="*", metavar="CURVE", help="take the scaling curves (flows addresses events)")
    parser.add_argument("--record", action="store_true", help="put what is taken into docs/performance.md")
    options = parser.parse_args()
    if options.record and set(options.row or ()) & set(ON_REQUEST):
        parser.error("docs/peers.md is written by hand; --record is for what docs/performance.md has")
    if options.list:
        for name in (*MEASUREMENTS, *ON_REQUEST, "curves"):
            print(f"{name:12} {summary(name)}")
        return 0
    if options.curves is not None:
        return _curves(options.curves, options.record)
    taken_on = machine()
    rows, lacking = take(options.row or list(MEASUREMENTS))
    print(table(rows))
    results = {"machine": taken_on, "rows": [asdict(row) for row in rows], "not_taken": lacking}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    _say(f"written to {os.path.relpath(RESULTS)}")
    if options.record:
        document.record("rows.json", results)
    missed = [row for row in rows if not row.ok]
    for row in missed:
        _say(f"budget missed: {row.name} is {row.value:.4g} {row.unit}, the budget is {row.budget}")
    for name, why in lacking.items():
        _say(f"not taken: {name}: {why}")
    return 1 if missed else 2 if lacking else 0


def _curves(names: list[str], record: bool) -> int:
    from bench import curves

    if unknown := set(names) - set(curves.CURVES):
        _say(f"bench: there is no curve {', '.join(sorted(unknown))}; there are {', '.join(curves.CURVES)}")
        return 2
    taken_on = machine()
    found = curves.measure(names or list(curves.CURVES), _say)
    for name, points in found.items():
        print(f"{name}\n{document.plain_table(points)}\n")
    if record:
        document.record("curves.json", {"machine": taken_on, "curves": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
