"""What a flow counts for: clients, destinations, protocols, history, each byte once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpi_dual.lan.accounting import LanAccounting
from dpi_dual.lan.clients import ClientTable
from dpi_dual.lan.destinations import DestinationTable
from dpi_dual.lan.ends import Neighbourhood
from dpi_dual.lan.kinds import MAX_KINDS
from dpi_dual.lan.protocols import ProtocolTable
from dpi_dual.model import Flow
from tests.lan.household import LAPTOP, PHONE, ROUTER, Count, Make


def figures(accounting: LanAccounting, mac: str) -> tuple[int, int, int, int, int]:
    accounting.settle()
    client = accounting.clients.get(mac)
    assert client is not None
    return client.bytes_in, client.bytes_out, client.bytes_unsplit, client.flows, client.live


def test_bytes_are_the_clients_view(accounting: LanAccounting, make_flow: Make, count: Count) -> None:
    flow = make_flow()
    accounting.flow_started(flow)
    count(accounting, flow, local=100, other=2000, undirected=7)
    assert figures(accounting, PHONE) == (2000, 100, 7, 1, 1)
    accounting.flow_ended(flow)
    assert figures(accounting, PHONE) == (2000, 100, 7, 1, 0)
    client = accounting.clients.get(PHONE)
    assert (
        client is not None
        and client.packets == 3
        and client.row("", 0.0)["last_proto"] == "TLS"
        and client.row("", 0.0)["last_app"] == "Unknown"
    )


def test_the_client_may_be_the_other_side(accounting: LanAccounting, make_flow: Make, count: Count) -> None:
    flow = make_flow(
        local_ip="192.168.1.1", local_mac=ROUTER, local_port=53, other_ip="192.168.1.10", other_mac=PHONE,
        other_port=5000, other_type="local", local_origin=False, protocol="DNS",
    )  # fmt: skip
    accounting.flow_started(flow)
    count(accounting, flow, local=300, other=80)
    assert figures(accounting, PHONE) == (300, 80, 0, 1, 1)
    assert accounting.clients.get(ROUTER) is None and len(accounting.clients) == 1
    assert len(accounting.destinations) == 0
    assert (accounting.totals.bytes_in, accounting.totals.bytes_out) == (300, 80)
    (row,) = accounting.protocols
    assert (row.protocol, row.bytes_in, row.bytes_out) == ("DNS", 300, 80)


def test_a_flow_between_two_clients_counts_for_both_and_once_in_the_totals(
    accounting: LanAccounting, make_flow: Make, count: Count
) -> None:
    flow = make_flow(other_ip="192.168.1.11", other_mac=LAPTOP, other_type="local")
    accounting.flow_started(flow)
    count(accounting, flow, local=10, other=500)
    assert figures(accounting, PHONE) == (500, 10, 0, 1, 1)
    assert figures(accounting, LAPTOP) == (10, 500, 0, 1, 1)
    assert accounting.totals.bytes == 510 and accounting.totals.flows == 1


def test_all_addresses_of_a_client_on_one_row(accounting: LanAccounting, make_flow: Make) -> None:
    for ip in ("192.168.1.10", "fd00::10", "fe80::a", "0.0.0.0"):
        accounting.flow_started(make_flow(local_ip=ip))
    (client,) = accounting.clients
    assert client.mac == PHONE and client.ip == "192.168.1.10"
    assert client.ips() == ["192.168.1.10", "fd00::10", "fe80::a"]


def test_a_row_without_mac_merges_when_the_neighbour_is_learnt(
    accounting: LanAccounting, home: Neighbourhood, make_flow: Make, count: Count, clock: Callable[[], float]
) -> None:
    known = make_flow(local_ip="192.168.1.11", local_mac=LAPTOP)
    accounting.flow_started(known)
    count(accounting, known, other=1000)
    nameless = make_flow(local_ip="192.168.1.77", local_mac="", other_mac="", application="youtube")
    accounting.flow_started(nameless)
    count(accounting, nameless, local=5, other=50)
    assert len(accounting.clients) == 2

    later = replace(home, macs={**home.macs, "192.168.1.77": LAPTOP})
    accounting.around = later
    accounting.clients.learn(later, clock())
    for old, client in accounting.clients.take_renamed():
        accounting.rename_client(old, client.key)
    assert len(accounting.clients) == 1
    assert figures(accounting, LAPTOP) == (1050, 5, 0, 2, 2)

    count(accounting, nameless, other=1)
    accounting.flow_ended(nameless)
    assert figures(accounting, LAPTOP) == (1051, 5, 0, 2, 1)
    laptop = accounting.clients.get("192.168.1.77")
    assert laptop is accounting.clients.get(LAPTOP) and laptop is not None
    youtube = laptop.kinds.applications()["youtube"]
    assert youtube.bytes_in == 51 and youtube.live == 0
    assert accounting.take_pending() == {(LAPTOP, "youtube"): [51, 5, 0, 1], (LAPTOP, "TLS"): [1000, 0, 0, 1]}
    (destination,) = accounting.destinations
    assert [(share.client, share.bytes, share.hits) for share in destination.shares] == [(LAPTOP, 1056, 2)]


def test_a_nameless_row_gets_its_first_mac(
    accounting: LanAccounting, home: Neighbourhood, make_flow: Make, count: Count, clock: Callable[[], float]
) -> None:
    flow = make_flow(local_ip="192.168.1.88", local_mac="")
    accounting.flow_started(flow)
    count(accounting, flow, other=9)
    accounting.clients.learn(replace(home, macs={"192.168.1.88": LAPTOP}), clock())
    count(accounting, flow, other=1)
    accounting.flow_ended(flow)
    assert figures(accounting, LAPTOP) == (10, 0, 0, 1, 0)
    assert [(old, client.key) for old, client in accounting.clients.take_renamed()] == [("192.168.1.88", LAPTOP)]


def test_the_router_stops_being_a_client_when_it_is_known(
    accounting: LanAccounting, home: Neighbourhood, make_flow: Make, count: Count, clock: Callable[[], float]
) -> None:
    accounting.around = Neighbourhood()
    flow = make_flow(local_ip="192.168.1.1", local_mac=ROUTER, other_ip="192.168.1.10", other_mac=PHONE,
                     other_type="local")  # fmt: skip
    accounting.flow_started(flow)
    assert accounting.clients.get(ROUTER) is not None
    accounting.around = home
    accounting.clients.learn(home, clock())
    assert accounting.clients.get(ROUTER) is None and accounting.clients.get("192.168.1.1") is None


def test_a_late_classification_moves_what_was_counted(accounting: LanAccounting, make_flow: Make, count: Count) -> None:
    flow = make_flow(protocol="Unknown")
    accounting.flow_started(flow)
    count(accounting, flow, local=10, other=100)
    accounting.settle()
    flow.protocol, flow.application = "TLS", "youtube"
    count(accounting, flow, local=1, other=2)
    accounting.settle()
    rows = {(row.protocol, row.application): row for row in accounting.protocols}
    assert rows["Unknown", "Unknown"].bytes == 0 and rows["Unknown", "Unknown"].flows == 0
    assert rows["TLS", "youtube"].bytes == 113 and rows["TLS", "youtube"].flows == 1
    client = accounting.clients.get(PHONE)
    assert client is not None
    applications = client.kinds.applications()
    assert applications["youtube"].bytes_in == 102 and applications["youtube"].live == 1
    assert applications["Unknown"].bytes == 0 and applications["Unknown"].flows == 0
    assert client.row("", 0.0)["last_app"] == "youtube"
    assert accounting.take_pending() == {(PHONE, "youtube"): [102, 11, 0, 1]}


def test_what_is_written_stays_written_when_a_flow_gets_another_name(
    accounting: LanAccounting, make_flow: Make, count: Count
) -> None:
    flow = make_flow(protocol="Unknown")
    accounting.flow_started(flow)
    count(accounting, flow, local=10, other=100)
    assert accounting.take_pending() == {(PHONE, "Unknown"): [100, 10, 0, 1]}
    flow.protocol = "SSH"
    count(accounting, flow, local=1, other=2)
    assert accounting.take_pending() == {(PHONE, "SSH"): [2, 1, 0, 0]}


def test_a_classification_with_the_end_still_counts(accounting: LanAccounting, make_flow: Make, count: Count) -> None:
    flow = make_flow(protocol="Unknown")
    accounting.flow_started(flow)
    count(accounting, flow, other=100)
    accounting.settle()
    flow.protocol = "SSH"
    accounting.flow_ended(flow)
    assert {row.protocol: row.bytes for row in accounting.protocols} == {"Unknown": 0, "SSH": 100}
    assert all(row.live == 0 for row in accounting.protocols)


def test_a_flow_counted_before_it_was_announced_is_one_flow(
    accounting: LanAccounting, make_flow: Make, count: Count
) -> None:
    flow = make_flow()
    count(accounting, flow, other=5)
    accounting.flow_started(flow)
    assert figures(accounting, PHONE) == (5, 0, 0, 1, 1)


def test_parts_can_be_switched_off(accounting: LanAccounting, make_flow: Make, count: Count) -> None:
    accounting.track_clients = accounting.track_destinations = False
    flow = make_flow()
    accounting.flow_started(flow)
    count(accounting, flow, other=5)
    accounting.flow_ended(flow)
    assert not len(accounting.clients) and not len(accounting.destinations)
    assert accounting.totals.bytes == 5


def test_a_client_dropped_while_its_flow_lives_begins_anew(
    accounting: LanAccounting, make_flow: Make, count: Count, clock: Callable[[], float]
) -> None:
    flow = make_flow()
    accounting.flow_started(flow)
    count(accounting, flow, other=100)
    accounting.settle()
    accounting.clients.expire(clock() + 10_000, 3600)
    assert not len(accounting.clients)
    count(accounting, flow, other=7)
    assert figures(accounting, PHONE) == (7, 0, 0, 1, 1)
    accounting.flow_ended(flow)
    assert figures(accounting, PHONE) == (7, 0, 0, 1, 0)


def test_a_destination_dropped_while_its_flow_lives_begins_anew(
    accounting: LanAccounting, make_flow: Make, count: Count, clock: Callable[[], float]
) -> None:
    flow = make_flow()
    accounting.flow_started(flow)
    accounting.destinations.expire(clock() + 10_000, 3600)
    count(accounting, flow, other=7)
    accounting.settle()
    (row,) = accounting.destinations
    (share,) = row.shares
    assert (row.bytes, row.flows, row.live) == (7, 1, 1)
    assert (share.client, share.bytes, share.hits) == (PHONE, 7, 1)
    accounting.flow_ended(flow)
    assert row.live == 0


def test_the_history_gets_each_byte_once(accounting: LanAccounting, make_flow: Make, count: Count) -> None:
    flow = make_flow(application="youtube")
    accounting.flow_started(flow)
    count(accounting, flow, other=5)
    assert accounting.take_pending() == {(PHONE, "youtube"): [5, 0, 0, 1]}
    count(accounting, flow, other=6, undirected=1)
    assert accounting.take_pending() == {(PHONE, "youtube"): [6, 0, 1, 0]}
    assert accounting.take_pending() == {}


def test_a_name_from_dhcp_is_the_clients_own(accounting: LanAccounting, make_flow: Make) -> None:
    accounting.flow_started(make_flow(local_ip="0.0.0.0", other_ip="255.255.255.255", other_type="broadcast",
                                      protocol="DHCP", hostname="lab-phone", hostname_source="dhcp"))  # fmt: skip
    (client,) = accounting.clients
    assert client.self_name == "lab-phone" and client.addresses == {}


_ENDS = st.sampled_from(
    [
        ("192.168.1.10", PHONE), ("192.168.1.11", LAPTOP), ("192.168.1.1", ROUTER), ("198.51.100.10", ROUTER),
        ("192.168.1.77", ""), ("", ""), ("0.0.0.0", PHONE), ("ff02::1", "33:33:00:00:00:01"), ("not an ip", "zz"),
        ("fd00::10", PHONE), ("192.168.1.10", LAPTOP),
    ]
)  # fmt: skip
_NAMES = st.sampled_from(["Unknown", "TLS", "DNS", "HTTP"])
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["start", "count", "name", "end", "learn", "expire", "write", "settle"]),
        st.integers(0, 5),
        _ENDS,
        _ENDS,
        st.sampled_from(["remote", "local", "multicast", "broadcast", "unknown", "error"]),
        _NAMES,
        st.integers(0, 10_000),
        st.integers(0, 10_000),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=_STEPS)
def test_whatever_comes_sums_agree_and_nothing_stays_live(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    now = 1_800_000_000.0
    around = Neighbourhood({"192.168.1.77": LAPTOP}, frozenset({ROUTER}), frozenset({"192.168.1.1"}))
    accounting = LanAccounting(ClientTable(3), DestinationTable(2), ProtocolTable(2), lambda: now, lambda: now)
    flows: dict[int, Flow] = {}
    total = 0
    written: dict[str, int] = {}
    for action, number, (ip, mac), (other_ip, other_mac), kind, name, local, other in steps:
        flow = flows.get(number)
        now += 1
        if action == "start" and flow is None:
            flow = flows[number] = Flow(
                "lan", "br-lan", str(number), now, now, 4, 6, ip, 1, mac, other_ip, 443, other_mac, kind, protocol=name
            )
            accounting.flow_started(flow)
        elif action == "learn":
            accounting.around = around
            accounting.clients.learn(around, now)
            for old, client in accounting.clients.take_renamed():
                accounting.rename_client(old, client.key)
        elif action == "expire":
            accounting.clients.expire(now, 3)
            accounting.destinations.expire(now, 3)
        elif action == "write":
            for figures in accounting.take_pending().values():
                assert min(figures) >= 0
                written["all"] = written.get("all", 0) + sum(figures[:3])
        elif action == "settle":
            accounting.settle()
        elif flow is not None and action == "count":
            flow.local_bytes += local
            flow.other_bytes += other
            flow.last_seen_at = now
            total += local + other
            accounting.flow_counted(flow, local, other, 0, 1, 1, 0)
        elif flow is not None and action == "name":
            flow.protocol = name
        elif flow is not None and action == "end":
            accounting.flow_ended(flows.pop(number))
    accounting.settle()
    assert accounting.totals.bytes == total
    assert len(accounting.live_flows()) == len(flows)
    for flow in flows.values():
        accounting.flow_ended(flow)
    assert accounting.totals.live == 0
    tallies = [*accounting.clients, *accounting.destinations, *accounting.protocols]
    assert all(tally.live == 0 and tally.bytes_in >= 0 and tally.bytes_out >= 0 for tally in tallies)
    for client in accounting.clients:
        assert client.key and accounting.clients.get(client.key) is client
        assert sum(kind.bytes for kind in client.kinds.values()) == client.bytes
        assert all(kind.live == 0 for kind in client.kinds.values())
        assert all(accounting.clients.get(ip) is client for ip in client.addresses)


@pytest.mark.parametrize("names", [60, 400])
def test_applications_of_a_client_are_bounded_and_their_sum_is_not_lost(
    accounting: LanAccounting, make_flow: Make, count: Count, names: int
) -> None:
    for number in range(names):
        flow = make_flow(application=f"app{number}")
        accounting.flow_started(flow)
        count(accounting, flow, other=number + 1)
        accounting.flow_ended(flow)
    client = accounting.clients.get(PHONE)
    assert client is not None and len(client.kinds) <= MAX_KINDS + 1
    applications = client.kinds.applications()
    assert sum(tally.bytes for tally in applications.values()) == client.bytes == names * (names + 1) // 2
    assert f"app{names - 1}" in applications and "app0" not in applications
    assert sum(figures[0] for figures in accounting.take_pending().values()) == client.bytes
