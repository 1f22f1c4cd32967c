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
from bench.wire import Analyser, alert, mitm_section
from dpi_dual.correlation.reputation import Reputation
from dpi_dual.engine.state import State
from lab.engine import running_engine

ROUNDS, ALERTS, RATE = 5, 400, 100
PASSES = 5
ADDRESSES = 100_000
UPDATES = 20_000


def _ask(sock: socket.socket, reader: Any, obj: str, method: str, **params: Any) -> dict[str, Any]:
    sock.sendall(json.dumps([obj, method, params]).encode() + b"\n")
    answer: dict[str, Any] = json.loads(reader.readline())
    return answer


def _latencies_ms() -> tuple[list[list[float]], list[float]]:
    """By round, from sending an alert to reading its record, over the sockets that the analyser and ubus use.

    Beside them what asking alone takes.
    """
    rounds: list[list[float]] = []
    asking: list[float] = []
    with tempfile.TemporaryDirectory(prefix="dpi-bench-") as place:
        buffer = Path(place) / "buffer"
        link = Analyser(buffer)
        with running_engine(mitm_section(buffer)) as engine, link as analyser:
            control = socket.socket(socket.AF_UNIX)
            control.connect(str(engine.directory / "run" / "engine.sock"))
            number = 0
            with control, control.makefile("rb") as reader:
                for _ in range(ROUNDS):
                    taken: list[float] = []
                    due = time.monotonic()
                    for _ in range(ALERTS):
                        number += 1
                        time.sleep(max(0.0, due - time.monotonic()))
                        due += 1 / RATE
                        event = alert(number)
                        sent = time.monotonic()
                        analyser.send(event)
                        asked = time.monotonic()
                        found = _ask(control, reader, "dpi.correlator", "timeline", ip=event["client_ip"], limit=1)
                        asking.append((time.monotonic() - asked) * 1000)
                        while found["total"] == 0:
                            found = _ask(control, reader, "dpi.correlator", "timeline", ip=event["client_ip"], limit=1)
                        taken.append((time.monotonic() - sent) * 1000)
                    rounds.append(taken)
    return rounds, asking


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
        for number in range(UPDATES):
            actor = actors[number * 7919 % ADDRESSES]
            began = time.perf_counter()
            reputation.add(actor, 1.0, "waf_alert", 1_800_000_100.0)
            times.append(time.perf_counter() - began)
        update_us = statistics.median(times) * 1e6
        baseline_us = _baseline_us(state.db)
        now = 1_800_000_200.0
        # Nothing here gives way to the loop in between, so what each takes is a pause of it.
        decay = statistics.median(_took_s(lambda: reputation.lower_all(0.5, now)) for _ in range(PASSES))
        passes = {
            "change of rate": _took_s(lambda: reputation.change_rate(7, 1800, now)),
            "the worst thousand": _took_s(lambda: reputation.worst(now, 1000)),
            "prune": _took_s(lambda: reputation.prune(now + 30 * 86_400)),
        }
        # What a decay pass is that writes every row.
        plain = _took_s(lambda: state.db.execute("UPDATE correlation_standing SET level = level - 0.001"))
        state.close()
    longest_ms = max(decay, *passes.values()) * 1000
    return [
        Row(
            *("reputation update, 100,000 addresses", update_us, "µs", baseline_us, "≤ 50", update_us <= 50),
            *(UPDATES, "one indexed SQLite write"),
        ),
        Row("reputation decay pass", decay, "s", plain, "≤ 0.5", decay <= 0.5, PASSES, "an UPDATE of every row"),
        Row(
            *("longest pause by reputations", longest_ms, "ms", plain * 1000, "≤ 50", longest_ms <= 50),
            *(1, "an UPDATE of every row"),
        ),
    ]


def measure() -> list[Row]:
    rounds, asking = _latencies_ms()
    p99 = statistics.median(_p99(taken) for taken in rounds)
    row = Row(f"alert to record, {RATE}/s, p99", p99, "ms", _p99(asking), "≤ 50", p99 <= 50, ROUNDS, "asking, p99")
    return [row, *_reputation()]


def _p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[98]
