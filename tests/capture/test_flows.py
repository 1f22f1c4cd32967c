"""The flow table: sums that always agree, bounds that always hold, pages that never repeat a row."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dpi_dual.capture.flows import FlowTable, Source, split
from dpi_dual.capture.summary import summarise
from dpi_dual.capture.tallies import TrackedFlow
from dpi_dual.errors import QueryError
from tests.capture.streams import Clock, Ledger, sums_of


def make(max_flows: int = 100, **options: float) -> tuple[FlowTable, Source, Clock, Ledger]:
    clock, ledger = Clock(), Ledger()
    table = FlowTable("lan", [ledger], max_flows=max_flows, clock=clock, monotonic=clock, **options)
    return table, table.source("netifyd", "br-lan"), clock, ledger


def begin(table: FlowTable, source: Source, key: str, **more: object) -> TrackedFlow:
    values = {"local_ip": "192.0.2.1", "other_ip": f"198.51.100.{len(key)}", "ip_version": 4, **more}
    flow = TrackedFlow("netifyd", "br-lan", key, 5.0, 5.0, **values)
    table.start(source, flow, table.monotonic())
    return flow


COUNT = st.integers(0, 2000)
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])


class Accounting(RuleBasedStateMachine):
    """Whatever an agent says: counted differences, a flow's sums, the tallies and the totals all agree."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.source, self.clock, self.ledger = make(max_flows=4, idle_timeout_s=50, retention_s=80)
        self.other_source = self.table.source("netifyd", "br-guest")
        self.grown: Counter[TrackedFlow] = Counter()

    def _live(self, name: str) -> TrackedFlow | None:
        return self.source.live.get(name)

    @rule(name=NAMES, ip=NAMES, protocol=NAMES, hostname=st.sampled_from(["", "x.example"]), guest=st.booleans())
    def announce(self, name: str, ip: str, protocol: str, hostname: str, guest: bool) -> None:
        source = self.other_source if guest else self.source
        flow = source.live.get(name)
        if flow is None:
            begin(self.table, source, name, other_ip=ip, local_ip="a", protocol=protocol, hostname=hostname)
        else:
            before = flow.hostname
            flow.protocol, flow.hostname, flow.risks = protocol, hostname, (len(protocol),)
            self.table.described(flow, before)

    @rule(name=NAMES, total=COUNT, packets=COUNT, local=COUNT, other=COUNT)
    def count(self, name: str, total: int, packets: int, local: int, other: int) -> None:
        flow = self._live(name)
        if flow is None:
            before = self.table.unattributed["bytes"]
            self.table.miss(self.source, name, total, packets, local + other, local, self.clock(), False)
            assert 0 <= self.table.unattributed["bytes"] - before <= total
            return
        difference = total - flow.total_bytes if total >= flow.total_bytes else total
        flow.heard_at = self.clock()
        self.table.advance(flow, total, packets, local, other, local, other)
        self.grown[flow] += difference
        assert (flow.total_bytes, flow.total_packets) == (total, packets)

    @rule(name=NAMES)
    def purge(self, name: str) -> None:
        flow = self._live(name)
        if flow is not None:
            self.table.end(self.source, flow, "closed", self.clock())

    @rule()
    def restart(self) -> None:
        self.table.end_agent("netifyd", "agent-restart")

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.table.expire()

    @invariant()
    def sums_agree(self) -> None:
        for flow, sums in self.ledger.sums.items():
            assert sums_of(flow) == sums
            assert sum(sums[:3]) == self.grown[flow]
        assert self.table.counted_bytes == sum(self.grown.values())
        kept = list(self.table.all())
        figures = summarise(self.table, 0.0)
        assert figures["flows_kept"] == len(kept)
        assert figures["bytes"] == sum(self.grown[flow] for flow in kept)
        assert figures["protocols"] == dict(Counter(flow.protocol for flow in kept))
        assert figures["hostnames"] == dict(Counter(flow.hostname for flow in kept if flow.hostname))
        for peer in self.table.tallies.peers.values():
            here = [flow for flow in kept if peer.ip in (flow.local_ip, flow.other_ip)]
            assert set(self.table.flows_of(peer.ip)) == set(here)
            assert peer.bytes == sum(self.grown[flow] for flow in here)
        assert len(self.table.tallies.peers) <= 2 * len(kept)

    @invariant()
    def bounds_hold(self) -> None:
        table = self.table
        live = list(table.live())
        assert len(table) == len(live) <= 4
        assert len(live) + len(table.finished) <= 4
        assert all(not flow.end_reason for flow in live)
        assert all(flow.end_reason for flow in table.finished)
        assert len(self.ledger.started) == len(live) + len(self.ledger.ended) == table.started


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_flow_idle_longest_gives_way() -> None:
    table, source, clock, ledger = make(max_flows=3)
    flows = []
    for name in "abc":
        clock.now += 1
        flows.append(begin(table, source, name))
    flows[0].heard_at = clock.now = clock.now + 1
    begin(table, source, "d")
    assert [flow.key for flow in ledger.ended] == ["b"]
    assert ledger.ended[0].end_reason == "evicted"
    begin(table, source, "e")
    assert [flow.key for flow in ledger.ended] == ["b", "c"]
    assert table.counters()["flows_evicted"] == 2
    assert [problem.code for problem in table.problems()] == ["flow_table_full"]
    clock.now += 301
    assert table.problems() == []


