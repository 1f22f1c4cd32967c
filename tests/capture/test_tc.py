"""Hooks and filters as the real kernel lists them, and hostile bytes in place of a listing."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.capture import tc
from dpi_dual.capture.netlink import attribute
from lab.netns import Namespace, veth

ROOT = Path(__file__).resolve().parents[2]

ASK = """
import json, socket
from dpi_dual.capture import tc
from dpi_dual.capture.netlink import Netlink
index = socket.if_nametoindex("eth0")
with Netlink() as netlink:
    hook = tc.hooks(netlink).get(index, "")
    rows = {}
    for way in ("ingress", "egress"):
        found = tc.filters(netlink, index, way) if hook == "clsact" else []
        rows[way] = [[f.priority, f.kind, f.target, f.structural, f.ours, f.packets, f.bytes] for f in found]
print(json.dumps([hook, rows, socket.if_nametoindex("own0")]))
"""


@pytest.mark.root
def test_hooks_and_an_owners_filters_are_read(make_host: Callable[[str], Namespace]) -> None:
    host, far = make_host("router"), make_host("far")
    veth(host, "eth0", far, "eth0")
    host.ip("link", "add", "own0", "type", "ifb")
    host.ip("link", "set", "own0", "up")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}

    def ask() -> tuple[str, dict[str, list[list[object]]], int]:
        hook, rows, own = json.loads(host.run(sys.executable, "-c", ASK, env=environment).stdout)
        return hook, rows, own

    assert ask()[:2] == ("", {"ingress": [], "egress": []})
    host.run("tc", "qdisc", "add", "dev", "eth0", "ingress")
    assert ask()[0] == "ingress"
    host.run("tc", "qdisc", "del", "dev", "eth0", "ingress")
    host.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    rule = "protocol ip prio 7 u32 match ip dst 192.0.2.2/32 action mirred egress mirror dev own0"
    host.run("tc", "filter", "add", "dev", "eth0", "egress", *rule.split())
    for device, end in ((host, 1), (far, 2)):
        device.ip("addr", "add", f"192.0.2.{end}/24", "dev", "eth0")
    host.run("ping", "-q", "-c", "3", "-i", "0.01", "-s", "56", "192.0.2.2")
    hook, rows, own = ask()
    assert hook == "clsact" and rows["ingress"] == []
    assert [row for row in rows["egress"] if not row[3]] == [[7, "u32", own, False, False, 3, 3 * 98]]
    assert any(row[3] for row in rows["egress"])  # u32's own table


@given(st.binary(max_size=300))
def test_any_listing_is_read_without_an_exception(garbage: bytes) -> None:
    head = struct.pack("=BxxxiIII", 0, 1, 1, tc.PARENTS["ingress"], 49 << 16 | 3)
    tc._filter(head + garbage)
    tc._filter(head + attribute(1, b"u32\0") + attribute(2, attribute(7, attribute(1, garbage))))


@pytest.mark.parametrize("kind", ["matchall", "u32"])
def test_what_we_write_reads_as_ours(kind: str) -> None:
    options = tc.mirror_options(kind, 9, tc.COOKIE_FILTER_AND_HOOK)
    body = tc.request(2, 1, tc.PARENTS["egress"], tc.filter_info(50), kind, options)
    found = tc._filter(body)
    assert found.ours and found.hook_is_ours and found.continues
    assert (found.target, found.priority, found.protocol, found.kind) == (9, 50, tc.PROTOCOL_ALL, kind)


def test_priorities_of_others_are_told_from_ours() -> None:
    def entry(priority: int, handle: int, cookie: bytes = b"", chain: int = 0) -> tc.Filter:
        return tc.Filter(0, priority, 0, handle, "u32", chain, cookie, 0, True, 0, 0, 0, 0)

    ours = [entry(49, 0), entry(49, 0x80000000), entry(49, 0x80000800, tc.COOKIE_FILTER)]
    assert tc.foreign_priorities(ours) == set()
    assert tc.foreign_priorities([*ours, entry(49, 0x80000801)]) == {49}
    assert tc.foreign_priorities([*ours, entry(10, 0)]) == {10}
    assert tc.foreign_priorities([*ours, entry(10, 0x80000800, chain=3)]) == set()
