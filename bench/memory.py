"""The engine's resident memory with 10,000 live flows of 500 clients, then with alerts and threats full as well."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.row import Row
from bench.wire import Analyser, agent, alert, frame, mitm_section
from dpi_dual.correlation import store
from dpi_dual.mitm import alerts
from lab.engine import RunningEngine, running_engine

FLOWS, CLIENTS = 10_000, 500
BUDGET_MIB = 45
#: The budget is for flows and clients. With all else full as well, and the longest answers asked for: our own bound.
FULL_MIB, FULL_GROWTH = 50, 1.05
#: Ticks of flow_stats for every flow after the table is full; memory must not grow over them.
TICKS = 12
#: Alerts that come in each round once the engine keeps as many as it ever does.
ROUNDS, MORE = 6, 100


def _announcements() -> Iterator[bytes]:
    """One `flow` message of netifyd 4.4 for each flow: distinct tuples, a few hundred host names."""
    now = int(time.time() * 1000)
    protocols = ((196, "HTTP/S"), (5, "DNS"), (7, "HTTP"), (188, "QUIC"))
    for number in range(FLOWS):
        client = number % CLIENTS
        protocol, name = protocols[number % len(protocols)]
        flow = {
            "category": {"application": 29, "domain": 0, "protocol": 22},
            "detected_application": 124,
            "detected_application_name": f"netify.app{number % 60}",
            "detected_protocol": protocol,
            "detected_protocol_name": name,
            "detection_guessed": False,
            "detection_updated": False,
            "dhc_hit": True,
            "digest": f"{number:040x}",
            "first_seen_at": now,
            "first_update_at": now,
            "host_server_name": f"host{number % 700}.example.com",
            "ip_nat": False,
            "ip_protocol": 6,
            "ip_version": 4,
            "last_seen_at": now,
            "local_ip": f"192.168.{client >> 8}.{client & 255}",
            "local_mac": f"02:00:5e:00:{client >> 8:02x}:{client & 255:02x}",
            "local_origin": True,
            "local_port": 1024 + number // CLIENTS,
            "other_ip": f"198.51.{(number >> 8) & 255}.{number & 255}",
            "other_mac": "02:00:5e:00:ff:01",
            "other_port": 443,
            "other_type": "remote",
            "risks": {"ndpi_risk_score": 0, "ndpi_risk_score_client": 0, "ndpi_risk_score_server": 0, "risks": [46]},
            "soft_dissector": False,
            "ssl": {"cipher_suite": "0x1302", "client_sni": f"host{number % 700}.example.com", "version": "0x0303"},
            "vlan_id": 0,
        }
        yield frame({"established": False, "flow": flow, "interface": "br-lan", "internal": True, "type": "flow"})


def _ticks(tick: int) -> Iterator[bytes]:
    now = int(time.time() * 1000)
    for number in range(FLOWS):
        flow = {
            "detection_packets": 9,
            "digest": f"{number:040x}",
            "last_seen_at": now,
            "local_bytes": 700,
            "local_packets": 7,
            "other_bytes": 1300,
            "other_packets": 9,
            "total_bytes": 2000 * (tick + 1),
            "total_packets": 16 * (tick + 1),
        }
        yield frame({"established": False, "flow": flow, "interface": "br-lan", "internal": True, "type": "flow_stats"})


def _wait_until_counted(engine: RunningEngine, wanted_bytes: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        clients = engine.call("dpi.lan", "clients", limit=500)
        if sum(row["bytes_in"] + row["bytes_out"] for row in clients["clients"]) >= wanted_bytes:
            return
        time.sleep(0.2)
    raise RuntimeError(f"the engine counted less than {wanted_bytes} bytes within a minute")


def _imports_only_mib() -> float:
    script = (
        "import asyncio, sqlite3, json, jsonschema; jsonschema.Draft202012Validator({});"
        "print(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"
    )
    return int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout) / 1024


def _ask_around(engine: RunningEngine) -> None:
    """The largest answers that there are."""
    for obj, method, params in (
        ("dpi.status", "overview", {}),
        ("dpi.status", "alerts", {"limit": 500}),
        ("dpi.correlator", "timeline", {"limit": 500, "context": True}),
        ("dpi.correlator", "scorecard", {"period": "day"}),
        ("dpi.lan", "clients", {"limit": 500}),
        ("dpi.lan", "flows", {"limit": 500}),
    ):
        answer = engine.call(obj, method, **params)
        if "error" in answer:
            raise RuntimeError(f"{obj} {method}: {answer}")


def _alarm(engine: RunningEngine, analyser: Analyser, numbers: range) -> None:
    """Sends alerts, each of which becomes a threat, and waits until they are."""
    for number in numbers:
        analyser.send(alert(number))
    deadline = time.monotonic() + 120
    while engine.call("dpi.correlator", "stats")["threats"] < numbers[-1]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"fewer than {numbers[-1]} threats within two minutes")
        time.sleep(0.2)
    time.sleep(2.5)  # until the files have been written


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="dpi-bench-") as place:
        buffer = Path(place) / "buffer"
        analysers = Analyser(buffer)
        with running_engine(mitm_section(buffer)) as engine, analysers as analyser, agent(engine) as flows:
            for message in _announcements():
                flows.sendall(message)
            resident = []
            for tick in range(TICKS):
                flows.sendall(b"".join(_ticks(tick)))
                _wait_until_counted(engine, 2000 * FLOWS * (tick + 1))
                resident.append(engine.resident_kib() / 1024)
            live = engine.call("dpi.lan", "flows", limit=1, state="live")["total"]
            clients = engine.call("dpi.lan", "clients", limit=1)["total"]
            if (live, clients) != (FLOWS, CLIENTS):
                raise RuntimeError(f"the engine holds {live} live flows of {clients} clients, not {FLOWS} of {CLIENTS}")
            full = max(store.KEPT, alerts.KEPT)
            _alarm(engine, analyser, range(1, full + 1))
            loaded = []
            for turn in range(ROUNDS):
                _alarm(engine, analyser, range(full + 1 + turn * MORE, full + 1 + (turn + 1) * MORE))
                flows.sendall(b"".join(_ticks(TICKS + turn)))
                _ask_around(engine)
                loaded.append(engine.resident_kib() / 1024)
            kept = engine.call("dpi.status", "alerts", limit=1)["total"]
            threats = engine.call("dpi.correlator", "stats")["threats_kept"]
        if kept < alerts.KEPT or threats < store.KEPT:
            raise RuntimeError(f"the engine keeps {kept} alerts and {threats} threats, not as many as it may")
    growth, later = (
        statistics.median(found[len(found) // 2 :]) / statistics.median(found[: len(found) // 2])
        for found in (resident, loaded)
    )
    bare, budget = _imports_only_mib(), f"≤ {BUDGET_MIB}"
    beside = "asyncio, sqlite3, json imported"
    flat = "its first half"
    flows_only, with_all = max(resident), max(loaded)
    return [
        Row("engine memory, 10,000 flows", flows_only, "MiB", bare, budget, flows_only <= BUDGET_MIB, TICKS, beside),
        Row("flows, late against early", growth, "×", 1.0, "≤ 1.03", growth <= 1.03, TICKS, flat),
        Row(
            "with alerts and threats full", with_all, "MiB", bare, f"≤ {FULL_MIB}", with_all <= FULL_MIB, ROUNDS, beside
        ),
        Row("all full, late against early", later, "×", 1.0, f"≤ {FULL_GROWTH}", later <= FULL_GROWTH, ROUNDS, flat),
    ]