def test_bytes_of_flows_that_were_never_announced_are_spoken_of_while_they_are_many() -> None:
    table, source, clock, _ = make()
    flow = begin(table, source, "a")
    table.advance(flow, 10_000_000, 10_000, 4_000_000, 6_000_000, 4000, 6000)
    table.miss(source, "x", 1_000_000, 1000, 1_000_000, 1000, 5.0, final=False)
    assert table.problems() == []
    table.miss(source, "x", 3_000_000, 3000, 2_000_000, 2000, 5.0, final=False)
    (problem,) = table.problems()
    assert problem.code == "flows_unannounced"
    assert problem.message.startswith("23 % of the latest bytes of the lan stream")
    for _ in range(9):
        assert table.problems() or clock.now > 1300
        clock.now += 61
        table.expire()
    assert table.problems() == []


def test_evictions_take_flows_in_the_order_of_their_idleness() -> None:
    table, source, clock, ledger = make(max_flows=600)
    for number in range(600):
        clock.now += 1
        begin(table, source, f"old{number}")
    for number in range(0, 600, 2):  # every second one is heard of again, while evictions go on
        clock.now += 1
        if (flow := source.live.get(f"old{number}")) is not None:
            flow.heard_at = clock.now
        begin(table, source, f"new{number}")
    idle = [flow for flow in ledger.ended if flow.end_reason == "evicted"]
    assert len(idle) == 300
    assert [flow.heard_at for flow in idle] == sorted(flow.heard_at for flow in idle)


def test_an_evicted_flow_that_goes_on_is_unattributed_and_may_come_back() -> None:
    table, source, clock, _ = make(max_flows=1)
    first = begin(table, source, "a")
    table.advance(first, 1000, 10, 0, 0, 0, 0)
    clock.now += 1
    begin(table, source, "b")
    table.miss(source, "a", 1300, 13, 50, 1, clock.now, False)
    assert table.unattributed["bytes"] == 300
    assert source.recall("a", 0.0) == (1300, 13)


def test_idle_flows_expire_and_finished_ones_are_forgotten() -> None:
    table, source, clock, ledger = make(idle_timeout_s=60, retention_s=100)
    flow = begin(table, source, "a")
    clock.now += 59
    table.expire()
    assert not ledger.ended
    clock.now += 1
    table.expire()
    assert (flow.end_reason, len(table), len(table.finished)) == ("idle", 0, 1)
    clock.now += 99
    table.expire()
    assert table.flows_of("192.0.2.1") == [flow]
    clock.now += 1
    table.expire()
    assert not table.finished
    assert table.flows_of("192.0.2.1") == []
    assert not table.tallies.peers
    assert not table.tallies.kinds


def test_settings_apply_at_run_time() -> None:
    table, source, clock, _ = make(retention_s=1000)
    table.end(source, begin(table, source, "a"), "closed", clock.now)
    clock.now += 10
    table.retention_s = 5
    table.expire()
    assert not table.finished


def test_finished_flows_use_the_room_that_live_ones_leave() -> None:
    table, source, clock, _ = make(max_flows=20)
    for number in range(50):
        table.end(source, begin(table, source, f"f{number}"), "closed", clock.now)
    assert len(table.finished) == 20
    for number in range(20):
        begin(table, source, f"l{number}")
    assert (len(table), len(table.finished)) == (20, 2)
    assert table.counters()["flows_finished_dropped"] == 48


