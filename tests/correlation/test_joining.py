"""Which flows belong to an event: by port, else by address and time, in both tables; and those that come later."""

from __future__ import annotations

import pytest

from dpi_dual.correlation import joining
from dpi_dual.correlation.joining import SHOWN, SLACK_S, Joiner
from dpi_dual.model import Flow
from tests.correlation.scene import ATTACKER, NOW, WAN, Scene


@pytest.fixture
def late() -> list[tuple[int, Flow]]:
    return []


@pytest.fixture
def joiner(scene: Scene, late: list[tuple[int, Flow]]) -> Joiner:
    return Joiner((scene.tap, scene.lan.table), lambda record, flow: late.append((record, flow)))


def test_the_port_finds_the_very_flow_and_tcp_before_others(scene: Scene, joiner: Joiner) -> None:
    tcp = scene.flow(key="tcp")
    scene.flow(key="udp", ip_protocol=17)
    scene.flow(key="other", other_port=50_001)
    assert joiner.exact(ATTACKER, 50_000, NOW) is tcp
    assert joiner.exact(WAN, 443, NOW) is not None
    assert joiner.exact(ATTACKER, 443, NOW) is None
    assert joiner.exact("198.51.100.8", 50_000, NOW) is None


def test_a_flow_of_another_time_is_another_flow(scene: Scene, joiner: Joiner) -> None:
    flow = scene.flow()
    flow.ended_at = NOW + 10
    assert joiner.exact(ATTACKER, 50_000, NOW + 10 + SLACK_S) is flow
    assert joiner.exact(ATTACKER, 50_000, NOW + 10.1 + SLACK_S) is None
    assert joiner.exact(ATTACKER, 50_000, NOW - 0.1 - SLACK_S) is None


def test_around_an_address_copies_of_a_flow_are_one_and_the_newest_are_shown(scene: Scene, joiner: Joiner) -> None:
    for number in range(SHOWN + 3):
        scene.time = NOW + number
        scene.flow(key=f"k{number}", other_port=50_000 + number)
    # The same as seen on the other side of the router, ends the other way round.
    ends = {"local_ip": ATTACKER, "other_ip": WAN, "local_port": 50_000 + SHOWN + 2, "other_port": 443}
    scene.flow(scene.lan.table, key="copy", **ends)
    found = joiner.around(ATTACKER, NOW, NOW + 60)
    ports = [max(flow.local_port, flow.other_port) for flow in found]
    assert ports == [50_000 + number for number in range(SHOWN + 2, 2, -1)]
    assert joiner.around(ATTACKER, NOW - 60, NOW - 1) == []


def test_records_that_wait_get_the_flow_that_comes_once(
    scene: Scene, joiner: Joiner, late: list[tuple[int, Flow]]
) -> None:
    joiner.wait(1, ATTACKER, 50_000, NOW)
    joiner.wait(2, ATTACKER, 50_000, NOW)
    joiner.told(scene.flow(key="other", other_port=50_001))
    assert late == []
    flow = scene.flow()
    joiner.told(flow)
    joiner.told(flow)
    assert late == [(1, flow), (2, flow)]


def test_waiting_is_bounded_in_number_and_time_and_counted(joiner: Joiner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "WAITING", 2)
    for record, port in enumerate((1, 2, 3)):
        joiner.wait(record, ATTACKER, port, NOW + record)
    assert joiner.given_up == 1
    joiner.expire(NOW + 61, 60)
    assert joiner.given_up == 2
    joiner.expire(NOW + 62, 60)
    assert joiner.given_up == 3
