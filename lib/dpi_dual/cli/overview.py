"""`status`, `version`, `history`: the suite at a glance."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from dpi_dual.cli.command import Answer, Command, View, judge_without_engine, mapping
from dpi_dual.cli.health import agent_name
from dpi_dual.cli.terminal import clip, safe
from dpi_dual.cli.units import amount, count, plural, rate, span

_BARS = "▁▂▃▄▅▆▇█"


def _state(view: View, wanted: object, running: object) -> str:
    word = "running" if running else "stopped" if wanted else "off"
    dress = view.style.good if running else view.style.warn if wanted else view.style.faint
    return dress(f"{word:9}")


def show_status(answer: Answer, view: View) -> Iterator[str]:
    """Four lines, one a part."""
    enabled, mode = bool(answer.get("enabled")), str(answer.get("mode", ""))
    parts = [f"DPI Dual-Stream {safe(answer.get('version', ''))}", f"mode {safe(mode)}" if enabled else "switched off"]
    if answer.get("started_at"):
        parts.append(f"up {span(view.now - answer['started_at'])}")
    if answer.get("rss_bytes"):
        parts.append(f"{amount(answer['rss_bytes'])} of memory")
    yield view.style.title(view.fit("  ·  ".join(parts)))
    yield ""

    def line(name: str, wanted: object, part: dict[str, Any], about: str) -> str:
        about = clip(about, max(view.room - 23, 20)) if view.room else about
        return f"{name:13}{_state(view, wanted, part.get('running'))} {about}"

    tap, lan = mapping(answer.get("tap_stream")), mapping(answer.get("lan_passive"))
    mitm, correlation = mapping(answer.get("mitm_stream")), mapping(answer.get("correlation"))
    figures = ", ".join(
        (
            f"{count(mitm.get('buffer_entries', 0))} in the buffer",
            plural(mitm.get("threats_detected", 0), "threat"),
            f"{count(mitm.get('blocked_count', 0))} blocked",
        )
    )
    yield line("MITM stream", enabled and mitm.get("enabled", True) and mode != "tap-only", mitm, figures)
    up = "up" if tap.get("interface_up") else "down"
    figures = f"{safe(tap.get('interface', ''))} {up}, {plural(tap.get('flows_1min', 0), 'flow')} in the last minute, "
    figures += f"{amount(tap.get('rx_bytes', 0))} seen"
    yield line("TAP stream", enabled and tap.get("enabled", True) and mode != "mitm-only", tap, figures)
    figures = ", ".join(
        (
            safe(lan.get("interface", "")),
            plural(lan.get("active_clients", 0), "client"),
            plural(lan.get("unique_destinations", 0), "destination"),
            plural(lan.get("detected_protocols", 0), "protocol"),
        )
    )
    yield line("LAN", enabled and lan.get("enabled"), lan, figures)
    figures = f"{plural(correlation.get('threats_correlated', 0), 'correlated threat')}"
    yield line("Correlation", enabled and answer.get("correlation_enabled"), correlation, figures)
    if answer.get("problems"):
        yield ""
        yield view.style.warn(f"{plural(answer['problems'], 'problem')}: see 'dpi-dualctl health'")


def show_version(answer: Answer, view: View) -> Iterator[str]:
    """The suite, the interpreter, and each agent that has said what it is."""
    yield view.fit(f"DPI Dual-Stream  {safe(answer.get('version', '?'))}")
    yield view.fit(f"engine           {safe(answer.get('engine', '?'))}")
    if answer.get("python"):
        yield view.fit(f"Python           {safe(answer['python'])}")
    for name, agent in mapping(answer.get("agents")).items():
        told = agent_name(mapping(agent)) or "has not said yet"
        yield view.fit(f"{clip('agent ' + safe(name), 16):16} {told}")


def bars(values: list[float], most: int) -> str:
    """A line of bars, at most `most`: neighbours that share a bar give their largest."""
    if not values:
        return ""
    share = max(-(-len(values) // most), 1)
    merged = [max(values[i : i + share]) for i in range(0, len(values), share)]
    top = max(merged) or 1
    return "".join(_BARS[min(int(max(value, 0) / top * 7.999), 7)] for value in merged)


def _figure(column: str, value: float, interval_s: float) -> str:
    if column.endswith("bytes"):
        return rate(value * 8 / interval_s)
    return count(value)


def show_history(answer: Answer, view: View) -> Iterator[str]:
    """One row a figure: its course as bars, its last and its largest value."""
    names = [str(name) for name in answer.get("columns", [])]
    points = [p for p in answer.get("points", []) if isinstance(p, list) and len(p) == len(names)]
    interval = float(answer.get("interval_s") or 1)
    if not points or len(names) < 2:
        yield "No history yet: the first point comes within a minute of the start."
        return
    first, last = (time.strftime("%H:%M:%S", time.localtime(points[i][0])) for i in (0, -1))
    yield view.style.title(f"{first} to {last}, {plural(len(points), 'point')}, one each {span(interval)}")
    room = max((view.room or 120) - 46, 10)
    for i, name in enumerate(names[1:], 1):
        course = [float(point[i]) for point in points]
        now, top = _figure(name, course[-1], interval), _figure(name, max(course), interval)
        drawn = bars(course, room)
        yield f"{clip(safe(name).replace('_', ' '), 14):15}{drawn:{min(room, len(points))}}  {now:>12}  max {top}"


COMMANDS = (
    Command(
        ("status",),
        "dpi.status",
        "status",
        show_status,
        (
            ("status", "both streams, LAN and correlation on one screen"),
            ("status --watch", "the same, refreshed every 2 seconds"),
            ("status --json", "for programs: the keys of `ubus call dpi.status status`"),
        ),
    ),
    Command(
        ("history",),
        "dpi.status",
        "history",
        show_history,
        (("history", "the last ten minutes"), ("history --range 24h", "a day")),
    ),
    Command(
        ("version",),
        "dpi.status",
        "version",
        show_version,
        (("version", "the suite's, Python's and the agents' versions"),),
        judge=judge_without_engine,
    ),
)
