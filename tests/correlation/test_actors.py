"""Addresses by their one spelling, and everything else refused by name."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.correlation.actors import ban_target, bounds, off_wire, packed, parse_address, parse_network, remote_key
from dpi_dual.correlation.actors import shown as spelled
from dpi_dual.errors import QueryError

HOSTILE = [
    "",
    " ",
    "1.2.3.4;reboot",
    "$(reboot)",
    "1.2.3.4' OR '1'='1",
    "1.2.3.4\n5.6.7.8",
    "1.2.3.4\x00",
    "::ffff:192.0.2.1",
    "fe80::1%eth0",
    "1.2.3",
    "01.2.3.4",
    "1.2.3.4/",
    "300.1.1.1",
    "٤.٣.٢.١",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "-1",
    "localhost",
    "x" * 10_000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_host_is_refused_by_name(text: str) -> None:
    for parse in (parse_address, parse_network, ban_target):
        with pytest.raises(QueryError) as error:
            parse(text)
        assert error.value.code == "bad_address"
        assert len(error.value.message) < 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("::ffff:192.0.2.1", "give 192.0.2.1"),
        ("fe80::1%eth0", "zone id"),
        ("192.0.2.1/24", "the network is 192.0.2.0/24"),
        ("::ffff:0:0/96", "mapped"),
        ("10.0.0.0/8", "wider than /16"),
        ("::/0", "wider than /32"),
    ],
)
def test_a_refusal_says_what_was_meant(text: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        ban_target(text)


def test_remote_keys() -> None:
    assert remote_key(parse_address("198.51.100.7")) == "198.51.100.7"
    assert remote_key(parse_address("2001:DB8::7")) == "2001:db8::/64"
    assert spelled(ban_target("2001:db8::7")) == "2001:db8::/64"
    assert spelled(ban_target("198.51.100.7")) == "198.51.100.7"
    assert spelled(ban_target("198.51.100.0/24")) == "198.51.100.0/24"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("rubbish", ""), ("0.0.0.0", ""), ("ff02::1", "")],
)
def test_off_wire(text: str, expected: str) -> None:
    assert off_wire(text) == expected


@given(st.ip_addresses(), st.integers(0, 32))
def test_packed_addresses_are_in_a_network_as_addresses_are(address: ipaddress.IPv4Address, prefix: int) -> None:
    network = ipaddress.ip_network((int(address), prefix), strict=False) if address.version == 4 else None
    if network is not None:
        first, last = bounds(network)
        assert first <= packed(address) <= last
        assert len(packed(address)) == 16
