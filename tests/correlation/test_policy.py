"""Weights by sensitivity, and a whitelist that agrees with the address arithmetic of the standard library."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.correlation.policy import Whitelist, weights
from tests.correlation.conftest import Make


@pytest.mark.parametrize(
    ("uci", "block", "default"),
    [
        ("", 25, 10),
        ("\toption sensitivity 'low'\n", 17.5, 7),
        ("\toption sensitivity 'high'\n", 32.5, 13),
        ("\toption sensitivity 'custom'\nconfig scoring 'scoring'\n\toption waf_block '99'\n", 99, 10),
    ],
)
def test_weights(make: Make, uci: str, block: float, default: float) -> None:
    found = weights(make(f"config correlation 'correlation'\n{uci}").settings)
    assert (found["waf_block"], found["default"]) == (block, default)


def test_custom_weights_do_not_matter_otherwise(make: Make) -> None:
    assert weights(make("config scoring 'scoring'\n\toption waf_block '99'\n").settings)["waf_block"] == 25


networks = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(8, 32)), st.tuples(st.ip_addresses(v=6), st.integers(16, 128))
)


@given(st.lists(networks, max_size=20), st.ip_addresses())
def test_whitelist(entries: list[tuple[ipaddress.IPv4Address, int]], address: ipaddress.IPv4Address) -> None:
    texts = [f"{ip}/{prefix}" for ip, prefix in entries]
    whitelist = Whitelist(texts)
    parsed = [ipaddress.ip_network(text, strict=False) for text in texts]
    expected = any(address.version == network.version and address in network for network in parsed)
    assert bool(whitelist.match(address)) == expected
    for text, network in zip(texts, parsed, strict=True):
        assert whitelist.match(network.network_address)
        assert text in whitelist.find(network)
        assert whitelist.touches(ipaddress.ip_network(network.network_address))


def test_a_network_is_touched_by_an_address_in_it() -> None:
    whitelist = Whitelist(["2001:db8::7", "198.51.100.0/24"])
    assert whitelist.touches(ipaddress.ip_network("2001:db8::/64")) == "2001:db8::7"
    assert not whitelist.touches(ipaddress.ip_network("2001:db8:1::/64"))
    assert not whitelist.match(ipaddress.ip_address("::ffff:c633:6407"))
