"""Interfaces and addresses as the real kernel has them, against what `ip` says."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from dpi_dual.capture import links
from dpi_dual.capture.netlink import Netlink
from lab.netns import Namespace, veth

ROOT = Path(__file__).resolve().parents[2]

ASK = """
import json
from dataclasses import asdict
from dpi_dual.capture import links
from dpi_dual.capture.netlink import Netlink
with Netlink() as netlink:
    print(json.dumps([{link.name: asdict(link) for link in links.links(netlink)},
                      [[address.index, str(address.interface)] for address in links.addresses(netlink)]]))
"""


def test_the_loopback_interface_is_there() -> None:
    with Netlink() as netlink:
        found = {link.name: link for link in links.links(netlink)}
    loopback = found["lo"]
    assert loopback.flags & links.IFF_LOOPBACK and loopback.ethernet and loopback.mac == "00:00:00:00:00:00"
    assert asdict(loopback)["kind"] == ""


@pytest.mark.root
def test_everything_agrees_with_ip(make_host: Callable[[str], Namespace]) -> None:
    host, far = make_host("router"), make_host("far")
    veth(host, "eth0", far, "eth0")
    host.ip("link", "add", "br0", "type", "bridge")
    host.ip("link", "add", "own0", "type", "ifb")
    host.ip("link", "set", "own0", "master", "br0", "alias", "the owner's")
    host.ip("link", "add", "over", "link", "br0", "type", "macvlan")
    host.ip("tuntap", "add", "dev", "ppp0", "mode", "tun")
    host.ip("addr", "add", "192.0.2.1/24", "dev", "eth0")
    host.ip("addr", "add", "192.0.2.9", "peer", "192.0.2.10/32", "dev", "br0")
    host.ip("addr", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    found, addresses = json.loads(host.run(sys.executable, "-c", ASK, env=environment).stdout)
    shown: dict[str, Any] = {link["ifname"]: link for link in json.loads(host.ip("-j", "-d", "link", "show"))}
    assert {name: link["index"] for name, link in found.items()} == {n: link["ifindex"] for n, link in shown.items()}
    for name, link in found.items():
        assert link["kind"] == shown[name].get("linkinfo", {}).get("info_kind", "")
        assert bool(link["flags"] & links.IFF_UP) is ("UP" in shown[name]["flags"])
        assert link["mac"] == shown[name].get("address", "")
    assert found["own0"]["master"] == found["br0"]["index"] and found["own0"]["alias"] == "the owner's"
    assert found["over"]["lower"] == found["br0"]["index"]
    assert found["eth0"]["lower"] == 0  # the other end is in another namespace
    assert found["ppp0"]["hardware"] not in (links.ARPHRD_ETHER, links.ARPHRD_LOOPBACK)
    eth0, br0 = found["eth0"]["index"], found["br0"]["index"]
    assert [eth0, "192.0.2.1/24"] in addresses and [eth0, "2001:db8::1/64"] in addresses
    assert [br0, "192.0.2.9/32"] in addresses
