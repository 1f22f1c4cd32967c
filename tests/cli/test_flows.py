"""The commands about flows as a person sees them."""

from __future__ import annotations

import pytest

from dpi_dual.cli.flows import endpoint, kind, show_flows
from tests.cli import answers
from tests.cli.answers import view

FLOW = {
    "first_seen_at": answers.NOW - 100,
    "last_seen_at": answers.NOW - 12,
    "local_ip": "192.168.1.20",
    "local_port": 51234,
    "other_ip": "2001:db8::7",
    "other_port": 443,
    "hostname": "",
    "local_origin": True,
    "protocol": "QUIC",
    "application": "youtube",
    "total_bytes": 1_234_567,
    "local_bytes": 34_567,
    "other_bytes": 1_200_000,
    "total_packets": 1200,
    "state": "live",
}


def test_a_name_that_is_asked_for_does_not_stand_in_the_stranger_s_place() -> None:
    inbound = {**FLOW, "local_origin": False, "hostname": "shop.example.org", "other_name": ""}
    lines = show_flows({"flows": [inbound], "total": 1}, view(0))
    title, row = (line for line in lines if line.startswith(("Seen", "12 s")))
    assert row[title.index("Remote") :].startswith("[2001:db8::7]:443")
    assert row[title.index("Asks for") :].startswith("shop.example.org")


def test_flows() -> None:
    answer = {
        "tap_interface": "tap0",
        "flows_1min": 42,
        "rx_bytes": 5_300_000,
        "rx_packets": 6400,
        "protocols": {"DNS": 3, "TLS": 30},
        "flows": [FLOW, {**FLOW, "state": "finished", "local_origin": False, "other_name": "cdn.example.net"}],
        "total": 200,
        "next": "17.4",
    }
    assert list(show_flows(answer, view(76))) == [
        "tap0: 42 flows in the last minute, 5.3 MB in 6,400 packets",
        "Protocols     TLS 30, DNS 3",
        "",
        "Seen    Local                  Remote               What           Total",
        "12 s    192.168.1.20:51234  →  [2001:db8::7]:443    youtube/QUIC  1.2 MB",
        "12 s †  192.168.1.20:51234  ←  cdn.example.net:443  youtube/QUIC  1.2 MB",
        "† finished",
        "",
        "2 of 200; the next page:",
        "  dpi-dualctl flows --before 17.4",
    ]


def test_no_flows_says_what_to_look_at() -> None:
    assert "dpi-dualctl mirror" in list(show_flows({"flows": []}, view()))[-1]
    assert list(show_flows({"flows": []}, view(protocol="SSH")))[-1] == "Nothing fits."


@pytest.mark.parametrize(
    ("address", "port", "text"),
    [
        ("10.0.0.1", 53, "10.0.0.1:53"),
        ("fe80::1", 53, "[fe80::1]:53"),
        ("fe80::1", 0, "fe80::1"),
        ("a.b", 443, "a.b:443"),
    ],
)
def test_endpoints(address: str, port: int, text: str) -> None:
    assert endpoint(address, port) == text


def test_what_a_flow_is() -> None:
    assert kind({"protocol": "TLS", "application": "Unknown"}) == "TLS"
    assert kind({"protocol": "DNS", "application": "dns"}) == "DNS"
    assert kind({"protocol": "TLS", "application": "whatsapp", "guessed": True}) == "whatsapp/TLS?"
