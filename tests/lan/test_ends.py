"""Who is a client at which end of a flow."""

from __future__ import annotations

import ipaddress

import pytest

from dpi_dual.lan.ends import Ends, Neighbourhood, ends_of, is_group_address, is_random_mac, is_station
from dpi_dual.model import Flow
from tests.lan.household import LAPTOP, PHONE, ROUTER

HOME = Neighbourhood(
    macs={"192.168.1.10": PHONE, "192.168.1.11": LAPTOP},
    router_macs=frozenset({ROUTER}),
    router_ips=frozenset({"192.168.1.1", "fd00::1", "fe80::1", "203.0.113.2"}),
    networks=(ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("fd00::/64")),
)


def flow(**fields: object) -> Flow:
    values: dict[str, object] = {
        "agent": "lan",
        "interface": "br-lan",
        "key": "k",
        "first_seen_at": 0.0,
        "last_seen_at": 0.0,
        "local_ip": "192.168.1.10",
        "local_mac": PHONE,
        "other_ip": "198.51.100.10",
        "other_mac": ROUTER,
        "other_type": "remote",
    }
    return Flow(**{**values, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, Ends((PHONE, "192.168.1.10"), None, "other"), id="to the internet"),
        pytest.param(
            {"local_ip": "192.168.1.1", "local_mac": ROUTER, "other_ip": "192.168.1.10", "other_mac": PHONE,
             "other_type": "local"},
            Ends(None, (PHONE, "192.168.1.10"), ""),
            id="the router's DNS: the client is the other side",
        ),
        pytest.param(
            {"local_ip": "198.51.100.10", "local_mac": ROUTER, "other_ip": "2001:db8::5", "other_mac": PHONE},
            Ends(None, (PHONE, "2001:db8::5"), "local"),
            id="the agent took the outside for the local side",
        ),
        pytest.param(
            {"other_ip": "192.168.1.11", "other_mac": LAPTOP, "other_type": "local"},
            Ends((PHONE, "192.168.1.10"), (LAPTOP, "192.168.1.11"), ""),
            id="between two clients",
        ),
        pytest.param(
            {"other_ip": "203.0.113.1", "other_type": "local"},
            Ends((PHONE, "192.168.1.10"), None, "other"),
            id="the provider's side: local for the agent, outside the LAN",
        ),
        pytest.param(
            {"other_ip": "224.0.0.251", "other_mac": "01:00:5e:00:00:fb", "other_type": "multicast"},
            Ends((PHONE, "192.168.1.10"), None, ""),
            id="multicast: the sender only",
        ),
        pytest.param(
            {"local_ip": "0.0.0.0", "other_ip": "255.255.255.255", "other_mac": "ff:ff:ff:ff:ff:ff",
             "other_type": "broadcast"},
            Ends((PHONE, ""), None, ""),
            id="a DHCP client without an address",
        ),
        pytest.param(
            {"local_ip": "fe80::1", "local_mac": ROUTER, "other_ip": "ff02::1", "other_type": "multicast"},
            Ends(None, None, ""),
            id="the router's own advertisements",
        ),
        pytest.param(
            {"local_mac": "", "other_mac": "", "other_type": "unknown"},
            Ends((PHONE, "192.168.1.10"), None, "other"),
            id="no MACs: the neighbour table knows",
        ),
        pytest.param(
            {"local_ip": "192.168.1.77", "local_mac": "00:00:00:00:00:00", "other_mac": ""},
            Ends(("", "192.168.1.77"), None, "other"),
            id="nobody knows the MAC: by address",
        ),
        pytest.param(
            {"local_ip": "198.51.100.10", "local_mac": "", "other_ip": "192.168.1.11", "other_mac": "",
             "other_type": "unknown", "local_origin": False},
            Ends(None, (LAPTOP, "192.168.1.11"), "local"),
            id="inbound, no MACs",
        ),
        pytest.param(
            {"local_ip": "203.0.113.2", "local_mac": "", "other_mac": "", "other_type": "remote"},
            Ends(None, None, ""),
            id="the router's own traffic",
        ),
        pytest.param(
            {"local_mac": "01:00:5e:00:00:fb"}, Ends(None, None, ""), id="a multicast MAC sends nothing"
        ),
    ],
)  # fmt: skip
def test_ends(fields: dict[str, object], expected: Ends) -> None:
    assert ends_of(flow(**fields), HOME) == expected


def test_without_any_knowledge_private_addresses_are_inside() -> None:
    nowhere = Neighbourhood()
    assert nowhere.is_inside("192.168.7.7") and nowhere.is_inside("fe80::5") and nowhere.is_inside("fd12::1")
    assert not nowhere.is_inside("198.51.100.10") and not nowhere.is_inside("2001:db8::1")
    assert not nowhere.is_inside("no address")


def test_known_networks_decide() -> None:
    assert HOME.is_inside("192.168.1.200") and HOME.is_inside("fd00::99")
    assert not HOME.is_inside("10.0.0.1")
    assert ends_of(flow(other_ip="10.0.0.1"), HOME).remote == "other"


@pytest.mark.parametrize(
    ("mac", "station"),
    [(PHONE, True), (LAPTOP, True), ("01:00:5e:00:00:01", False), ("ff:ff:ff:ff:ff:ff", False), ("", False),
     ("00:00:00:00:00:00", False), ("0f:00:00:00:00:01", False), ("x", False)],
)  # fmt: skip
def test_is_station(mac: str, station: bool) -> None:
    assert is_station(mac) is station


def test_random_macs() -> None:
    assert is_random_mac("da:a1:19:00:00:01") and is_random_mac("02:00:00:00:00:01")
    assert not is_random_mac(LAPTOP) and not is_random_mac("")


@pytest.mark.parametrize(
    ("ip", "group"),
    [("224.0.0.1", True), ("239.255.255.250", True), ("255.255.255.255", True), ("ff02::fb", True), ("FF05::2", True),
     ("192.168.1.1", False), ("fe80::1", False), ("", False), ("²24.0.0.1", False), ("240.0.0.1", False)],
)  # fmt: skip
def test_group_addresses(ip: str, group: bool) -> None:
    assert is_group_address(ip) is group
