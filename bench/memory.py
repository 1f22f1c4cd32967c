"""The engine's resident memory with 10,000 live flows of 500 clients, and whether it stays there."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.row import Row
from lab.engine import RunningEngine, running_engine

FLOWS, CLIENTS = 10_000, 500
BUDGET_MIB = 45
#: Ticks of flow_stats for every flow after the table is full; memory must not grow over them.
TICKS = 12


def _frame(message: dict[str, object]) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    return b'{"length": %d}\n%s' % (len(body), body)


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
        yield _frame({"established": False, "flow": flow, "interface": "br-lan", "internal": True, "type": "flow"})


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
        yield _frame(
            {"established": False, "flow": flow, "interface": "br-lan", "internal": True, "type": "flow_stats"}
        )


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


def measure() -> list[Row]:
    with running_engine() as engine:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(engine.directory / "agent.sock"))
        listener.listen(1)
        listener.settimeout(60)
        agent, _ = listener.accept()
        with listener, agent:
            agent.sendall(_frame({"agent_version": "4.4.7", "type": "agent_hello"}))
            for frame in _announcements():
                agent.sendall(frame)
            resident = []
            for tick in range(TICKS):
                agent.sendall(b"".join(_ticks(tick)))
                _wait_until_counted(engine, 2000 * FLOWS * (tick + 1))
                resident.append(engine.resident_kib() / 1024)
            live = engine.call("dpi.lan", "flows", limit=1, state="live")["total"]
            clients = engine.call("dpi.lan", "clients", limit=1)["total"]
        if (live, clients) != (FLOWS, CLIENTS):
            raise RuntimeError(f"the engine holds {live} live flows of {clients} clients, not {FLOWS} of {CLIENTS}")
    early, late = (statistics.median(half) for half in (resident[: TICKS // 2], resident[TICKS // 2 :]))
    growth = late / early
    return [
        Row("engine memory", max(resident), "MiB", _imports_only_mib(), f"≤ {BUDGET_MIB}", max(resident) <= BUDGET_MIB),
        Row("engine memory, late against early", growth, "×", 1.0, "≤ 1.03", growth <= 1.03),
    ]
