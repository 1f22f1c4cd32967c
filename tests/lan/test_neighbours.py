"""Neighbours and the router's own addresses, from the real kernel's tables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpi_dual.lan.neighbours import Neighbour, Table
from lab.netns import Namespace, veth

ROOT = Path(__file__).resolve().parents[2]

ASK = """
import json, sys
from dpi_dual.lan import neighbours
limit = int(sys.argv[1])
table = neighbours.neighbours(["br-lan"], limit)
around, left_out = neighbours.neighbourhood(("br-lan",), limit)
print(json.dumps([[list(neighbour) for neighbour in table.neighbours], table.left_out,
                  {mac: sorted(ips) for mac, ips in table.addresses().items()},
                  around.macs, sorted(around.router_macs), sorted(around.router_ips),
                  [str(network) for network in around.networks]]))
"""


@pytest.mark.root
def test_clients_have_all_their_addresses_and_the_router_is_told_apart(make_host: Callable[[str], Namespace]) -> None:
    router, client, far = make_host("router"), make_host("client"), make_host("far")
    veth(router, "br-lan", client, "eth0")
    veth(router, "eth0", far, "eth0")
    for host, device, addresses in (
        (router, "br-lan", ["192.168.1.1/24", "2001:db8::1/64"]),
        (client, "eth0", ["192.168.1.50/24", "2001:db8::50/64"]),
        (router, "eth0", ["198.51.100.7/24"]),
        (far, "eth0", ["198.51.100.1/24"]),
    ):
        for address in addresses:
            host.ip("addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
    for target in ("192.168.1.50", "2001:db8::50", "198.51.100.1"):
        router.run("ping", "-q", "-c", "1", "-W", "3", target)
    router.run("ping", "-q", "-c", "1", "-W", "1", "192.168.1.99", check=False)  # nobody: no entry to believe
    mac = json.loads(client.ip("-j", "link", "show", "eth0"))[0]["address"]
    own = json.loads(router.ip("-j", "link", "show", "br-lan"))[0]["address"]
    router.ip("neigh", "add", "192.168.1.60", "lladdr", "02:aa:bb:cc:dd:ee", "dev", "br-lan", "nud", "permanent")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}

    def ask(limit: int = 100) -> Any:
        return json.loads(router.run(sys.executable, "-c", ASK, str(limit), env=environment).stdout)

    rows, left_out, by_mac, macs, router_macs, router_ips, networks = ask()
    assert left_out == 0
    assert {"192.168.1.50", "2001:db8::50"} <= set(by_mac[mac])
    assert by_mac["02:aa:bb:cc:dd:ee"] == ["192.168.1.60"] and macs["192.168.1.60"] == "02:aa:bb:cc:dd:ee"
    assert "192.168.1.99" not in macs and "198.51.100.1" not in macs
    assert not any(ip.startswith(("ff", "224.")) for ip in macs)
    assert {row[2] for row in rows} == {"br-lan"}
    assert ["192.168.1.60", "02:aa:bb:cc:dd:ee", "br-lan", "permanent"] in rows
    assert own in router_macs and mac not in router_macs
    assert {"192.168.1.1", "2001:db8::1", "198.51.100.7"} <= set(router_ips)
    assert networks == ["192.168.1.0/24", "2001:db8::/64"]
    some, left_out, *_ = ask(limit=1)
    assert len(some) == 1 and left_out == len(rows) - 1


def test_the_fresher_of_two_entries_for_one_address_counts() -> None:
    old, new = "02:00:00:00:00:01", "02:00:00:00:00:02"
    entries = [
        Neighbour("192.168.1.5", new, "br-lan", "reachable"),
        Neighbour("192.168.1.5", old, "br-guest", "stale"),
        Neighbour("fe80::5", new, "br-lan", "stale"),
    ]
    for order in (entries, entries[::-1]):
        table = Table(tuple(order), 0)
        assert table.macs()["192.168.1.5"] == new
        assert table.addresses() == {new: {"192.168.1.5", "fe80::5"}}
