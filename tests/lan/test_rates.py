"""Rates are measured differences, and say where they come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dpi_dual.capture.conntrack import Connection, Table
from dpi_dual.lan.accounting import LanAccounting
from dpi_dual.lan.rates import InterfaceMeter, RateMeter
from dpi_dual.model import Flow
from tests.lan.household import LAPTOP, PHONE


def connection(sent: int, answered: int, number: int = 1, src: str = "192.168.1.10", **fields: Any) -> Connection:
    values: dict[str, Any] = {
        "ip_version": 4, "protocol": 6, "src": src, "sport": 40000, "dst": "198.51.100.10", "dport": 443,
        "reply_src": "198.51.100.10", "reply_sport": 443, "reply_dst": "203.0.113.2", "reply_dport": 40000,
        "orig_packets": sent, "orig_bytes": sent * 86, "reply_packets": answered, "reply_bytes": answered * 86,
        "id": number, "mark": 0, "timeout_s": 1, "tcp_state": 3,
    }  # fmt: skip
    return Connection(**{**values, **fields})


def table(*connections: Connection, **state: Any) -> Table:
    return Table(list(connections), state.get("left_out", 0), 0, state.get("interrupted", False))


def rates(accounting: LanAccounting, mac: str) -> tuple[int, int]:
    client = accounting.clients.get(mac)
    assert client is not None
    return client.rx_bps, client.tx_bps


def two_clients(accounting: LanAccounting, make_flow: Callable[..., Flow]) -> None:
    accounting.flow_started(make_flow())
    accounting.flow_started(make_flow(local_ip="192.168.1.11", local_mac=LAPTOP))


def test_conntrack_rates_are_differences_over_the_measured_time(
    accounting: LanAccounting, make_flow: Callable[..., Flow]
) -> None:
    two_clients(accounting, make_flow)
    meter = RateMeter()
    assert not meter.from_conntrack(table(connection(100, 1000)), accounting.clients, 50.0)
    assert meter.source == "none"
    assert meter.from_conntrack(
        table(connection(110, 1100), connection(1, 2, 2, "192.168.1.11"), connection(9, 9, 3, "192.168.1.200")),
        accounting.clients,
        54.0,
    )
    assert (meter.source, meter.interval_s) == ("conntrack", 4.0)
    # 100 bytes a packet with its Ethernet header: 100 packets in 4 s are 20,000 bits a second.
    assert rates(accounting, PHONE) == (20_000, 2_000)
    assert rates(accounting, LAPTOP) == (400, 200)
    meter.from_conntrack(table(connection(110, 1100)), accounting.clients, 59.0)
    assert rates(accounting, PHONE) == (0, 0)


def test_the_answering_side_is_a_client_too(accounting: LanAccounting, make_flow: Callable[..., Flow]) -> None:
    two_clients(accounting, make_flow)
    meter = RateMeter()
    forwarded = {"src": "198.51.100.7", "reply_src": "192.168.1.11"}
    meter.from_conntrack(table(connection(0, 0, **forwarded)), accounting.clients, 1.0)
    meter.from_conntrack(table(connection(10, 5, **forwarded)), accounting.clients, 2.0)
    assert rates(accounting, LAPTOP) == (8000, 4000)


def test_after_an_incomplete_dump_unknown_connections_are_no_growth(
    accounting: LanAccounting, make_flow: Callable[..., Flow]
) -> None:
    two_clients(accounting, make_flow)
    meter = RateMeter()
    meter.from_conntrack(table(left_out=1), accounting.clients, 1.0)
    meter.from_conntrack(table(connection(1000, 1000)), accounting.clients, 2.0)
    assert rates(accounting, PHONE) == (0, 0)
    meter.from_conntrack(table(connection(1010, 1000)), accounting.clients, 3.0)
    assert rates(accounting, PHONE) == (0, 8000)


def test_counters_that_somebody_emptied_hold_what_came_since(
    accounting: LanAccounting, make_flow: Callable[..., Flow]
) -> None:
    two_clients(accounting, make_flow)
    meter = RateMeter()
    meter.from_conntrack(table(connection(1000, 1000)), accounting.clients, 1.0)
    meter.from_conntrack(table(connection(5, 50)), accounting.clients, 2.0)
    assert rates(accounting, PHONE) == (40_000, 4_000)
    meter.from_conntrack(table(connection(6, 50)), accounting.clients, 3.0)
    assert rates(accounting, PHONE) == (0, 800)


def test_an_agents_ticks(
    accounting: LanAccounting,
    make_flow: Callable[..., Flow],
    count: Callable[..., None],
    monotonic: Any,
) -> None:
    flow = make_flow()
    accounting.flow_started(flow)
    meter = RateMeter()
    count(accounting, flow, local=1, other=1)
    accounting.settle()
    meter.from_ticks(accounting, "netifyd", monotonic.now)
    assert meter.source == "none"  # one tick says nothing about a time
    monotonic.now += 15
    count(accounting, flow, local=1500, other=15_000)
    accounting.settle()
    meter.from_ticks(accounting, "netifyd", monotonic.now)
    assert meter.source == "none"  # the tick may not be over
    monotonic.now += 5
    meter.from_ticks(accounting, "netifyd", monotonic.now)
    assert (meter.source, meter.interval_s) == ("netifyd", 15.0)
    assert rates(accounting, PHONE) == (8000, 800)
    monotonic.now += 10
    count(accounting, make_flow(local_ip="192.168.1.11", local_mac=LAPTOP), other=30)
    accounting.settle()
    monotonic.now += 5
    meter.from_ticks(accounting, "netifyd", monotonic.now)
    assert rates(accounting, PHONE) == (0, 0)  # it said nothing in this tick
    monotonic.now += 60
    meter.from_ticks(accounting, "netifyd", monotonic.now)
    assert meter.source == "none"


def test_an_agent_without_ticks(
    accounting: LanAccounting, make_flow: Callable[..., Flow], count: Callable[..., None], monotonic: Any
) -> None:
    flow = make_flow()
    accounting.flow_started(flow)
    meter = RateMeter()
    seen = set()
    for _ in range(60):
        monotonic.now += 1
        count(accounting, flow, other=1000)
        accounting.settle()
        meter.from_ticks(accounting, "ndpid", monotonic.now)
        seen.add((meter.source, rates(accounting, PHONE)[0] // 2000))
    assert seen == {("none", 0), ("ndpid", 4)}  # a window of 9 to 15 s, of counts that came every second


def test_interfaces(tmp_path: Path) -> None:
    def put(received: int, sent: int) -> None:
        base = tmp_path / "br-lan" / "statistics"
        base.mkdir(parents=True, exist_ok=True)
        for name, value in (("rx_bytes", received), ("tx_bytes", sent), ("rx_packets", 1), ("tx_packets", 2)):
            (base / name).write_text(f"{value}\n")
        (base.parent / "flags").write_text("0x1003\n")

    put(1000, 2000)
    meter = InterfaceMeter(str(tmp_path))
    meter.read(("br-lan",), 10.0)
    assert meter.figures["rx_bytes"] == 1000 and meter.figures["rx_rate_bps"] == 0 and not meter.missing
    put(2000, 4500)
    meter.read(("br-lan",), 14.0)
    assert (meter.figures["rx_rate_bps"], meter.figures["tx_rate_bps"]) == (2000, 5000)
    put(0, 0)  # the interface was made anew
    meter.read(("br-lan", "br-guest"), 15.0)
    assert (meter.figures["rx_rate_bps"], meter.missing) == (0, ["br-guest"])
    (tmp_path / "br-lan" / "flags").write_text("0x1002\n")
    meter.read(("br-lan", "../../etc"), 16.0)
    assert meter.down == ["br-lan"] and meter.missing == ["../../etc"]
