"""Conntrack stands in for an absent agent, and no byte or flow is counted twice when the agent goes and comes."""

from __future__ import annotations

from typing import Any

import pytest

from dpi_dual.capture.conntrack import Connection, Table
from dpi_dual.lan.accounting import LanAccounting
from dpi_dual.lan.ends import Neighbourhood
from dpi_dual.lan.fallback import CREDIT_S, ConntrackFallback
from tests.lan.household import LAPTOP, PHONE, ROUTER, Count, Make, connection


def table(*connections: Connection, interrupted: bool = False, left_out: int = 0) -> Table:
    return Table(list(connections), left_out, 0, interrupted)


@pytest.fixture
def fallback(accounting: LanAccounting, clock: Any) -> ConntrackFallback:
    made = ConntrackFallback(accounting, clock)
    made.interface = "br-lan"
    return made


def phone(accounting: LanAccounting) -> tuple[int, int, int, int]:
    """The phone's bytes in and out, flows and live flows."""
    accounting.settle()
    client = accounting.clients.get(PHONE)
    assert client is not None
    return client.bytes_in, client.bytes_out, client.flows, client.live


def test_growth_is_counted_both_ways(fallback: ConntrackFallback, accounting: LanAccounting, clock: Any) -> None:
    fallback.start(table(connection(10, 10)), [])
    assert phone(accounting) == (0, 0, 1, 1)
    clock.now += 5
    fallback.update(table(connection(12, 15), connection(1, 2, sport=40001, number=2)))
    assert phone(accounting) == (7 * 114, 3 * 114, 2, 2)
    assert accounting.totals.bytes == 10 * 114
    (destination,) = accounting.destinations
    assert (destination.ip, destination.port, destination.flows, destination.protocol) == (
        "198.51.100.10",
        443,
        2,
        "TLS",
    )
    clock.now += 5
    fallback.update(table(connection(12, 15)))
    assert phone(accounting) == (7 * 114, 3 * 114, 2, 1)
    (flow,) = fallback.flows()
    assert flow.agent == "conntrack" and flow.guessed and flow.local_mac == PHONE and flow.serial


def test_an_interrupted_dump_neither_ends_nor_doubles_anything(
    fallback: ConntrackFallback, accounting: LanAccounting, clock: Any
) -> None:
    fallback.start(table(connection(10, 10)), [])
    fallback.update(table(interrupted=True))
    assert phone(accounting) == (0, 0, 1, 1)
    fallback.update(table(connection(11, 10), connection(11, 10), interrupted=True))
    assert phone(accounting) == (0, 114, 1, 1)
    # After an incomplete dump an entry not seen before may be an old one: it is a baseline.
    fallback.update(table(connection(11, 10), connection(50, 50, sport=40001, number=2)))
    assert phone(accounting) == (0, 114, 2, 2)
    fallback.update(table(connection(11, 10), connection(51, 50, sport=40001, number=2)))
    assert phone(accounting) == (0, 228, 2, 2)
    for _ in range(20):
        fallback.update(table(connection(11, 10), left_out=5))
    assert phone(accounting) == (0, 228, 2, 1)


def test_a_reused_tuple_is_counted_from_zero(fallback: ConntrackFallback, accounting: LanAccounting) -> None:
    fallback.start(table(connection(100, 100, number=1)), [])
    fallback.update(table(connection(5, 5, number=1)))
    assert phone(accounting) == (5 * 114, 5 * 114, 1, 1)
    fallback.update(table(connection(3, 3, number=2)))
    assert phone(accounting)[:2] == (8 * 114, 8 * 114)


def test_counters_that_another_program_empties_are_told_of(
    fallback: ConntrackFallback, accounting: LanAccounting, clock: Any
) -> None:
    other = {"sport": 40001, "number": 2}
    fallback.start(table(connection(100, 100), connection(100, 100, **other)), [])
    fallback.update(table(connection(110, 110), connection(3, 3, **other)))
    assert not fallback.shared  # one alone may be another connection in the same place
    fallback.update(table(connection(2, 2), connection(1, 1, **other)))
    assert fallback.shared and fallback.emptied == 1
    assert phone(accounting)[:2] == (16 * 114, 16 * 114)
    clock.now += 301
    assert not fallback.shared


