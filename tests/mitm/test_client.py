"""Who sent a request, whatever the headers claim."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.mitm.client import Client, TrustedProxies, address_of

TRUSTED = TrustedProxies(["127.0.0.1", "::1", "10.0.0.0/8", "nonsense"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "port", "expected"),
    [
        ("203.0.113.9", [], "", ("203.0.113.9", 5)),
        ("203.0.113.9", ["198.51.100.1"], "77", ("203.0.113.9", 5)),
        ("127.0.0.1", [], "", ("127.0.0.1", 5)),
        ("127.0.0.1", ["198.51.100.1"], "77", ("198.51.100.1", 77)),
        ("::ffff:127.0.0.1", ["198.51.100.1"], "77", ("198.51.100.1", 77)),
        # What stands left of the client is what the client claims.
        ("127.0.0.1", ["1.1.1.1, 198.51.100.1"], "77", ("198.51.100.1", 77)),
        ("127.0.0.1", ["1.1.1.1", "198.51.100.1"], "77", ("198.51.100.1", 77)),
        # The port is that of the hop next to us, which here is another proxy.
        ("127.0.0.1", ["198.51.100.1, 10.1.2.3"], "77", ("198.51.100.1", 0)),
        ("127.0.0.1", ["10.1.2.3"], "77", ("10.1.2.3", 0)),
        ("127.0.0.1", ["198.51.100.1, rubbish, 10.1.2.3"], "", ("10.1.2.3", 0)),
        ("127.0.0.1", ["rubbish"], "", ("127.0.0.1", 0)),
        ("127.0.0.1", ["[2001:db8::1]:443"], "99999", ("2001:db8::1", 0)),
        ("127.0.0.1", ["198.51.100.1:1234"], "x", ("198.51.100.1", 0)),
        ("127.0.0.1", ["1.1.1.1," * 5000 + "198.51.100.1"], "٣", ("198.51.100.1", 0)),
    ],
)
def test_client(peer: str, forwarded: list[str], port: str, expected: tuple[str, int]) -> None:
    assert TRUSTED.client(peer, 5, forwarded, port) == Client(*expected)


@given(st.text(), st.lists(st.text()), st.text())
def test_never_raises_and_never_invents(peer: str, forwarded: list[str], port: str) -> None:
    ip, number = TRUSTED.client(peer, 5, forwarded, port)
    assert ip == peer or ip == address_of(ip)
    assert 0 <= number < 65536
