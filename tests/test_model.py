"""Community ID, against the values of its specification; whose a name is."""

from __future__ import annotations

import pytest

from dpi_dual.model import Flow, community_id, name_of


def _flow(protocol: int, local: str, other: str, local_port: int = 0, other_port: int = 0) -> Flow:
    return Flow(
        "lan",
        "br-lan",
        "k",
        0.0,
        0.0,
        ip_protocol=protocol,
        local_ip=local,
        other_ip=other,
        local_port=local_port,
        other_port=other_port,
    )


@pytest.mark.parametrize(
    ("flow", "wanted"),
    [
        (_flow(6, "128.232.110.120", "66.35.250.204", 34855, 80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (_flow(6, "66.35.250.204", "128.232.110.120", 80, 34855), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (_flow(17, "192.168.1.52", "8.8.8.8", 54585, 53), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
    ],
)
def test_known_values_whichever_side_is_local(flow: Flow, wanted: str) -> None:
    assert community_id(flow) == wanted


def test_no_address_no_id() -> None:
    assert community_id(_flow(6, "", "8.8.8.8")) == ""


def test_ipv6_and_portless_protocols_have_one_id_for_both_directions() -> None:
    there = _flow(58, "2001:db8::1", "2001:db8::2")
    back = _flow(58, "2001:db8::2", "2001:db8::1")
    assert community_id(there) == community_id(back) != community_id(_flow(58, "2001:db8::1", "2001:db8::3"))


@pytest.mark.parametrize(
    ("fields", "local", "other"),
    [
        ({"hostname": "www.example.com", "hostname_source": "sni"}, "", "www.example.com"),
        ({"hostname": "bank.example", "hostname_source": "sni", "local_origin": False}, "bank.example", ""),
        ({"hostname": "bank.example", "hostname_source": "http", "local_origin": False}, "bank.example", ""),
        ({"hostname": "www.example.com", "hostname_source": "dns", "protocol": "DNS"}, "", ""),
        ({"hostname": "laptop", "hostname_source": "dhcp", "protocol": "DHCP"}, "", ""),
        ({"hostname": "cdn.example", "hostname_source": "hint", "local_origin": False}, "", "cdn.example"),
        ({}, "", ""),
    ],
)
def test_a_name_belongs_to_the_server_and_never_to_who_asks_for_it(
    fields: dict[str, object], local: str, other: str
) -> None:
    flow = _flow(6, "192.0.2.1", "203.0.113.9")
    for name, value in fields.items():
        setattr(flow, name, value)
    assert (name_of(flow, "192.0.2.1"), name_of(flow, "203.0.113.9")) == (local, other)
