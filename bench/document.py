"""Puts recorded figures into docs/performance.md: tables and charts, between markers.

`python -m bench.document` makes them anew from what docs/performance/ has recorded.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.drawing import Chart, Line, svg

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "performance.md"
RECORDED = DOCS / "performance"

Points = Sequence[dict[str, float]]

#: Column → its heading, by curve; the first is what the curve is over.
COLUMNS = {
    "flows": {
        "flows": "flows told of",
        "kept": "live flows kept",
        "evicted": "dropped for newer ones",
        "messages_cpu_s": "messages a second of processor time",
        "clients_ms": "`dpi.lan clients`, ms",
        "flows_ms": "`dpi.status flows`, ms",
        "memory_mib": "engine, MiB",
    },
    "addresses": {
        "addresses": "addresses that came",
        "kept": "kept",
        "new_us": "a new one, µs",
        "update_us": "update, µs (median)",
        "update_p99_us": "update, µs (p99)",
        "decay_ms": "decay pass, ms",
        "database_mib": "database, MiB",
    },
    "events": {
        "events_s": "events/s",
        "sent": "sent",
        "stored": "stored",
        "dropped": "dropped",
        "stored_s": "stored a second",
        "p50_ms": "median, ms",
        "p99_ms": "p99, ms",
        "cpu_percent": "engine, % of a core",
    },
}


@dataclass(frozen=True, slots=True)
class Picture:
    """Which columns of a curve one chart shows."""

    file: str
    curve: str
    title: str
    x_label: str
    y_label: str
    columns: tuple[tuple[str, str], ...]
    bound: tuple[float, str] | None = None
    budget: tuple[float, str] | None = None


_FLOWS = "flows told of at once"
_FULL = (20_000, "both tables full")
_ADDRESSES = "addresses that came"
_KEPT = (100_000, "as many are kept")
PICTURES = (
    Picture(
        *("flows-memory.svg", "flows", "Memory of the engine", _FLOWS, "MiB resident"),
        *((("memory_mib", "engine"),), _FULL),
    ),
    Picture(
        *("flows-ingest.svg", "flows", "Messages taken in", _FLOWS, "messages a second of processor time"),
        *((("messages_cpu_s", "engine"),), _FULL),
    ),
    Picture(
        *("flows-answers.svg", "flows", "A page of an answer", _FLOWS, "milliseconds, median"),
        *((("clients_ms", "dpi.lan clients"), ("flows_ms", "dpi.status flows")), _FULL),
    ),
    Picture(
        *("addresses-update.svg", "addresses", "A reputation is raised", _ADDRESSES, "microseconds"),
        *((("update_us", "update, median"), ("new_us", "a new address, mean")), _KEPT, (50, "budget: 50 µs")),
    ),
    Picture(
        *("addresses-decay.svg", "addresses", "All reputations fall", _ADDRESSES, "milliseconds a pass"),
        *((("decay_ms", "decay pass"),), _KEPT),
    ),
    Picture(
        *("addresses-memory.svg", "addresses", "Room for reputations", _ADDRESSES, "MiB of the database"),
        *((("database_mib", "database in memory"),), _KEPT),
    ),
    Picture(
        *("events-latency.svg", "events", "Alert in, record stored", "events a second", "milliseconds"),
        *((("p50_ms", "median"), ("p99_ms", "p99")), None, (50, "budget of p99 at 100 a second: 50 ms")),
    ),
    Picture(
        *("events-stored.svg", "events", "Events stored", "events a second sent", "events a second stored"),
        (("stored_s", "stored"), ("events_s", "sent")),
    ),
)


def picture(shown: Picture, points: Points) -> str:
    """The chart as SVG."""
    over = next(iter(COLUMNS[shown.curve]))
    lines = [Line(name, [point[column] for point in points]) for column, name in shown.columns]
    x = [point[over] for point in points]
    return svg(Chart(shown.title, shown.x_label, shown.y_label, x, lines, shown.bound, shown.budget))


def _number(value: float) -> str:
    return f"{value:,}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(curve: str, points: Points) -> str:
    """A curve's points as Markdown."""
    columns = COLUMNS[curve]
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---:|" * len(columns)]
    lines += ["| " + " | ".join(_number(point[column]) for column in columns) + " |" for point in points]
    return "\n".join(lines)


