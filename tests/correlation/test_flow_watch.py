"""Which flows are worth an event, and about whom it is."""

from __future__ import annotations

from typing import Any

import pytest

from dpi_dual.capture.flows import FlowTable
from dpi_dual.capture.tallies import TrackedFlow
from dpi_dual.correlation.flow_watch import EVENTS_AT_ONCE
from tests.correlation.scene import ATTACKER, PHONE, PHONE_IP, WAN, Scene

ROUTER = "192.168.1.1"

OUT: dict[str, Any] = {
    "local_ip": PHONE_IP,
    "local_mac": PHONE,
    "local_port": 40_000,
    "other_port": 443,
    "local_origin": True,
}


def _grow(scene: Scene, table: FlowTable, flow: TrackedFlow, local: int = 100) -> None:
    table.advance(flow, flow.total_bytes + 300, flow.total_packets + 3, local, 200, 1, 2)


@pytest.mark.parametrize(
    ("namespace", "risk", "score"),
    [("netify", 43, 95), ("ndpi", 3, 95), ("netify", 44, 80), ("ndpi", 2, 80), ("netify", 46, 0), ("ndpi", 24, 0)],
)
def test_risks_by_each_numbering(scene: Scene, namespace: str, risk: int, score: int) -> None:
    scene.flow(risks=(risk,), risk_namespace=namespace)
    found = [(record["ip"], record["threat_score"], record["event_type"]) for record in scene.records()]
    assert found == ([(ATTACKER, score, "dpi_threat")] if score else [])


def test_the_opener_of_a_risky_flow_is_its_actor(scene: Scene) -> None:
    scene.flow(scene.lan.table, risks=(27,), **OUT)
    scene.flow(scene.lan.table, key="low", risks=(13,), **OUT)  # users browse to odd places all day
    (record,) = scene.records()
    assert (record["actor"], record["peer"], record["rule"]) == (PHONE, ATTACKER, "risk:suspicious_dga_domain")
    assert record["context"]["dpi_flows"][0]["community_id"] == record["community_id"]


def test_a_name_asked_of_the_router_is_told_of_the_client_that_asked(scene: Scene) -> None:
    """As netifyd shows a client's query to the router on br-lan: the router is the local end, the client the other."""
    asked: dict[str, Any] = {
        "local_ip": ROUTER,
        "local_port": 53,
        "local_mac": "02:00:00:00:00:01",
        "other_ip": PHONE_IP,
        "other_port": 40_000,
        "other_mac": PHONE,
        "other_type": "local",
        "local_origin": False,
        "ip_protocol": 17,
        "protocol": "DNS",
        "risks": (27, 46),
        "risk_namespace": "netify",
        "hostname": "qzxwvkjhgfdrtplmnbvc.example",
    }
    scene.flow(scene.lan.table, key="asked", **asked)
    scene.flow(scene.lan.table, key="else", **{**asked, "risks": (3,)})
    scene.flow(scene.lan.table, key="web", **{**asked, "protocol": "HTTP", "local_port": 80})
    scene.flow(scene.lan.table, key="own", **{**asked, "other_ip": ROUTER})
    (record,) = scene.records()
    assert (record["actor"], record["peer"], record["rule"]) == (PHONE, ROUTER, "risk:suspicious_dga_domain")
    assert "qzxwvkjhgfdrtplmnbvc.example" in record["reason"]
    other_way = {"local_ip": PHONE_IP, "local_mac": PHONE, "local_port": 40_001, "local_origin": True}
    scene.flow(
        scene.lan.table, key="way", **{**asked, **other_way, "other_ip": ROUTER, "other_port": 53, "other_mac": ""}
    )
    (record,) = scene.records()
    assert (record["actor"], record["count"]) == (PHONE, 2)


def test_a_stranger_s_flow_is_told_by_its_address_not_by_the_name_it_asks_for(scene: Scene) -> None:
    scene.flow(risks=(43,), risk_namespace="netify", hostname="bank.example.com", hostname_source="sni")
    (record,) = scene.records()
    assert ATTACKER in record["reason"] and "bank.example.com" not in record["reason"]


