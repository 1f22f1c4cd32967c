"""Which origin a request goes to, by its host."""

from __future__ import annotations

import pytest

from dpi_dual.mitm.origins import Origins, host_only, parse_address
from dpi_dual.settings import Backend


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("Shop.Example.org", "shop.example.org"),
        ("shop.example.org:443", "shop.example.org"),
        ("shop.example.org.", "shop.example.org"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
        ("", ""),
    ],
)
def test_host_only(authority: str, host: str) -> None:
    assert host_only(authority) == host


def test_origins() -> None:
    origins = Origins(
        [
            Backend("a", "shop", "shop.example.org", "10.0.0.1:80"),
            Backend("b", "", "*.example.org", "https://[2001:db8::1]:8443"),
            Backend("c", "deep", "*.deep.example.org", "http://web.lan:81/"),
            Backend("d", "bad", "bad.example.org", "nowhere"),
        ]
    )
    assert origins.of("shop.example.org") == ("shop", "http", "10.0.0.1", 80)
    assert origins.of("other.example.org") == ("b", "https", "2001:db8::1", 8443)
    assert origins.of("a.b.deep.example.org") == ("deep", "http", "web.lan", 81)
    assert origins.of("example.org") is None
    assert origins.of("") is None
    assert not Origins([])
    for wrong in ("host", "host:0", "host:70000", "ftp://host:21", ":80"):
        with pytest.raises(ValueError, match="no address"):
            parse_address(wrong)