def test_the_same_agent_reports_the_gap_in_its_next_total(
    fallback: ConntrackFallback, accounting: LanAccounting, make_flow: Make, count: Count, clock: Any
) -> None:
    flow = make_flow(application="youtube")
    accounting.flow_started(flow)
    count(accounting, flow, local=1140, other=11400)
    clock.now += 10
    fallback.start(table(connection(10, 100)), accounting.live_flows())
    assert phone(accounting) == (11400, 1140, 1, 1)  # the agent's flow stands for it
    assert fallback.flows() == []
    clock.now += 5
    fallback.update(table(connection(15, 150)))
    assert phone(accounting) == (11400 + 50 * 114, 1140 + 5 * 114, 1, 1)
    client = accounting.clients.get(PHONE)
    assert client is not None and set(client.kinds.applications()) == {"youtube"}

    clock.now += 3
    fallback.stop()
    # The agent counted on: its total has the 5 and 50 packets from before, and 2 and 20 newer ones.
    count(accounting, flow, local=7 * 114, other=70 * 114)
    assert phone(accounting) == (11400 + 70 * 114, 1140 + 7 * 114, 1, 1)
    count(accounting, flow, local=114, other=114)
    assert phone(accounting) == (11400 + 71 * 114, 1140 + 8 * 114, 1, 1)
    assert accounting.totals.bytes == 11400 + 71 * 114 + 1140 + 8 * 114


def test_a_restarted_agent_counts_from_its_start(
    fallback: ConntrackFallback, accounting: LanAccounting, make_flow: Make, count: Count, clock: Any
) -> None:
    old = make_flow()
    accounting.flow_started(old)
    count(accounting, old, other=1000)
    clock.now += 10
    fallback.start(table(connection(0, 10)), accounting.live_flows())
    for packets in (20, 30, 40):
        clock.now += 5
        fallback.update(table(connection(0, packets)))
    accounting.flow_ended(old)
    assert phone(accounting)[0] == 1000 + 30 * 114
    # The new agent captures since 7 s ago; 10 packets of the last dump are its too (20 are older than that).
    new = make_flow(first_seen_at=clock.now - 4)
    clock.now += 3
    fallback.stop()
    accounting.flow_started(new)
    count(accounting, new, other=(10 + 6) * 114)
    assert phone(accounting) == (1000 + (30 + 6) * 114, 0, 1, 1)


def test_the_agents_count_may_come_before_we_notice_that_it_is_back(
    fallback: ConntrackFallback, accounting: LanAccounting, make_flow: Make, count: Count, clock: Any
) -> None:
    flow = make_flow()
    accounting.flow_started(flow)
    clock.now += 10
    fallback.start(table(connection(0, 10)), accounting.live_flows())
    clock.now += 5
    fallback.update(table(connection(0, 20)))
    clock.now += 2
    count(accounting, flow, other=13 * 114)  # 10 of them are ours already
    accounting.settle()
    clock.now += 3
    fallback.update(table(connection(0, 25)))  # gone again in the meantime: 3 of these 5 are in its total
    assert phone(accounting)[0] == 13 * 114
    clock.now += 5
    fallback.update(table(connection(0, 30)))
    fallback.stop()
    assert phone(accounting)[0] == 18 * 114
    count(accounting, flow, other=17 * 114)
    assert phone(accounting)[0] == (13 + 17) * 114


def test_sides_may_be_swapped_and_bytes_without_a_way(
    fallback: ConntrackFallback, accounting: LanAccounting, make_flow: Make, count: Count, clock: Any
) -> None:
    flow = make_flow(local_ip="198.51.100.10", local_port=443, local_mac=ROUTER, other_ip="192.168.1.10",
                     other_port=40000, other_mac=PHONE)  # fmt: skip
    accounting.flow_started(flow)
    clock.now += 10
    fallback.start(table(connection(0, 0)), accounting.live_flows())
    clock.now += 5
    fallback.update(table(connection(1, 10)))
    fallback.stop()
    count(accounting, flow, undirected=12 * 114)
    client = accounting.clients.get(PHONE)
    accounting.settle()
    assert client is not None and client.bytes == 12 * 114
    assert (client.bytes_in, client.bytes_out, client.bytes_unsplit) == (1140, 114, 114)


def test_credit_ends_after_a_while(
    fallback: ConntrackFallback, accounting: LanAccounting, make_flow: Make, count: Count, clock: Any
) -> None:
    flow = make_flow()
    accounting.flow_started(flow)
    clock.now += 10
    fallback.start(table(connection(0, 0)), accounting.live_flows())
    clock.now += 5
    fallback.update(table(connection(0, 10)))
    fallback.stop()
    clock.now += CREDIT_S + 1
    fallback.tick()
    assert accounting.already_counted is None and accounting.continues is None
    count(accounting, flow, other=100)
    assert phone(accounting)[0] == 1240