def plain_table(points: Points) -> str:
    """The same for a terminal, under the columns' own names."""
    cells = [list(points[0]), *([_number(value) for value in point.values()] for point in points)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def rows_table(rows: Sequence[dict[str, Any]]) -> str:
    """The bench's rows as Markdown."""
    lines = ["| what | median | baseline | | budget | repeats | |", "|---|---:|---:|---|---|---:|---|"]
    for row in rows:
        baseline = "" if row["baseline"] is None else _short(row["baseline"])
        beside = f"{row['unit']}; baseline: {row['beside']}" if row["beside"] and baseline else row["unit"]
        verdict = "kept" if row["ok"] else "**missed**"
        lines.append(
            f"| {row['name']} | {_short(row['value'])} | {baseline} | {beside} | {row['budget']} | {row['repeats']} |"
            f" {verdict if row['budget'] else ''} |"
        )
    return "\n".join(lines)


def machine(facts: dict[str, Any]) -> str:
    """What figures were taken on, in a sentence."""
    day = time.strftime("%Y-%m-%d", time.gmtime(facts["taken_at"]))
    return (
        f"Taken on {day}: {facts['cores']} cores ({facts['cpu']}), {facts['memory_bytes'] / 2**30:.1f} GiB of memory,"
        f" Linux {facts['kernel']}, Python {facts['python']}. When it began, {facts['load_1min']:g} programs on average"
        f" wanted one of the {facts['cores']} cores (load of the last minute)."
    )


def parts(curves: dict[str, Any], rows: dict[str, Any]) -> dict[str, str]:
    """What stands between the page's markers, by their names."""
    found = {"rows-machine": machine(rows["machine"]), "rows": rows_table(rows["rows"])}
    found["curves-machine"] = machine(curves["machine"])
    for name, points in curves["curves"].items():
        charts = "\n".join(
            f"![{shown.title}: {shown.y_label} against {shown.x_label}](performance/{shown.file})"
            for shown in PICTURES
            if shown.curve == name
        )
        found[name] = f"{charts}\n\n{table(name, points)}"
    return found


def filled(page: str, found: dict[str, str]) -> str:
    """The page with its generated parts; raises ValueError for a part that has no place."""
    for name, text in found.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"the page has no place for {name}")
        pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
        page = re.sub(pattern, lambda _, text=text, begin=begin, end=end: f"{begin}\n{text}\n{end}", page, flags=re.S)
    return page


def written() -> dict[Path, str]:
    """Every generated file and its content, from what is recorded."""
    curves, rows = (json.loads((RECORDED / name).read_text()) for name in ("curves.json", "rows.json"))
    made = {RECORDED / shown.file: picture(shown, curves["curves"][shown.curve]) for shown in PICTURES}
    return {**made, PAGE: filled(PAGE.read_text(), parts(curves, rows))}


def record(name: str, data: dict[str, Any]) -> None:
    """Keeps what was taken, and makes the page and its charts anew; what was not taken again stays."""
    RECORDED.mkdir(exist_ok=True)
    path = RECORDED / name
    if path.exists():
        before = json.loads(path.read_text())
        if "curves" in data:
            data = {**data, "curves": {**before["curves"], **data["curves"]}}
        else:
            again = {row["name"]: row for row in data["rows"]}
            kept = [again.pop(row["name"], row) for row in before["rows"]]
            data = {**data, "rows": [*kept, *again.values()]}
    path.write_text(json.dumps(data, indent=1) + "\n")
    if all((RECORDED / other).exists() for other in ("curves.json", "rows.json")):
        for file, content in written().items():
            file.write_text(content)


if __name__ == "__main__":
    for file, content in written().items():
        file.write_text(content)
