"""EVE events: Suricata's names and types, the client as the source, one id a connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dpi_dual.export.eve import alert_events, flow_event
from dpi_dual.model import Flow, community_id

ALERT: dict[str, Any] = {
    "id": "abc",
    "request_id": "0000000000000001",
    "timestamp": "2026-01-01T00:00:00.000+00:00",
    "at": 1_767_225_600.25,
    "event": "waf_block",
    "client_ip": "198.51.100.7",
    "client_port": 40_000,
    "host": "shop.example.org",
    "path": "/item",
    "method": "GET",
    "threat_score": 75,
    "categories": ["sqli"],
    "blocked": True,
    "rule": "942100",
    "place": "ARGS:id",
    "tier": "quick",
    "rules": [],
}


def flow(**values: Any) -> Flow:
    given: dict[str, Any] = {
        "agent": "tap",
        "interface": "tap0",
        "key": "k",
        "first_seen_at": 1_767_225_590.0,
        "last_seen_at": 1_767_225_601.5,
        "ended_at": 1_767_225_602.0,
        "end_reason": "closed",
        "ip_version": 4,
        "ip_protocol": 6,
        "local_ip": "203.0.113.1",
        "local_port": 443,
        "other_ip": "198.51.100.7",
        "other_port": 40_000,
        "local_origin": False,
        "protocol": "TLS",
        "local_bytes": 900,
        "other_bytes": 100,
        "local_packets": 9,
        "other_packets": 4,
        **values,
    }
    return Flow(**given)


def test_the_side_that_opened_a_flow_is_its_source() -> None:
    event = flow_event(flow(), "router")
    assert (event["src_ip"], event["src_port"], event["dest_ip"], event["dest_port"]) == (
        "198.51.100.7",
        40_000,
        "203.0.113.1",
        443,
    )
    assert (event["flow"]["bytes_toserver"], event["flow"]["bytes_toclient"]) == (100, 900)
    assert (event["flow"]["state"], event["flow"]["reason"], event["flow"]["age"]) == ("closed", "timeout", 12)
    ours = flow_event(flow(local_origin=True), "router")
    assert (ours["src_ip"], ours["flow"]["bytes_toserver"]) == ("203.0.113.1", 900)
    assert ours["flow_id"] == event["flow_id"]
    assert ours["community_id"] == event["community_id"] == community_id(flow())


def test_flows_without_ports_have_none() -> None:
    event = flow_event(flow(ip_protocol=58, local_ip="2001:db8::1", other_ip="2001:db8::2"), "router")
    assert event["proto"] == "IPv6-ICMP"
    assert "src_port" not in event
    assert "dest_port" not in event


@pytest.mark.parametrize(("score", "severity"), [(100, 1), (70, 1), (69, 2), (40, 2), (39, 3), (0, 3)])
def test_alerts_have_suricata_s_severities(score: int, severity: int) -> None:
    alert, _ = alert_events({**ALERT, "threat_score": score}, None, "router")
    assert alert["alert"]["severity"] == severity


def test_an_alert_has_its_flow_s_ids_and_the_client_as_source() -> None:
    for origin in (True, False):
        alert, http = alert_events(ALERT, flow(local_origin=origin), "router")
        for event in (alert, http):
            assert (event["src_ip"], event["src_port"]) == ("198.51.100.7", 40_000)
            assert (event["dest_ip"], event["dest_port"]) == ("203.0.113.1", 443)
            assert event["community_id"] == community_id(flow())
            assert event["flow_id"] == flow_event(flow(), "router")["flow_id"]
            assert event["http"] == {"hostname": "shop.example.org", "url": "/item", "http_method": "GET"}
            assert event["timestamp"] == "2026-01-01T00:00:00.250000+0000"
        assert (alert["event_type"], http["event_type"]) == ("alert", "http")
        assert alert["alert"]["action"] == "blocked"
        assert 1_000_000 <= alert["alert"]["signature_id"] < 2_000_000
        assert alert["alert"]["category"] == "Web Application Attack"


def test_an_alert_without_a_flow_says_no_more_than_it_knows() -> None:
    alert, _ = alert_events({**ALERT, "client_port": 0, "categories": [], "rule": ""}, None, "router")
    assert not {"dest_ip", "src_port", "community_id", "flow_id"} & set(alert)
    assert alert["alert"]["signature"] == "DPI-DUAL WAF waf (waf)"
    json.dumps(alert)