def test_bittorrent_tells_about_our_client_whoever_opened(scene: Scene) -> None:
    inbound = {**OUT, "local_origin": False, "local_port": 51_413, "other_port": 6881, "protocol": "BitTorrent"}
    for number in range(5):
        scene.flow(scene.lan.table, key=f"b{number}", **{**inbound, "other_ip": f"198.51.100.{number + 20}"})
    (record,) = [record for record in scene.records() if record["event_type"] == "dpi_threat"]
    assert (record["actor"], record["count"], record["rule"]) == (PHONE, 5, "protocol:bittorrent")


def test_what_leaves_by_the_wan_is_left_to_the_lan_where_that_is_watched(scene: Scene) -> None:
    nat = {"local_ip": WAN, "local_port": 40_000, "other_port": 9001, "local_origin": True, "protocol": "Tor"}
    scene.one.watches[0].elsewhere = lambda: True
    scene.flow(key="t1", **nat)
    assert scene.records() == []
    scene.one.watches[0].elsewhere = lambda: False
    scene.flow(key="t2", **nat)
    (record,) = scene.records()
    assert (record["ip"], record["outbound"]) == (ATTACKER, True)


def test_what_turns_out_later_is_found_and_reported_once(scene: Scene) -> None:
    flow = scene.flow(protocol="Unknown")
    _grow(scene, scene.tap, flow)
    assert [record["event_type"] for record in scene.records()] == ["new_listener"]
    flow.protocol = "Telnet"
    scene.tap.described(flow, "")
    for _ in range(3):
        _grow(scene, scene.tap, flow)
    scene.tap.end(scene.tap.source("netifyd", "tap"), flow, "closed", scene.time)
    found = [(record["rule"], record["count"], record["ip"]) for record in scene.records()[1:]]
    assert found == [("protocol:telnet", 1, ATTACKER)]


def test_a_flow_told_again_after_a_reconnect_counts_once(scene: Scene) -> None:
    flow = scene.flow(risks=(44,))
    scene.tap.end_agent("netifyd", "agent-restart")
    scene.flow(risks=(44,), first_seen_at=flow.first_seen_at)
    assert [record["count"] for record in scene.records()] == [1]


def test_a_guess_proves_nothing(scene: Scene) -> None:
    scene.flow(protocol="Telnet", guessed=True)
    assert scene.records() == []


def test_a_new_listener_is_told_once_ever(scene: Scene) -> None:
    for number in range(3):
        _grow(scene, scene.tap, scene.flow(key=f"l{number}", local_port=8080))
    unanswered = scene.flow(key="scan", local_port=22)
    scene.tap.advance(unanswered, 60, 1, 0, 60, 0, 1)
    from_the_middle = scene.flow(key="middle", local_port=40_000, other_port=443)
    _grow(scene, scene.tap, from_the_middle)
    found = [(record["rule"], record["ip"], record["kind"]) for record in scene.records()]
    assert found == [("listener:tcp/8080", WAN, "own")]
    assert scene.one.store.listeners() == {f"{WAN}/tcp/8080"}


def test_between_two_clients_and_to_groups_is_nobody_outside(scene: Scene) -> None:
    scene.flow(scene.lan.table, key="in", protocol="Telnet", **{**OUT, "other_ip": "192.168.1.101"})
    scene.flow(
        scene.lan.table, key="group", protocol="Telnet", **{**OUT, "other_ip": "224.0.0.251", "other_type": "multicast"}
    )
    assert scene.records() == []


def test_a_flood_of_risky_flows_is_held_back_and_counted(scene: Scene) -> None:
    flood = int(EVENTS_AT_ONCE) + 300
    for number in range(flood):
        source = f"203.0.{120 + number // 250}.{number % 250}"
        scene.flow(key=f"f{number}", other_ip=source, risks=(43,), risk_namespace="netify")
    counters = scene.one.counters()
    told = counters["correlation_events"]
    assert EVENTS_AT_ONCE <= told < flood
    assert counters["correlation_findings_held_back"] == flood - told
