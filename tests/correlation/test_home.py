"""Whose an address is: the router's, a client's, a connected network's, or a stranger's."""

from __future__ import annotations

import ipaddress

import pytest

from dpi_dual.correlation.actors import Network
from dpi_dual.correlation.home import REFRESH_S, Home
from tests.correlation.scene import PHONE, PHONE_IP, WAN, Scene


@pytest.mark.parametrize(
    ("ip", "kind", "key"),
    [
        (WAN, "own", WAN),
        ("127.0.0.1", "own", "127.0.0.1"),
        (PHONE_IP, "client", PHONE),
        ("2001:db8:1::64", "client", PHONE),
        ("192.168.1.77", "client", "192.168.1.77"),
        ("203.0.113.1", "connected", "203.0.113.1"),
        ("198.51.100.7", "remote", "198.51.100.7"),
        ("2001:db8:2::1:2", "remote", "2001:db8:2::/64"),
    ],
)
def test_every_address_is_somebody_s(scene: Scene, ip: str, kind: str, key: str) -> None:
    actor = scene.home.actor(ip)
    assert (actor.kind, actor.key, actor.ip) == (kind, key, ip)


@pytest.mark.parametrize(
    ("target", "touched"),
    [
        ("203.0.113.2/32", "203.0.113.0/30"),
        ("203.0.112.0/22", "203.0.113.0/30"),
        ("127.0.0.0/8", "127.0.0.1"),
        ("198.51.100.0/24", ""),
        ("2001:db8:1::/64", "2001:db8:1::/64"),
        ("2001:db8:2::/64", ""),
    ],
)
def test_what_a_ban_would_touch_of_ours(scene: Scene, target: str, touched: str) -> None:
    assert scene.home.connected(ipaddress.ip_network(target)) == touched


class Kernel:
    """Says what the test wants, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.down = True

    def look(self) -> tuple[frozenset[str], tuple[Network, ...]]:
        self.asked += 1
        if self.down:
            raise PermissionError(1, "Operation not permitted")
        return frozenset({"198.51.100.1"}), ()


def test_the_kernel_is_asked_now_and_then_and_its_last_word_holds(scene: Scene) -> None:
    kernel = Kernel()
    home = Home(scene.lan, kernel.look, scene.clock)
    assert not home.is_own("198.51.100.1")
    assert (home.known, home.failure) == (False, "Operation not permitted")
    kernel.down = False
    assert not home.is_own("198.51.100.1")  # it was asked only just now
    scene.time += REFRESH_S
    assert home.is_own("198.51.100.1")
    assert (home.known, home.failure, kernel.asked) == (True, "", 2)
    kernel.down = True
    scene.time += REFRESH_S
    assert home.is_own("198.51.100.1")
    assert (home.known, home.failure) == (True, "Operation not permitted")
