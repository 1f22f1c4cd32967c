"""The Overview's answer while no engine runs: the figures of the last snapshots, and when they were taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dpi_dual import __version__, config
from dpi_dual.rpc.bounded import cut, distribution, shown_problems, threats

Answer = dict[str, Any]


def _whole(known: Answer, *names: str) -> dict[str, int]:
    """These figures of a file that an older version may have written."""
    return {name: max(0, known[name]) if type(known.get(name)) is int else 0 for name in names}


def _names(flows: object, sizes: object) -> dict[str, tuple[int, int]]:
    """(bytes, flows) of each name."""
    counted, weighed = (
        {name: number for name, number in found.items() if type(number) is int} if isinstance(found, dict) else {}
        for found in (flows, sizes)
    )
    return {name: (weighed.get(name, 0), counted.get(name, 0)) for name in counted | weighed}


def _of_rows(rows: object, column: str) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and isinstance(row.get(column), str):
            known, more = found.get(row[column], (0, 0)), _whole(row, "bytes", "flows")
            found[row[column]] = (known[0] + more["bytes"], known[1] + more["flows"])
    return found


def _written_at(settings: config.Settings) -> float:
    """When the newest snapshot was written, 0 if there is none."""
    newest = 0.0
    for name in ("dpi-flows.json", "dpi-buffer.json", "lan-flows.json"):
        path = Path(settings.settings.stats_dir) / name
        if path.exists():
            newest = max(newest, path.stat().st_mtime)
    return round(newest, 3)


def overview(
    settings: config.Settings,
    snapshot: Callable[[str], Answer],
    interface_up: bool,
    problems: list[Answer],
    records: list[Answer],
) -> Answer:
    """No time series and no scorecard: those are the engine's own."""
    parts = settings.parts()
    state = {part: "down" if part in parts else "off" for part in ("mitm", "tap", "lan", "correlation")}
    tap, buffer, lan = snapshot("dpi-flows.json"), snapshot("dpi-buffer.json"), snapshot("lan-flows.json")
    rows = snapshot("lan-protocols.json").get("protocols")
    return {
        "version": __version__,
        "now_at": round(time.time(), 3),
        "snapshot_at": _written_at(settings),
        "enabled": settings.settings.enabled,
        "mode": settings.settings.mode,
        "mitm": {
            "state": state["mitm"],
            **_whole(buffer, "requests_total", "threats_detected", "blocked_count"),
            "buffer_entries": _whole(buffer, "entries")["entries"],
            "buffer_size": settings.mitm.buffer_size,
            "blocking": settings.mitm.block_threats,
        },
        "tap": {
            "state": state["tap"],
            "interface": cut(settings.tap.interface, 48),
            "interface_up": interface_up,
            **_whole(tap, "rx_bytes", "rx_packets", "flows_1min", "flows_live"),
            "source": "none",
        },
        "lan": {
            "state": state["lan"],
            "interface": cut(" ".join(settings.lan.interface), 48),
            **_whole(lan, "active_clients", "unique_destinations", "detected_protocols", "bytes_in", "bytes_out"),
            "rx_rate_bps": 0,
            "tx_rate_bps": 0,
            "source": "none",
            "rates_source": "none",
            "offload": False,
        },
        "correlation": {
            "state": state["correlation"],
            # The file has the newest only; they are numbered from the first.
            "threats_correlated": max((record["id"] for record in records if type(record["id"]) is int), default=0),
            "open": sum(record["state"] == "new" for record in records),
            "banned": sum(record["state"] == "crowdsec_ban" for record in records),
            "auto_ban": settings.correlation.auto_ban,
            "crowdsec": "unknown",
            "decisions": 0,
        },
        "problems": shown_problems(problems),
        "problems_total": len(problems),
        "series": {"range": "10m", "interval_s": 10, "until_at": 0, "columns": ["at"], "points": []},
        "distribution": {
            "tap": distribution(
                _names(tap.get("protocols"), tap.get("protocol_bytes")),
                _names(tap.get("applications"), tap.get("application_bytes")),
            ),
            "lan": distribution(_of_rows(rows, "protocol"), _of_rows(rows, "application")),
        },
        "threats": threats(records),
    }
