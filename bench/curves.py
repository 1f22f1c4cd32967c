"""How it scales: flows 1,000 to 100,000, addresses 1,000 to 1,000,000, events 10 to 1,000 a second."""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from bench.ingest import announcement, counters
from bench.wire import Analyser, agent, alert, mitm_section
from dpi_dual.capture.flows import FlowTable
from dpi_dual.correlation import reputation
from dpi_dual.engine.state import State
from dpi_dual.mitm.analyser import BATCH, WINDOW
from dpi_dual.mitm.spool import MAX_EVENTS
from lab.engine import RunningEngine, running_engine

Point = dict[str, float]

FLOWS = (1_000, 3_000, 10_000, 20_000, 50_000, 100_000)
ADDRESSES = (1_000, 10_000, 100_000, 300_000, 1_000_000)
EVENTS_S = (10, 30, 100, 300, 1_000)
#: How long events come at each rate, and how many at least.
EVENTS_FOR_S, EVENTS_AT_LEAST = 10, 200
ASKED, UPDATED = 15, 5_000
#: Passes and updates go over rows in an order that no cache likes.
STRIDE = 7919
PATIENCE_S = 180


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {PATIENCE_S} s")
        time.sleep(0.1)


def _count(engine: RunningEngine, *names: str) -> int:
    found = engine.call("dpi.status", "health")["counters"]
    return sum(int(number) for name, number in found.items() if name in names)


def _median_ms(engine: RunningEngine, obj: str, method: str) -> float:
    """What a page of an answer takes, from the question's first byte to the answer's last."""
    took = []
    for _ in range(ASKED):
        began = time.perf_counter()
        answer = engine.call(obj, method, limit=50)
        took.append((time.perf_counter() - began) * 1000)
        if "error" in answer:
            raise RuntimeError(f"{obj} {method}: {answer}")
    return statistics.median(took)


def _both_sides(number: int) -> tuple[bytes, bytes]:
    """A flow's messages: the odd ones are seen on the WAN's copy, the even ones on the LAN."""
    now = int(time.time() * 1000)
    found = announcement(number, now, hosts=60_000), counters("flow_stats", number, now, 1)
    if number % 2:
        return found[0].replace(b'"br-lan"', b'"tap0"  '), found[1].replace(b'"br-lan"', b'"tap0"  ')
    return found


def flows(count: int) -> Point:
    """An engine that is told of so many flows at once, half of them on the LAN, half on the WAN's copy."""
    messages = [_both_sides(number) for number in range(count)]
    with running_engine() as engine, agent(engine) as link:
        time.sleep(1)
        began = engine.cpu_s()
        for told, _ in messages:
            link.sendall(told)
        for _, counted in messages:
            link.sendall(counted)
        name = "agent_netifyd_flow_messages"
        _until(lambda: _count(engine, name, "agent_lan_flow_messages", "agent_tap_flow_messages") >= 2 * count, name)
        spent = engine.cpu_s() - began
        time.sleep(6)  # the files have been written
        return {
            "flows": count,
            "kept": sum(engine.call(obj, "flows", limit=1, state="live")["total"] for obj in ("dpi.lan", "dpi.status")),
            "evicted": _count(engine, "tap_flows_evicted", "lan_flows_evicted"),
            "messages_cpu_s": round(2 * count / spent),
            "clients_ms": round(_median_ms(engine, "dpi.lan", "clients"), 2),
            "flows_ms": round(_median_ms(engine, "dpi.status", "flows"), 2),
            "memory_mib": round(engine.resident_kib() / 1024, 1),
        }


def addresses(count: int) -> Point:
    """Reputations of so many addresses, as many as are kept of them."""
    with tempfile.TemporaryDirectory(prefix="dpi-bench-") as place:
        state = State(f"{place}/ram", f"{place}/flash", 900)
        one = reputation.Reputation(state.db, 5, 3600, 1_800_000_000.0)

        def actor(number: int) -> str:
            return f"{10 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.7"

        began = time.process_time()
        for start in range(0, count, 1000):
            state.db.execute("BEGIN")
            for number in range(start, min(start + 1000, count)):
                one.add(actor(number), 35.0, "scanner", 1_800_000_000.0)
            state.db.execute("COMMIT")
        inserted_us = (time.process_time() - began) / count * 1e6
        kept = one.count(1_800_000_000.0)
        took = []
        for number in range(UPDATED):
            name = actor(count - 1 - number * STRIDE % kept)
            start_s = time.perf_counter()
            one.add(name, 1.0, "waf_alert", 1_800_000_100.0)
            took.append((time.perf_counter() - start_s) * 1e6)
        passes = []
        for _ in range(5):
            start_s = time.perf_counter()
            one.lower_all(0.1, 1_800_000_200.0)
            passes.append((time.perf_counter() - start_s) * 1000)
        state.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = Path(place, "ram", "state.db").stat().st_size
        state.close()
    return {
        "addresses": count,
        "kept": kept,
        "new_us": round(inserted_us, 1),
        "update_us": round(statistics.median(took), 1),
        "update_p99_us": round(statistics.quantiles(took, n=100)[98], 1),
        "decay_ms": round(statistics.median(passes), 2),
        "database_mib": round(size / 2**20, 2),
    }


