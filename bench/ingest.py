"""Flow ingest, from netifyd's bytes to the aggregates, against a loop that only decodes the same messages."""

from __future__ import annotations

import gc
import json
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import orjson
except ImportError:
    orjson = None

from bench.row import Row
from bench.wire import frame
from dpi_dual.capture.agent import CHUNK, AgentClient
from dpi_dual.capture.flows import FlowTable
from dpi_dual.capture.framing import Framing
from dpi_dual.capture.summary import summarise

#: A busy home router: netifyd's ticks of 15 s; in each, new flows, flows that go on, and ended ones.
TICKS, LIVE, NEW, ACTIVE = 4, 4000, 1200, 2500
#: The engine makes its aggregates every 5 s.
SUMMARIES_A_TICK = 3
#: Rounds of both loops in turn, in processor time, so that a busy machine judges as little as it can.
ROUNDS = 15

MEMORY_FLOWS = 10_000

APPLICATIONS = ("Unknown", "netify.youtube", "netify.netflix", "netify.whatsapp", "netify.microsoft", "netify.akamai")
PROTOCOLS = ((196, "HTTP/S", 443, 6), (5, "DNS", 53, 17), (188, "QUIC", 443, 17), (7, "HTTP", 80, 6))


def announcement(number: int, at_ms: int, updated: bool = False, hosts: int = 900) -> bytes:
    """One `flow` message as netifyd 4.4.7 sends it; `hosts` bounds how many remote hosts there are."""
    protocol, name, port, ip_protocol = PROTOCOLS[number % len(PROTOCOLS)]
    client = number % 120
    remote = number % hosts
    host = f"host{remote}.example.com"
    application = number % len(APPLICATIONS)
    flow: dict[str, object] = {
        "category": {"application": 29 if application else 0, "domain": 0, "protocol": 22},
        "detected_application": 100 + application if application else 0,
        "detected_application_name": APPLICATIONS[application],
        "detected_protocol": protocol,
        "detected_protocol_name": name,
        "detection_guessed": False,
        "detection_updated": updated,
        "dhc_hit": True,
        "digest": f"{number:040x}",
        "dns_host_name": host,
        "first_seen_at": at_ms,
        "first_update_at": at_ms,
        "host_server_name": host,
        "ip_nat": False,
        "ip_protocol": ip_protocol,
        "ip_version": 4,
        "last_seen_at": at_ms + 18,
        "local_ip": f"192.168.1.{2 + client}",
        "local_mac": f"02:00:5e:00:01:{2 + client:02x}",
        "local_origin": True,
        "local_port": 20_000 + number % 40_000,
        "other_ip": f"198.51.{remote // 250}.{remote % 250}",
        "other_mac": "02:00:5e:00:01:01",
        "other_port": port,
        "other_type": "remote",
        "risks": {"ndpi_risk_score": 10, "ndpi_risk_score_client": 5, "ndpi_risk_score_server": 5, "risks": [46]},
        "soft_dissector": False,
        "vlan_id": 0,
    }
    if protocol == 196:
        flow["ssl"] = {"alpn": ["h2", "http/1.1"], "cipher_suite": "0x1302", "client_sni": host, "version": "0x0303"}
    return frame({"established": False, "flow": flow, "interface": "br-lan", "internal": True, "type": "flow"})


def counters(kind: str, number: int, at_ms: int, ticks: int) -> bytes:
    """One `flow_stats` or `flow_purge` message."""
    flow = {
        "detection_packets": 12,
        "digest": f"{number:040x}",
        "last_seen_at": at_ms,
        "local_bytes": 1817 if kind == "flow_stats" else 0,
        "local_packets": 12 if kind == "flow_stats" else 0,
        "other_bytes": 13252 if kind == "flow_stats" else 0,
        "other_packets": 11 if kind == "flow_stats" else 0,
        "total_bytes": 15069 * ticks,
        "total_packets": 23 * ticks,
    }
    reason = {"reason": "expired"} if kind == "flow_purge" else {}
    return frame({"established": False, "flow": flow, "interface": "br-lan", "internal": True, **reason, "type": kind})


def stream() -> list[bytes]:
    """The parts of the stream between two aggregates."""
    chance = random.Random(1)
    live: dict[int, int] = {}
    number = 0
    parts = []
    for tick in range(TICKS):
        at_ms = 1_795_311_026_000 + tick * 15_000
        messages = []
        for _ in range(LIVE if tick == 0 else NEW):
            messages.append(announcement(number, at_ms))
            if number % 3 == 0:
                messages.append(announcement(number, at_ms, updated=True))
            live[number] = 0
            number += 1
        for active in chance.sample(sorted(live), ACTIVE):
            live[active] += 1
            messages.append(counters("flow_stats", active, at_ms + 15_000, live[active]))
        for over in chance.sample(sorted(live), NEW):
            messages.append(counters("flow_purge", over, at_ms + 15_000, live.pop(over)))
        step = -(-len(messages) // SUMMARIES_A_TICK)
        parts += [b"".join(messages[start : start + step]) for start in range(0, len(messages), step)]
    return parts


def _chunks(parts: list[bytes]) -> Iterator[list[bytes]]:
    for part in parts:
        yield [part[start : start + CHUNK] for start in range(0, len(part), CHUNK)]


def _ingest(chunks: list[list[bytes]]) -> float:
    table = FlowTable("lan")
    agent = AgentClient("lan", "/nowhere", lambda _: table)
    agent.meet()
    started = time.process_time()
    for part in chunks:
        for chunk in part:
            agent.ingest(chunk)
        table.expire()
        summarise(table, 0.0)
    took = time.process_time() - started
    if table.started < LIVE or agent.counters()["agent_lan_malformed"]:
        raise RuntimeError("the stream was not taken as it is meant")
    return took


def _decode_only(payloads: list[bytes]) -> float:
    loads = orjson.loads if orjson else json.loads
    started = time.process_time()
    for payload in payloads:
        loads(payload)
    return time.process_time() - started


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _bytes_a_flow() -> float:
    table = FlowTable("lan", max_flows=MEMORY_FLOWS)
    agent = AgentClient("lan", "/nowhere", lambda _: table)
    agent.meet()
    agent.ingest(announcement(0, 1_795_311_026_000))
    before = _resident_bytes()
    for number in range(1, MEMORY_FLOWS):
        agent.ingest(announcement(number, 1_795_311_026_000 + number, hosts=5000))
    for number in range(1, MEMORY_FLOWS):
        agent.ingest(counters("flow_stats", number, 1_795_311_041_000 + number, 1))
    return (_resident_bytes() - before) / (len(table) - 1)


def measure() -> list[Row]:
    per_flow = _bytes_a_flow()  # first: nothing freed earlier that new flows could go into
    parts = stream()
    payloads = list(Framing().feed(b"".join(parts)))
    chunks = list(_chunks(parts))
    times = [(_ingest(chunks), _decode_only(payloads)) for _ in range(ROUNDS)]
    ingest = len(payloads) / statistics.median(took for took, _ in times)
    decoding = len(payloads) / statistics.median(took for _, took in times)
    ratio = statistics.median(decoded / taken for taken, decoded in times)
    beside = "decoding alone"
    return [
        Row("flow ingest", ingest, "messages/s", decoding, "≥ 30,000", ingest >= 30_000, ROUNDS, beside),
        Row("flow ingest against decoding", ratio, "×", 1.0, "≥ 0.5", ratio >= 0.5, ROUNDS, beside),
        Row("flow table", per_flow, "bytes/flow", None, "≤ 1,200", per_flow <= 1200),
    ]
