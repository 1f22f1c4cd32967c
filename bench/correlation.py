"""Rows 4 and 7: how soon an alert is a record that can be read, and what reputations of 100,000 addresses cost."""

from __future__ import annotations

import gc
import json
import socket
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.row import Row
from dpi_dual.correlation.reputation import Reputation
from dpi_dual.engine.state import State
from lab.engine import running_engine

ALERTS, RATE = 1000, 100
ADDRESSES = 100_000


class _Analyser:
    """The analyser's side of its socket, enough to send alerts and to be asked for context."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(0o750)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / "analyser.sock"))
        self._listener.listen(1)
        self._listener.settimeout(30)

    def __enter__(self) -> socket.socket:
        self.engine, _ = self._listener.accept()
        return self.engine

    def __exit__(self, *_: object) -> None:
        self.engine.close()
        self._listener.close()


def _event(number: int) -> bytes:
    now = time.time()
    event = {
        "n": number,
        "id": f"bench-{number:06d}",
        "at": now,
        "event": ("waf_alert", "waf_block", "scanner")[number % 3],
        "client_ip": f"198.51.{100 + number % 50}.{number % 250}",
        "client_port": 0,
        "host": "www.example.com",
        "path": f"/?id={number}",
        "method": "GET",
        "threat_score": 40 + number % 60,
        "categories": ["sqli"],
        "blocked": False,
        "rule": "sqli-1",
        "rules": [],
    }
    return json.dumps({"stream": "bench", "events": [event]}).encode() + b"\n"


def _ask(sock: socket.socket, reader: Any, obj: str, method: str, **params: Any) -> dict[str, Any]:
    sock.sendall(json.dumps([obj, method, params]).encode() + b"\n")
    answer: dict[str, Any] = json.loads(reader.readline())
    return answer


def _latencies_ms() -> list[float]:
    """From sending an alert to reading its record, over the sockets that the analyser and ubus use."""
    taken: list[float] = []
    with tempfile.TemporaryDirectory(prefix="dpi-bench-") as place:
        buffer = Path(place) / "buffer"
        analyser = _Analyser(buffer)
        with running_engine(f"config mitm 'mitm'\n\toption buffer_dir '{buffer}'\n") as engine, analyser as link:
            control = socket.socket(socket.AF_UNIX)
            control.connect(str(engine.directory / "run" / "engine.sock"))
            with control, control.makefile("rb") as reader:
                due = time.monotonic()
                for number in range(1, ALERTS + 1):
                    time.sleep(max(0.0, due - time.monotonic()))
                    due += 1 / RATE
                    sent = time.monotonic()
                    link.sendall(_event(number))
                    ip = f"198.51.{100 + number % 50}.{number % 250}"
                    while _ask(control, reader, "dpi.correlator", "timeline", ip=ip, limit=1)["total"] == 0:
                        pass
                    taken.append((time.monotonic() - sent) * 1000)
    return taken


def _took_s(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _baseline_us(db: sqlite3.Connection) -> float:
    """One indexed SQLite write alone."""
    db.execute("CREATE TABLE IF NOT EXISTS baseline (id INTEGER PRIMARY KEY, actor TEXT UNIQUE, score REAL)")
    began = time.process_time()
    for number in range(10_000):
        db.execute(
            "INSERT OR REPLACE INTO baseline (actor, score) VALUES (?, ?)", (f"10.0.{number >> 8}.{number}", 1.0)
        )
    return (time.process_time() - began) / 10_000 * 1e6


def _reputation() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="dpi-bench-") as place:
        state = State(f"{place}/ram", f"{place}/flash", 900)
        reputation = Reputation(state.db, 5, 3600, 1_800_000_000.0)
        actors = [f"{10 + (n >> 16)}.{(n >> 8) & 255}.{n & 255}.7" for n in range(ADDRESSES)]
        state.db.execute("BEGIN")
        for actor in actors:
            reputation.add(actor, 35.0, "scanner", 1_800_000_000.0)
        state.db.execute("COMMIT")
        gc.collect()
        times = []
        for number in range(20_000):
            actor = actors[number * 7919 % ADDRESSES]
            began = time.perf_counter()
            reputation.add(actor, 1.0, "waf_alert", 1_800_000_100.0)
            times.append(time.perf_counter() - began)
        update_us = statistics.median(times) * 1e6
        baseline_us = _baseline_us(state.db)
        now = 1_800_000_200.0
        # Nothing here gives way to the loop in between, so what each takes is a pause of it.
        passes = {
            "decay pass": _took_s(lambda: reputation.lower_all(5.0, now)),
            "change of rate": _took_s(lambda: reputation.change_rate(7, 1800, now)),
            "the worst thousand": _took_s(lambda: reputation.worst(now, 1000)),
            "prune": _took_s(lambda: reputation.prune(now + 30 * 86_400)),
        }
        state.close()
    longest_ms = max(passes.values()) * 1000
    decay = passes["decay pass"]
    return [
        Row("reputation update, 100,000 addresses", update_us, "µs", baseline_us, "≤ 50", update_us <= 50),
        Row("reputation decay pass", decay, "s", None, "≤ 0.5", decay <= 0.5),
        Row("longest pause by reputations", longest_ms, "ms", None, "≤ 50", longest_ms <= 50),
    ]


def measure() -> list[Row]:
    taken = _latencies_ms()
    p99 = statistics.quantiles(taken, n=100)[98]
    median = statistics.median(taken)
    row = Row(f"alert to record, {RATE}/s, p99", p99, "ms", median, "≤ 50 (baseline: median)", p99 <= 50)
    return [row, *_reputation()]