class _Sender:
    """Sends events as the analyser does: in batches, a window of them unacknowledged, the rest in a bounded spool."""

    def __init__(self, analyser: Analyser, rate: int, count: int) -> None:
        self._analyser, self._rate, self._count = analyser, rate, count
        self._room = threading.Condition()
        self._acknowledged = 0
        self._due: dict[int, float] = {}
        self.taken: list[float] = []
        self.dropped = 0
        analyser.acknowledged = self._ack

    def _ack(self, number: int) -> None:
        now = time.monotonic()
        with self._room:
            for one in range(self._acknowledged + 1, number + 1):
                if one in self._due:
                    self.taken.append((now - self._due.pop(one)) * 1000)
            self._acknowledged = max(self._acknowledged, number)
            self._room.notify()

    def run(self) -> None:
        """Until all that was not dropped is acknowledged."""
        began = time.monotonic()
        spool: deque[int] = deque()
        made = sent = 0
        while made < self._count or spool or sent > self._acknowledged:
            now = time.monotonic()
            while made < self._count and began + made / self._rate <= now:
                made += 1
                spool.append(made)
                self._due[made] = began + (made - 1) / self._rate
                if len(spool) > MAX_EVENTS:
                    self._due.pop(spool.popleft())
                    self.dropped += 1
            flying = sent - self._acknowledged
            if spool and flying < WINDOW and (not flying or len(spool) >= BATCH):
                numbers = [spool.popleft() for _ in range(min(BATCH, len(spool)))]
                sent = numbers[-1]
                self._analyser.send(*map(alert, numbers))
                continue
            with self._room:
                # Until there is room, or the next event is due.
                next_s = 0.05 if spool or made == self._count else began + made / self._rate - time.monotonic()
                if next_s > 0 and sent - self._acknowledged == flying:
                    self._room.wait(next_s)
            if now - began > PATIENCE_S:
                raise RuntimeError("the engine does not keep up")


def events(rate: int) -> Point:
    """Alerts at this rate, each of a new address: from when it was due to when its record is stored."""
    count = max(EVENTS_AT_LEAST, rate * EVENTS_FOR_S)
    with tempfile.TemporaryDirectory(prefix="dpi-bench-") as place:
        buffer = Path(place) / "buffer"
        link = Analyser(buffer)
        with running_engine(mitm_section(buffer)) as engine, link as analyser:
            sender = _Sender(analyser, rate, count)
            before = engine.cpu_s()
            began = time.monotonic()
            sender.run()
            lasted = time.monotonic() - began
            share = 100 * (engine.cpu_s() - before) / lasted
            stored = engine.call("dpi.correlator", "stats")["events"]
    return {
        "events_s": rate,
        "sent": count,
        "stored": stored,
        "dropped": sender.dropped,
        "stored_s": round(stored / lasted),
        "p50_ms": round(statistics.median(sender.taken), 2),
        "p99_ms": round(statistics.quantiles(sender.taken, n=100)[98], 2),
        "cpu_percent": round(share, 1),
    }


CURVES: dict[str, tuple[Callable[[int], Point], tuple[int, ...]]] = {
    "flows": (flows, FLOWS),
    "addresses": (addresses, ADDRESSES),
    "events": (events, EVENTS_S),
}


def measure(names: list[str], say: Callable[[str], None]) -> dict[str, list[Point]]:
    """The points of these curves; tells how it goes on."""
    found: dict[str, list[Point]] = {}
    for name in names:
        take, steps = CURVES[name]
        found[name] = []
        for step in steps:
            began = time.monotonic()
            found[name].append(take(step))
            say(f"{name} {step:,}: {json.dumps(found[name][-1])} in {time.monotonic() - began:.0f} s")
    return found


def bounds() -> dict[str, int]:
    """What the engine keeps at most."""
    return {"flows": FlowTable("lan").max_flows, "addresses": reputation.MAX_ADDRESSES, "spool": MAX_EVENTS}
