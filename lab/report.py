"""What a run of the lab came to: every figure asked from the product's own ubus objects, while it runs and at its end.

A total may fall when the engine or the capture interface is made anew; what had been counted before is kept.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

#: Rows asked for at once; the objects give no more.
PAGE = 500

#: Distinct flows that are remembered; a longer run counts on without telling them apart.
MAX_FLOWS = 200_000

#: Which of the engine's counters mean that something was lost rather than merely odd.
DROP_WORDS = ("drop", "evict", "lost", "overflow", "discard", "truncated")

#: A ring gives its oldest place to the newest request: nothing is lost that was promised.
NO_DROPS = frozenset({"mitm_ring_evicted"})

#: Copies of requests that were never analysed in full, and alerts that never arrived.
MITM_DROPS = ("mitm_addon_dropped", "mitm_addon_dropped_alerts", "mitm_analysis_skipped", "mitm_spool_dropped")

#: What the correlator counts from its beginning on.
CORRELATED = ("events", "threats", "joined_with_flow", "banned")

#: How far the LAN's bytes may be from what the clients' own interfaces counted before they are waited for.
SETTLED = 0.005

#: When the figures have not moved for this long after the traffic's end, nothing more will come.
QUIET_S = 11.0

#: The same for requests and alerts: the analyser says every second how far it is.
MITM_QUIET_S = 2.5


class Caller(Protocol):
    """What is needed of a ubus client."""

    def call(self, name: str, method: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]: ...


class ProductError(RuntimeError):
    """The product answered with an error of its own."""


@dataclass
class Total:
    """A counter that may start again from zero."""

    value: int = 0
    last: int = 0

    def update(self, now: int) -> None:
        self.value += now - self.last if now >= self.last else now
        self.last = now


@dataclass
class FlowCount:
    """Distinct flows by protocol, from pages of flows; a flow's protocol is the one it had last."""

    seen: dict[tuple[Any, ...], tuple[str, int]] = field(default_factory=dict)

    def update(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            key = tuple(row.get(name) for name in ("first_seen_at", "local_ip", "local_port", "other_ip", "other_port"))
            key += (row.get("ip_protocol"),)
            if key in self.seen or len(self.seen) < MAX_FLOWS:
                self.seen[key] = (str(row["protocol"]), 6 if ":" in str(row["local_ip"]) else 4)

    def protocols(self) -> dict[str, int]:
        return dict(Counter(protocol for protocol, _ in self.seen.values()).most_common())

    def of_version(self, version: int) -> int:
        return sum(1 for _, seen in self.seen.values() if seen == version)

    def __len__(self) -> int:
        return len(self.seen)


def ask(caller: Caller, name: str, method: str, **arguments: Any) -> dict[str, Any]:
    """One call; raises `ProductError` for an answer that is an error."""
    answer = caller.call(name, method, arguments)
    if "error" in answer and "code" in answer:
        raise ProductError(f"{name} {method}: {answer['error']} ({answer['code']})")
    return answer


def figure(answer: dict[str, Any], name: str) -> Any:
    """A member that the answer must have; an answer given without the engine lacks some."""
    try:
        return answer[name]
    except KeyError:
        raise ProductError(f"an answer without {name}") from None


def pages(caller: Caller, name: str, method: str, key: str) -> Iterator[list[dict[str, Any]]]:
    """The rows of a list, page by page."""
    before: dict[str, str] = {}
    while True:
        answer = ask(caller, name, method, limit=PAGE, **before)
        rows = figure(answer, key)
        yield rows
        if not answer.get("next") or not rows:
            return
        before = {"before": answer["next"]}


class Figures:
    """Gathers a run's figures: `glance()` every few seconds, `look()` now and then and at the end."""

    def __init__(self, caller: Caller, clock: Callable[[], float] = time.monotonic) -> None:
        self._caller = caller
        self._clock = clock
        self._started = clock()
        self._ended: float | None = None
        self._mirrored = Total()
        self._client_bytes: dict[str, Total] = {}
        self._applications: dict[str, Total] = {}
        self._tap_flows = FlowCount()
        self._lan_flows = FlowCount()
        self._destinations = 0
        self._counters: dict[str, Total] = {}
        self._problems: dict[str, str] = {}
        self._status: dict[str, Any] = {}
        self._lan: dict[str, Any] = {}
        self._requests, self._threats, self._blocked = Total(), Total(), Total()
        self._buffer: dict[str, Any] = {}
        self._correlated = {name: Total() for name in CORRELATED}
        self._correlator: dict[str, Any] = {}
        self._alerts: Counter[str] = Counter()
        self._known_alerts: set[str] = set()

    def glance(self) -> None:
        """The quick figures: six calls."""
        status = ask(self._caller, "dpi.status", "status")
        if figure(status, "engine") != "running":
            raise ProductError("the engine is down")
        self._status = status
        self._mirrored.update(figure(ask(self._caller, "dpi.status", "mirror"), "packets_mirrored"))
        self._lan = ask(self._caller, "dpi.lan", "status")
        for rows in pages(self._caller, "dpi.lan", "clients", "clients"):
            for row in rows:
                total = self._client_bytes.setdefault(row["mac"] or row["ip"], Total())
                total.update(row["bytes_in"] + row["bytes_out"])
        self._buffer = ask(self._caller, "dpi.status", "buffer")
        self._requests.update(figure(self._buffer, "requests_total"))
        self._threats.update(figure(self._buffer, "threats_detected"))
        self._blocked.update(figure(self._buffer, "blocked_count"))
        self._correlator = ask(self._caller, "dpi.correlator", "stats")
        for name, total in self._correlated.items():
            total.update(figure(self._correlator, name))

    def look(self) -> None:
        """Everything, flow by flow."""
        self.glance()
        for rows in pages(self._caller, "dpi.status", "flows", "flows"):
            self._tap_flows.update(rows)
        for rows in pages(self._caller, "dpi.lan", "flows", "flows"):
            self._lan_flows.update(rows)
        for rows in pages(self._caller, "dpi.lan", "applications", "applications"):
            for row in rows:
                self._applications.setdefault(row["application"], Total()).update(row["flows"])
        self._look_at_alerts()
        destinations = figure(ask(self._caller, "dpi.lan", "destinations", limit=1), "total")
        self._destinations = max(self._destinations, destinations)
        health = ask(self._caller, "dpi.status", "health")
        for name, value in figure(health, "counters").items():
            self._counters.setdefault(name, Total()).update(value)
        for problem in figure(health, "problems"):
            if problem["severity"] != "info":
                self._problems[problem["code"]] = problem["message"]

    def _look_at_alerts(self) -> None:
        """Counts new ones under each of their categories; more are kept than can come between two looks."""
        listed = set()
        for rows in pages(self._caller, "dpi.status", "alerts", "alerts"):
            for row in rows:
                listed.add(row["id"])
                if row["id"] not in self._known_alerts:
                    self._alerts.update(row["categories"])
        self._known_alerts = listed

    @property
    def lan_bytes(self) -> int:
        """Bytes of all clients, both ways."""
        return sum(total.value for total in self._client_bytes.values())

    def settle(self, client_bytes: int, patience_s: float, sleep: Callable[[float], None] = time.sleep) -> bool:
        """The traffic has stopped: waits until the product has accounted for all that went over the wire.

        False when no more seems to come.
        """
        self._ended = self._clock()
        deadline = self._ended + patience_s
        known, quiet_since = self.lan_bytes, self._ended
        inspected, inspected_since = self._inspected(), self._ended
        while True:
            self.glance()
            now = self._clock()
            if self._inspected() != inspected:
                inspected, inspected_since = self._inspected(), now
            analysed = not self._requests.value or (not any(inspected[2:]) and now - inspected_since >= MITM_QUIET_S)
            if analysed and self.lan_bytes >= client_bytes * (1 - SETTLED):
                return True
            if self.lan_bytes != known:
                known, quiet_since = self.lan_bytes, now
            if now >= deadline or now - quiet_since >= QUIET_S:
                return False
            sleep(0.5)

    def _inspected(self) -> tuple[int, ...]:
        """Requests, threats, what waits for its analysis, and what the engine has not been told yet."""
        waiting = (int(self._buffer.get(name, 0)) for name in ("waiting", "unreported"))
        return (self._requests.value, self._threats.value, *waiting)

    def line(self) -> str:
        """The figures of the last glance in one line."""
        tap, lan = self._status["tap_stream"], self._lan
        rate = lan["rx_rate_bps"] + lan["tx_rate_bps"]
        return (
            f"{self._clock() - self._started:6.0f} s   WAN {self._mirrored.value:,} packets mirrored, "
            f"{tap['flows_1min']} flows/min   LAN {lan['active_clients']} clients, {in_bytes(self.lan_bytes)}, "
            f"{rate / 1e6:.2f} Mbit/s, {lan['unique_destinations']} destinations, "
            f"{lan['detected_protocols']} protocols   MITM {self._requests.value:,} requests, "
            f"{self._threats.value:,} alerts, {self._blocked.value:,} blocked   "
            f"{self._correlated['threats'].value:,} threats, {self._correlated['banned'].value:,} banned   "
            f"engine {in_bytes(self._status['rss_bytes'])}"
        )

    def report(self, statistics: dict[str, Any], restarts: int, client_bytes: int, errors: list[str]) -> dict[str, Any]:
        """The report; `statistics` are the gateway's, `client_bytes` what the clients' own interfaces counted."""
        ended = self._clock() if self._ended is None else self._ended
        counters = {name: total.value for name, total in sorted(self._counters.items())}
        return {
            "seconds": round(ended - self._started, 1),
            "tap": {
                "packets_mirrored": self._mirrored.value,
                "flows": len(self._tap_flows),
                "protocols": self._tap_flows.protocols(),
            },
            "lan": {
                "clients": len(self._client_bytes),
                "flows": len(self._lan_flows),
                "bytes": self.lan_bytes,
                "client_interface_bytes": client_bytes,
                "applications": {
                    name: total.value
                    for name, total in sorted(self._applications.items(), key=lambda row: -row[1].value)
                },
                "protocols": self._lan_flows.protocols(),
                "destinations": self._destinations,
                "ipv6_flows": self._lan_flows.of_version(6),
                "source": self._lan.get("source", ""),
            },
            "mitm": {
                "requests": self._requests.value,
                "alerts": dict(self._alerts.most_common()),
                "blocked": self._blocked.value,
                "buffer_entries": self._buffer.get("entries", 0),
                "dropped": sum(counters.get(name, 0) for name in MITM_DROPS),
            },
            "correlation": {
                **{name: total.value for name, total in self._correlated.items()},
                "latency_ms_p99": self._correlator.get("latency_ms_p99", 0),
                "crowdsec": self._correlator.get("crowdsec", {}).get("state", ""),
            },
            "ubus": {name: statistics[name] for name in ("calls", "median_ms", "errors")},
            "engine": {
                "rss_bytes": self._status.get("rss_bytes", 0),
                "restarts": restarts,
                "dropped": {
                    name: value
                    for name, value in counters.items()
                    if any(word in name for word in DROP_WORDS) and name not in NO_DROPS
                },
                "counters": {name: value for name, value in counters.items() if value},
            },
            "problems": self._problems,
            "errors": [*errors, *(f"gateway: {fault}" for fault in statistics["faults"])],
        }


def in_bytes(count: float) -> str:
    """A byte count for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