def test_a_flow_first_seen_here_is_not_one_more_when_the_agent_announces_it(
    fallback: ConntrackFallback, accounting: LanAccounting, make_flow: Make, clock: Any
) -> None:
    fallback.start(table(), [])
    clock.now += 5
    fallback.update(table(connection(1, 1)))
    assert phone(accounting)[2:] == (1, 1)
    seen_at = clock.now
    clock.now += 5
    fallback.stop()
    assert phone(accounting)[2:] == (1, 0)
    accounting.flow_started(make_flow(first_seen_at=seen_at))
    assert phone(accounting)[2:] == (1, 1)
    clock.now += 5
    accounting.flow_started(make_flow(first_seen_at=clock.now))  # the same ports again: another flow
    assert phone(accounting)[2:] == (2, 2)


def test_the_agents_name_for_a_flow_replaces_the_guess(
    fallback: ConntrackFallback, accounting: LanAccounting, make_flow: Make, clock: Any
) -> None:
    fallback.start(table(connection(1, 1)), [])
    fallback.stop()
    accounting.flow_started(make_flow(first_seen_at=clock.now - 100, application="youtube"))
    assert {(row.application, row.flows, row.live) for row in accounting.protocols} == {
        ("Unknown", 0, 0),
        ("youtube", 1, 1),
    }
    client = accounting.clients.get(PHONE)
    assert client is not None
    assert {name: tally.flows for name, tally in client.kinds.applications().items()} == {"TLS": 0, "youtube": 1}
    assert accounting.take_pending() == {(PHONE, "youtube"): [0, 0, 0, 1]}


def test_two_absences_in_a_row(
    fallback: ConntrackFallback, accounting: LanAccounting, make_flow: Make, count: Count, clock: Any
) -> None:
    flow = make_flow()
    accounting.flow_started(flow)
    clock.now += 10
    fallback.start(table(connection(0, 0)), accounting.live_flows())
    clock.now += 5
    fallback.update(table(connection(0, 10)))
    fallback.stop()
    clock.now += 1
    fallback.start(table(connection(0, 10)), accounting.live_flows())
    clock.now += 5
    fallback.update(table(connection(0, 20)))
    fallback.stop()
    count(accounting, flow, other=22 * 114)  # all since the first absence began
    assert phone(accounting) == (22 * 114, 0, 1, 1)


def test_our_view_stands_in_when_the_agents_expires(
    fallback: ConntrackFallback, accounting: LanAccounting, make_flow: Make, clock: Any
) -> None:
    flow = make_flow()
    accounting.flow_started(flow)
    fallback.start(table(connection(0, 0)), accounting.live_flows())
    assert phone(accounting)[2:] == (1, 1)
    accounting.flow_ended(flow)
    assert phone(accounting)[2:] == (1, 0)
    clock.now += 5
    fallback.update(table(connection(0, 1)))
    assert phone(accounting)[2:] == (1, 1) and len(fallback.flows()) == 1
    fallback.update(table())
    assert phone(accounting)[2:] == (1, 0)


def test_without_byte_counters_there_are_flows_still(fallback: ConntrackFallback, accounting: LanAccounting) -> None:
    bare = connection(orig_packets=None, orig_bytes=None, reply_packets=None, reply_bytes=None)
    fallback.start(table(bare), [])
    fallback.update(table(bare))
    assert phone(accounting) == (0, 0, 1, 1)


def test_an_inbound_connection_counts_for_its_server(
    fallback: ConntrackFallback, accounting: LanAccounting, home: Neighbourhood
) -> None:
    inbound = connection(
        10, 20, src="198.51.100.7", sport=5555, dst="203.0.113.2", dport=8080, reply_src="192.168.1.11",
        reply_sport=80, reply_dst="198.51.100.7", reply_dport=5555,
    )  # fmt: skip
    fallback.start(table(), [])
    fallback.update(table(inbound))
    accounting.settle()
    client = accounting.clients.get(LAPTOP)
    assert client is not None and (client.bytes_in, client.bytes_out) == (10 * 114, 20 * 114)
    (destination,) = accounting.destinations
    assert (destination.ip, destination.port) == ("198.51.100.7", 0) and destination.row()["inbound"]
    (row,) = accounting.protocols
    assert row.protocol == "HTTP"
