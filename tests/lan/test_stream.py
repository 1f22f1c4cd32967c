"""The LAN stream as a whole: ticks, files, answers, health, the clock, going and coming agents."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

from dpi_dual.capture.agent import AgentClient
from dpi_dual.capture.conntrack import Table
from dpi_dual.lan.ends import Neighbourhood
from dpi_dual.lan.stream import FLUSH_S, LanStream
from dpi_dual.settings import Settings
from tests.lan.household import PHONE, Count, Make, browse, connection


def test_files_have_the_keys_that_others_read(
    stream: LanStream, files: dict[str, dict[str, Any]], make_flow: Make, count: Count
) -> None:
    browse(stream, make_flow, count, hostname="www.example.com", hostname_source="sni", application="youtube")
    stream.tick()
    assert set(files) == {"lan-flows.json", "lan-clients.json", "lan-destinations.json", "lan-protocols.json"}
    flows = files["lan-flows.json"]
    assert flows["mode"] == "lan_passive" and flows["interface"] == "br-lan" and flows["source"] == "netifyd"
    assert (flows["active_clients"], flows["unique_destinations"], flows["detected_protocols"]) == (1, 1, 1)
    assert {"rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "rx_rate_bps", "tx_rate_bps", "timestamp"} <= set(flows)
    (client,) = files["lan-clients.json"]["clients"]
    assert client["mac"] == PHONE and client["hostname"] == "phone" and client["last_app"] == "youtube"
    assert {"ip", "bytes_in", "bytes_out", "flows", "last_proto", "last_seen"} <= set(client)
    (destination,) = files["lan-destinations.json"]["destinations"]
    wanted = {
        "ip": "198.51.100.10",
        "hostname": "www.example.com",
        "port": 443,
        "proto": "tcp",
        "bytes": 1100,
        "hits": 1,
    }
    assert {key: destination[key] for key in wanted} == wanted
    (protocol,) = files["lan-protocols.json"]["protocols"]
    assert {key: protocol[key] for key in ("protocol", "application", "flows", "bytes")} == {
        "protocol": "TLS", "application": "youtube", "flows": 1, "bytes": 1100,
    }  # fmt: skip
    json.dumps(files)


def test_history_is_written_in_batches_and_read_with_what_is_not_yet(
    stream: LanStream, db: sqlite3.Connection, make_flow: Make, count: Count, clock: Any, monotonic: Any
) -> None:
    flow = browse(stream, make_flow, count, application="youtube")
    monotonic.now += 10
    clock.now += 10
    stream.tick()
    assert db.execute("SELECT COUNT(*) FROM lan_hour").fetchone() == (0,)
    history: Any = stream.history(client="phone", application="youtube", period="day")
    assert [point["bytes"] for point in history["points"]] == [1100]
    monotonic.now += FLUSH_S
    clock.now += FLUSH_S
    stream.tick()
    assert db.execute("SELECT bytes_in, bytes_out, flows FROM lan_hour").fetchall() == [(1000, 100, 1)]
    count(stream.accounting, flow, other=11)
    history = stream.history(period="hour")
    assert history["points"][-1]["bytes"] == 1111 and history["applications"][0]["bytes"] == 1111
    assert (history["clients"][0]["client"], history["clients"][0]["hostname"]) == (PHONE, "phone")
    stream.flush()
    assert db.execute("SELECT bytes_in FROM lan_day").fetchall() == [(1011,)]
    # A client that is long gone from the table is still in the history.
    clock.now += 7200
    monotonic.now += 7200
    stream.tick()
    assert len(stream.accounting.clients) == 0
    history = stream.history(client=PHONE, period="day")
    assert history["points"][-1]["bytes"] == 1111


def test_an_hour_gets_what_was_counted_in_it(
    stream: LanStream, db: sqlite3.Connection, make_flow: Make, count: Count, clock: Any, monotonic: Any
) -> None:
    clock.now = clock.now // 3600 * 3600 + 3598
    monotonic.now += 1
    stream.tick()
    browse(stream, make_flow, count)
    clock.now += 1
    monotonic.now += 1
    stream.tick()
    clock.now += 5
    monotonic.now += 5
    stream.tick()
    hour = int(clock.now) // 3600 * 3600
    assert db.execute("SELECT start FROM lan_hour").fetchall() == [(hour - 3600,)]


def test_nothing_is_dated_before_the_clock_is_set(
    stream: LanStream, db: sqlite3.Connection, make_flow: Make, count: Count, clock: Any, monotonic: Any
) -> None:
    told: list[dict[str, object]] = []
    stream.on_new_client = told.append
    real, clock.now = clock.now, 100.0
    stream.tick()
    browse(stream, make_flow, count)
    for _ in range(20):
        clock.now += 10
        monotonic.now += 10
        stream.tick()
    assert db.execute("SELECT COUNT(*) FROM lan_hour").fetchone() == (0,) and told == []
    assert "lan_clock_unset" in {problem.code for problem in stream.problems()}
    clock.now = real
    monotonic.now += FLUSH_S
    stream.tick()
    (start,) = db.execute("SELECT start FROM lan_hour").fetchone()
    assert start == int(real) // 3600 * 3600
    (row,) = told
    assert real - 300 < float(str(row["first_seen_at"])) <= real  # not in 1970
    assert len(stream.accounting.clients) == 1  # nor thrown away as idle for decades


def test_a_device_is_announced_once_ever(
    stream: LanStream, settings: Settings, db: sqlite3.Connection, make_flow: Make, count: Count, clock: Any,
    monotonic: Any, tmp_path: Path, kernel: Any,
) -> None:  # fmt: skip
    told: list[dict[str, object]] = []
    stream.on_new_client = told.append
    browse(stream, make_flow, count)
    stream.tick()
    stream.tick()
    assert [(row["mac"], row["hostname"]) for row in told] == [(PHONE, "phone")]
    again = LanStream(settings, db, clock=clock, monotonic=monotonic, config_dir=str(tmp_path), kernel=kernel)
    again.on_new_client = told.append
    browse(again, make_flow, count)
    again.tick()
    assert len(told) == 1


def test_conntrack_stands_in_and_steps_back(
    stream: LanStream, files: dict[str, dict[str, Any]], make_flow: Make, count: Count, clock: Any, monotonic: Any,
    kernel: Any,
) -> None:  # fmt: skip
    agent = ["netifyd"]
    stream.agent = lambda: agent[0]

    def tick(sent: int, answered: int) -> None:
        kernel.table = Table([connection(sent, answered)], 0, 0, False)
        clock.now += 5
        monotonic.now += 5
        stream.tick()

    flow = make_flow(application="youtube")
    stream.accounting.flow_started(flow)
    count(stream.accounting, flow, other=114)
    tick(0, 1)
    tick(0, 1)
    assert files["lan-clients.json"]["rates_source"] == "conntrack"
    agent[0] = ""
    tick(0, 1)
    assert stream.source == "none"  # it may be back at once
    tick(0, 1)
    assert stream.source == "conntrack" and "lan_fallback" in {problem.code for problem in stream.problems()}
    tick(2, 11)
    (client,) = files["lan-clients.json"]["clients"]
    assert (client["bytes_in"], client["bytes_out"], client["flows"], client["flows_live"]) == (11 * 114, 2 * 114, 1, 1)
    assert (client["rx_bps"], client["tx_bps"]) == (1824, 365)
    assert files["lan-flows.json"]["source"] == "conntrack"
    agent[0] = "netifyd"
    tick(2, 12)
    assert stream.source == "netifyd"
    count(stream.accounting, flow, local=2 * 114, other=11 * 114)
    tick(2, 12)
    (client,) = files["lan-clients.json"]["clients"]
    assert (client["bytes_in"], client["bytes_out"], client["flows"]) == (12 * 114, 2 * 114, 1)
    assert "lan_fallback" not in {problem.code for problem in stream.problems()}


def test_without_conntrack_and_agent_the_source_is_none(
    stream: LanStream, kernel: Any, files: dict[str, Any], clock: Any, monotonic: Any
) -> None:
    stream.agent = lambda: ""
    kernel.table = None
    monotonic.now += 60
    clock.now += 60
    stream.tick()
    assert stream.source == "none" and files["lan-flows.json"]["rates_source"] == "none"


def test_rates_come_from_the_agent_when_realtime_is_off(
    stream: LanStream, settings: Settings, make_flow: Make, count: Count, clock: Any, monotonic: Any
) -> None:
    stream.reconfigure(replace(settings, lan=replace(settings.lan, realtime=False)))
    flow = browse(stream, make_flow, count)
    stream.tick()
    monotonic.now += 15
    clock.now += 15
    count(stream.accounting, flow, other=1500)
    stream.tick()
    monotonic.now += 5
    clock.now += 5
    stream.tick()
    row: Any = stream.clients()["clients"]
    assert row[0]["rx_bps"] == 800 and stream.status()["rates_source"] == "netifyd"


def test_reconfigure_keeps_what_is_known(stream: LanStream, settings: Settings, make_flow: Make, count: Count) -> None:
    browse(stream, make_flow, count)
    off = replace(settings.lan, interface=("br-lan", "br-guest"), track_destinations=False)
    stream.reconfigure(replace(settings, lan=off))
    assert stream.clients()["total"] == 1 and stream.status()["interface"] == "br-lan br-guest"
    assert stream.destinations()["total"] == 0  # a part that is off shows nothing
    stream.reconfigure(settings)
    assert stream.destinations()["total"] == 1


def test_a_recording(recordings: Path, stream: LanStream, kernel: Any) -> None:
    kernel.around = Neighbourhood(
        {"192.168.1.100": "02:00:5e:00:01:64"},
        frozenset({"02:00:5e:00:01:01"}),
        frozenset({"192.168.1.1", "fdaa:1::1", "fe80::5eff:fe00:101"}),
    )
    stream.tick()
    agent = AgentClient("lan", "/nowhere", lambda name: stream.table if name == "br-lan" else None)
    agent.meet()
    data = (recordings / "netifyd-4.4.7" / "brlan-default.bin").read_bytes()
    for at in range(0, len(data), 8192):
        agent.ingest(data[at : at + 8192])
    (client,) = stream.clients()["clients"]  # type: ignore[misc]
    assert client["mac"] == "02:00:5e:00:01:64" and client["hostname"] == "lab-laptop"  # type: ignore[index]
    assert stream.table.counters()["unattributed_bytes"] == 0
    total = sum(flow.local_bytes + flow.other_bytes + flow.undirected_bytes for flow in stream.table.all())
    assert client["bytes"] == stream.status()["bytes"] == total > 7_000_000  # type: ignore[index]
    names = {row["application"] for row in stream.applications()["applications"]}  # type: ignore[attr-defined]
    assert {"youtube", "SSH", "DNS", "HTTP", "ICMPv6"} <= names


def test_run_ticks_and_writes_at_its_end(
    settings: Settings, db: sqlite3.Connection, files: dict[str, Any], tmp_path: Path, kernel: Any,
    make_flow: Make, count: Count,
) -> None:  # fmt: skip
    stream = LanStream(settings, db, files.__setitem__, config_dir=str(tmp_path), kernel=kernel)
    browse(stream, make_flow, count)

    async def run_a_moment() -> None:
        task = asyncio.ensure_future(stream.run())
        while "lan-protocols.json" not in files:
            await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run_a_moment())
    assert db.execute("SELECT SUM(bytes_in) FROM lan_day").fetchone() == (1000,)
    assert all(isinstance(value, int) and value >= 0 for value in stream.counters().values())