def test_expiring_is_done_in_bounded_steps() -> None:
    table, source, clock, _ = make(max_flows=5000, idle_timeout_s=1)
    for number in range(4500):
        begin(table, source, f"f{number}")
    clock.now += 10
    table.expire()
    assert len(table) == 2500
    table.expire()
    table.expire()
    assert len(table) == 0


def test_flows_of_the_last_minute() -> None:
    table, source, clock, _ = make()
    for number in range(10):
        begin(table, source, f"f{number}")
        clock.now += 10
    assert table.flows_1min() == 5
    clock.now += 30
    assert table.flows_1min() == 2
    clock.now += 1e6
    assert table.flows_1min() == 0
    begin(table, source, "x")
    assert table.flows_1min() == 1


def test_a_restart_of_one_agent_leaves_the_other_alone() -> None:
    table, source, _, _ = make()
    other = table.source("tap", "br-lan")
    begin(table, source, "a")
    begin(table, other, "a")
    assert table.end_agent("tap", "agent-restart") == 1
    assert [flow.agent for flow in table.live()] == ["netifyd"]


@pytest.mark.parametrize(
    ("difference", "local", "other", "parts"),
    [(5, 9, 0, (5, 0, 0)), (5, 0, 9, (0, 5, 0)), (5, 4, 4, (0, 0, 5)), (0, 3, 4, (0, 0, 0))],
)
def test_split(difference: int, local: int, other: int, parts: tuple[int, int, int]) -> None:
    assert split(difference, local, other) == parts


# -- pages --------------------------------------------------------------------------------------------------------


def test_pages_are_stable_while_flows_come_and_go() -> None:
    table, source, clock, _ = make(max_flows=1000)
    flows = [begin(table, source, f"f{number}") for number in range(100)]
    seen: list[int] = []
    answer = table.flows(limit=7)
    while True:
        seen += [row["local_port"] for row in answer["flows"]]
        if "next" not in answer:
            break
        begin(table, source, f"new{len(seen)}", local_port=9)
        victim = flows[len(seen) // 7]
        table.end(source, victim, "closed", clock.now)
        answer = table.flows(limit=7, before=answer["next"])
    assert len(seen) == 100
    assert 9 not in seen


def test_filters() -> None:
    table, source, clock, _ = make()
    begin(table, source, "a", protocol="TLS", hostname="www.example.com", local_mac="02:00:00:00:00:0a")
    begin(table, source, "b", protocol="DNS", application="youtube", other_ip="2001:db8::1")
    table.end(source, begin(table, source, "c", protocol="DNS"), "closed", clock.now)

    def keys(**filters: object) -> list[str]:
        answer = table.flows(**filters)
        assert answer["total"] == len(answer["flows"])
        return [row["protocol"] for row in answer["flows"]]

    assert keys() == ["DNS", "DNS", "TLS"]
    assert keys(state="live") == ["DNS", "TLS"]
    assert keys(state="finished") == ["DNS"]
    assert keys(protocol="tls") == ["TLS"]
    assert keys(protocol="dns", state="live", application="YouTube") == ["DNS"]
    assert keys(ip="2001:DB8:0::1") == ["DNS"]
    assert keys(ip="192.0.2.1") == ["DNS", "DNS", "TLS"]
    assert keys(mac="02:00:00:00:00:0A", hostname="example.com") == ["TLS"]
    assert keys(hostname="ample.com") == []


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        ({"before": "x"}, "bad_page"),
        ({"before": "f-1"}, "bad_page"),
        ({"before": "f" * 99}, "bad_page"),
        ({"state": "dead"}, "bad_state"),
        ({"ip": "nonsense"}, "bad_address"),
    ],
)
def test_wrong_filters_are_named(filters: dict[str, str], code: str) -> None:
    table, *_ = make()
    with pytest.raises(QueryError) as caught:
        table.flows(**filters)
    assert caught.value.code == code


def test_a_page_stays_below_what_rpcd_can_carry() -> None:
    table, source, *_ = make(max_flows=1000)
    for number in range(600):
        begin(table, source, f"f{number}", hostname="é" * 250, risks=tuple(range(64)))
    shown = 0
    answer = table.flows(limit=10_000)
    while True:
        assert len(json.dumps(answer)) < 256 * 1024
        shown += len(answer["flows"])
        if "next" not in answer:
            break
        answer = table.flows(limit=10_000, before=answer["next"])
    assert shown == 600
