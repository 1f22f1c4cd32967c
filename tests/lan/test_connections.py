"""A connection as the LAN sees it."""

from __future__ import annotations

from typing import Any

import pytest

from dpi_dual.lan.connections import flow_key, identity, lan_view, on_wire, protocol_of
from dpi_dual.lan.ends import Neighbourhood
from tests.lan.household import Make, connection


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, (("192.168.1.10", 40000), ("198.51.100.10", 443), True, False), id="outgoing"),
        pytest.param(
            {"dst": "8.8.8.8", "dport": 53, "reply_src": "192.168.1.1", "reply_sport": 53, "reply_dst": "192.168.1.10"},
            (("192.168.1.10", 40000), ("8.8.8.8", 53), True, False),
            id="redirected to the router: the wire shows what the client meant",
        ),
        pytest.param(
            {"src": "198.51.100.7", "sport": 5555, "dst": "203.0.113.2", "dport": 8080, "reply_src": "192.168.1.11",
             "reply_sport": 80, "reply_dst": "198.51.100.7", "reply_dport": 5555},
            (("192.168.1.11", 80), ("198.51.100.7", 5555), False, False),
            id="port forward",
        ),
        pytest.param(
            {"dst": "203.0.113.2", "dport": 8080, "reply_src": "192.168.1.11", "reply_sport": 80,
             "reply_dst": "192.168.1.1"},
            (("192.168.1.10", 40000), ("192.168.1.11", 80), True, True),
            id="hairpin",
        ),
        pytest.param(
            {"dst": "192.168.1.1", "dport": 53, "reply_src": "192.168.1.1", "reply_dst": "192.168.1.10"},
            (("192.168.1.10", 40000), ("192.168.1.1", 53), True, True),
            id="to the router",
        ),
        pytest.param({"src": "203.0.113.2"}, None, id="the router's own"),
        pytest.param({"src": "198.51.100.1"}, None, id="passing by"),
    ],
)  # fmt: skip
def test_lan_view(fields: dict[str, Any], expected: object, home: Neighbourhood) -> None:
    assert lan_view(connection(**fields), home) == expected


def test_protocols_are_guesses_unless_the_number_says_it() -> None:
    assert protocol_of(1, 0) == ("ICMP", False)
    assert protocol_of(6, 443) == ("TLS", True) and protocol_of(17, 443) == ("QUIC", True)
    assert protocol_of(17, 53) == ("DNS", True) and protocol_of(6, 12345) == ("Unknown", True)


def test_keys_do_not_depend_on_the_side(make_flow: Make) -> None:
    a = make_flow()
    b = make_flow(local_ip=a.other_ip, local_port=a.other_port, other_ip=a.local_ip, other_port=a.local_port)
    assert flow_key(a) == flow_key(b)
    assert flow_key(make_flow(ip_protocol=1, local_port=8, other_port=0)) == flow_key(
        make_flow(ip_protocol=1, local_port=0, other_port=77)
    )


def test_bytes_on_the_wire_have_ethernet_headers() -> None:
    assert on_wire(connection(2, 10)) == (228, 1140)
    assert on_wire(connection(orig_bytes=None, orig_packets=None)) == (0, 0)


def test_an_id_alone_is_no_identity() -> None:
    assert identity(connection(1, 1)) == identity(connection(5, 5))
    assert len({identity(connection(sport=sport, number=number)) for sport in (1, 2) for number in (1, 2)}) == 4
