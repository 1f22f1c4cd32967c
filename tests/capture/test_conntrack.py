"""Conntrack dumps of the real kernel: IPv4 and IPv6; TCP, UDP and ICMP; accounting off and on."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpi_dual.capture import conntrack
from lab.netns import Namespace, veth

ROOT = Path(__file__).resolve().parents[2]


def test_accounting_is_told_and_switched_on(tmp_path: Path) -> None:
    switch = tmp_path / "nf_conntrack_acct"
    assert conntrack.accounting_enabled(switch) is None
    missing = conntrack.enable_accounting(switch)
    assert missing is not None and missing.code == "conntrack_missing" and not switch.exists()
    switch.write_text("0\n")
    assert conntrack.accounting_enabled(switch) is False
    told = conntrack.enable_accounting(switch)
    assert told is not None and told.code == "conntrack_accounting_enabled" and told.severity == "info"
    assert conntrack.accounting_enabled(switch) is True
    assert conntrack.enable_accounting(switch) is None


DUMP = """
import json, sys
from dpi_dual.capture import conntrack
table = conntrack.dump(limit=int(sys.argv[1]))
rows = [connection._asdict() for connection in table.connections]
print(json.dumps([rows, table.left_out, table.malformed, conntrack.accounting_enabled()]))
"""


@pytest.mark.root
def test_the_kernels_table_agrees_with_the_traffic(make_host: Callable[[str], Namespace]) -> None:
    router, far = make_host("router"), make_host("far")
    veth(router, "eth0", far, "eth0")
    for host, number in ((router, 1), (far, 2)):
        host.ip("addr", "add", f"192.0.2.{number}/24", "dev", "eth0")
        host.ip("addr", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}

    def dump(limit: int = 1000) -> Any:
        return json.loads(router.run(sys.executable, "-c", DUMP, str(limit), env=environment).stdout)

    router.run("nft", "add table inet t; add chain inet t c { type filter hook output priority 0; }")
    router.run("nft", "add rule inet t c ct state new counter")
    uncounted = "import socket; socket.socket(2, 2).sendto(b'x', ('192.0.2.2', 7))"
    router.run(sys.executable, "-c", uncounted)
    rows, _, malformed, accounting = dump()
    assert accounting is False and malformed == 0
    assert [row["orig_bytes"] for row in rows if row["dport"] == 7] == [None]
    enable = "from dpi_dual.capture import conntrack; print(conntrack.enable_accounting().code)"
    told = router.run(sys.executable, "-c", enable, env=environment).stdout
    assert told == "conntrack_accounting_enabled\n"
    server = far.popen(
        sys.executable,
        "-c",
        "import socket\ns = socket.create_server(('192.0.2.2', 8080))\nprint('ready', flush=True)\n"
        "c = s.accept()[0]\nc.recv(10)\nc.sendall(b'y' * 1000)\nc.recv(10)",
        stdout=-1,
        text=True,
    )
    assert server.stdout is not None and server.stdout.readline() == "ready\n"
    router.run(
        sys.executable,
        "-c",
        "import socket\nc = socket.create_connection(('192.0.2.2', 8080))\nc.sendall(b'x')\n"
        "got = 0\nwhile got < 1000: got += len(c.recv(1000))\n",
    )
    server.wait()
    server.stdout.close()
    for target in ("192.0.2.2", "2001:db8::2"):
        router.run("ping", "-q", "-c", "2", "-i", "0.01", "-s", "56", target)
    for number in range(5):
        sender = f"import socket; s = socket.socket(10, 2); s.sendto(b'hello', ('2001:db8::2', {9000 + number}))"
        router.run(sys.executable, "-c", sender)
    rows, left_out, malformed, accounting = dump()
    assert (left_out, malformed, accounting) == (0, 0, True)
    (tcp,) = [row for row in rows if row["protocol"] == 6]
    assert (tcp["src"], tcp["dst"], tcp["dport"], tcp["reply_src"]) == ("192.0.2.1", "192.0.2.2", 8080, "192.0.2.2")
    assert tcp["reply_bytes"] > 1000 and tcp["orig_packets"] >= 3 and tcp["tcp_state"] is not None
    pings = {row["ip_version"]: row for row in rows if row["protocol"] in (1, 58) and row["orig_packets"] == 2}
    assert pings[4]["orig_bytes"] == pings[4]["reply_bytes"] == 2 * (20 + 8 + 56)
    assert pings[6]["orig_bytes"] == pings[6]["reply_bytes"] == 2 * (40 + 8 + 56)
    datagrams = [row for row in rows if row["protocol"] == 17 and row["ip_version"] == 6 and row["dport"] >= 9000]
    assert [row["orig_bytes"] for row in datagrams] == [40 + 8 + 5] * 5
    assert len({row["id"] for row in rows}) == len(rows)
    some, left_out, _, _ = dump(limit=3)
    assert len(some) == 3 and left_out == len(rows) - 3
