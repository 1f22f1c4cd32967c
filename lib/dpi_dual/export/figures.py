"""The engine in figures, for monitoring: named and labelled as Prometheus wants it. No address is in a label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpi_dual import __version__
from dpi_dual.capture.summary import summarise
from dpi_dual.capture.tap import interface_figures

if TYPE_CHECKING:
    from dpi_dual.engine.service import Engine

Values = list[tuple[dict[str, str], float]]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its values by label; counters end in `_total`, units are base units."""

    name: str
    kind: str
    """counter or gauge."""
    help: str
    values: Values


def families(engine: Engine, sensor: str) -> Iterator[Family]:
    """All that is told, of this moment."""
    yield Family(
        "dpi_dual_info", "gauge", "Which version runs where.", [({"version": __version__, "sensor": sensor}, 1)]
    )
    yield _gauge("dpi_dual_start_time_seconds", "When the engine started, Unix time.", engine.started_at)
    yield _gauge("dpi_dual_resident_memory_bytes", "Resident memory of the engine.", engine.rss_bytes())
    running = [({"part": part.name}, float(part.state == "running")) for part in engine.supervisor]
    yield Family("dpi_dual_part_running", "gauge", "1 for a part of the engine that runs.", running)
    severities = {"info": 0, "warning": 0, "error": 0}
    for problem in engine.problems():
        severities[problem.severity] += 1
    found: Values = [({"severity": severity}, number) for severity, number in severities.items()]
    yield Family("dpi_dual_problems", "gauge", "What health shows, by severity.", found)
    counted: Values = [({"event": name}, number) for name, number in sorted(engine.counters().items())]
    yield Family("dpi_dual_engine_events", "gauge", "The engine's own counters of drops and oddities.", counted)
    yield from _streams(engine)
    yield from _lan(engine)
    yield from _mitm(engine)
    yield from _correlation(engine)


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, [({}, value)])


def _counter(name: str, text: str, value: float) -> Family:
    return Family(name, "counter", text, [({}, value)])


def _streams(engine: Engine) -> Iterator[Family]:
    tables = (("tap", engine.tap.table), ("lan", engine.lan.table))
    live: Values = [({"stream": name}, table.live_count) for name, table in tables]
    started: Values = [({"stream": name}, table.started) for name, table in tables]
    size: Values = [({"stream": name}, table.counted_bytes) for name, table in tables]
    yield Family("dpi_dual_flows_live", "gauge", "Flows that are under way.", live)
    yield Family("dpi_dual_flows_started_total", "counter", "Flows seen since the engine started.", started)
    yield Family("dpi_dual_flow_bytes_total", "counter", "Bytes of flows since the engine started.", size)
    protocols: Values = []
    risks: Values = []
    for name, table in tables:
        summary = summarise(table, engine.now())
        protocols += [({"stream": name, "protocol": key}, number) for key, number in summary["protocols"].items()]
        risks += [({"stream": name, "risk": key}, number) for key, number in summary["risks"].items()]
    yield Family("dpi_dual_protocol_flows", "gauge", "Flows that are kept, by protocol; the largest 50.", protocols)
    yield Family("dpi_dual_risk_flows", "gauge", "Flows that are kept with a risk, by namespace and number.", risks)
    tap = interface_figures(engine.settings.tap.interface)
    label = {"interface": engine.settings.tap.interface}
    for key in ("bytes", "packets"):
        text = f"The kernel's count of {key} on the capture interface."
        yield Family(f"dpi_dual_interface_receive_{key}_total", "counter", text, [(label, tap[f"rx_{key}"])])
        yield Family(f"dpi_dual_interface_transmit_{key}_total", "counter", text, [(label, tap[f"tx_{key}"])])


def _lan(engine: Engine) -> Iterator[Family]:
    lan: dict[str, Any] = engine.lan.status()
    yield _gauge("dpi_dual_lan_clients", "Clients of the LAN that are active.", lan["active_clients"])
    yield _gauge("dpi_dual_lan_destinations", "External destinations they talk to.", lan["unique_destinations"])
    rates: Values = [({"direction": way}, lan[f"{key}_rate_bps"] / 8) for way, key in (("in", "rx"), ("out", "tx"))]
    yield Family("dpi_dual_lan_rate_bytes", "gauge", "Bytes a second of the LAN's clients.", rates)


def _mitm(engine: Engine) -> Iterator[Family]:
    buffer = engine.mitm.buffer()
    yield _counter("dpi_dual_http_requests_total", "Requests that were inspected.", buffer["requests_total"])
    yield _counter("dpi_dual_http_requests_blocked_total", "Requests that were blocked.", buffer["blocked_count"])
    yield _counter("dpi_dual_http_threats_total", "Requests with a threat in them.", buffer["threats_detected"])
    yield _gauge("dpi_dual_buffer_entries", "Requests in the buffer.", buffer["entries"])
    yield _gauge("dpi_dual_buffer_size", "Requests the buffer has room for.", buffer["max_size"])
    categories: Values = [({"category": key}, number) for key, number in sorted(engine.mitm.store.by_category.items())]
    yield Family("dpi_dual_waf_alerts_total", "counter", "WAF alerts by category, since the start.", categories)


def _correlation(engine: Engine) -> Iterator[Family]:
    correlator = engine.correlator
    totals = correlator.store.totals()
    yield _counter("dpi_dual_correlation_events_total", "Events that were correlated.", totals.get("events", 0))
    yield _counter("dpi_dual_threats_total", "Threats that were recorded.", totals.get("threats", 0))
    yield _counter("dpi_dual_threats_joined_total", "Threats joined with their very flow.", totals.get("joined", 0))
    yield _counter("dpi_dual_bans_total", "Bans that came into force on our word.", totals.get("banned", 0))
    states: Values = [({"state": key}, number) for key, number in sorted(correlator.store.by_state().items())]
    yield Family("dpi_dual_threats_kept", "gauge", "Threats that are kept, by state.", states)
    reputations = correlator.reputation.count(engine.now())
    yield _gauge("dpi_dual_reputations", "Addresses with a reputation.", reputations)
