"""The LAN analysis on a real kernel: neighbours, conntrack accounting, NAT, rates, and the way without an agent."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from lab.netns import Namespace, veth
from lab.waiting import eventually

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[2]
PHONE_MAC, LAPTOP_MAC, ROUTER_MAC = "02:00:5e:00:01:65", "02:00:5e:00:01:64", "02:00:5e:00:01:01"

#: Masquerades IPv4; the rule of the other table has the kernel track what is only routed.
_RULES = """
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname "wan" masquerade
  }
}
table inet filter {
  chain forward {
    type filter hook forward priority filter
    ct state established accept
  }
}
"""

#: Runs a LAN stream in the router's namespace: one line in, one tick, its answers out.
_STREAM = """
import json, sqlite3, sys
from dpi_dual import config
from dpi_dual.lan.stream import LanStream
files = {}
db = sqlite3.connect(":memory:", isolation_level=None)
stream = LanStream(config.defaults(), db, files.__setitem__, config_dir=sys.argv[1], absence_s=0.0)
stream.names._ethers = stream.names._ethers.__class__(sys.argv[1]) / "ethers"
for line in sys.stdin:
    agent = line.strip()
    stream.agent = lambda: agent
    stream.tick()
    problems = [problem.code for problem in stream.problems()]
    flows = stream.flows(limit=500)["flows"]
    answer = {"files": files, "problems": problems, "flows": flows}
    print(json.dumps(answer), flush=True)
"""

#: The same beside a client of a real agent.
_AGENT_STREAM = """
import asyncio, json, sqlite3, sys
from dpi_dual import config
from dpi_dual.capture.agent import AgentClient
from dpi_dual.lan.stream import LanStream
files = {}
stream = LanStream(
    config.defaults(), sqlite3.connect(":memory:", isolation_level=None), files.__setitem__, config_dir=sys.argv[1],
    absence_s=0.0,
)
agent = AgentClient("lan", sys.argv[2], lambda name: stream.table if name == "br-lan" else None)
stream.agent = lambda: "netifyd" if agent.connected else ""
async def main():
    reading = asyncio.ensure_future(agent.run())
    while await asyncio.to_thread(sys.stdin.readline):
        stream.tick()
        print(json.dumps({"files": files, "source": stream.source}), flush=True)
    reading.cancel()
asyncio.run(main())
"""

#: Serves any number of connections: reads a request's size, answers with so many bytes.
_SERVER = """
import socket, sys, threading
def serve(connection):
    with connection:
        for line in connection.makefile("rb"):
            connection.sendall(b"x" * int(line))
server = socket.create_server(("", 443), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""

#: Keeps one connection open: each line in asks for so many bytes.
_CLIENT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 443))
print("ready", flush=True)
for line in sys.stdin:
    connection.sendall(line.encode())
    left = int(line)
    while left:
        left -= len(connection.recv(min(left, 65536)))
    print("done", flush=True)
"""


class Lan:
    """A router with a phone and a laptop behind it and a server before it."""

    def __init__(self, make_host: Callable[[str], Namespace], config_dir: Path) -> None:
        self.router, self.server = make_host("router"), make_host("server")
        self.phone, self.laptop = make_host("phone"), make_host("laptop")
        self.config_dir = config_dir
        self.processes: list[Any] = []
        router = self.router
        router.ip("link", "add", "br-lan", "address", ROUTER_MAC, "type", "bridge")
        for host, name, mac, number in ((self.phone, "lan1", PHONE_MAC, 10), (self.laptop, "lan2", LAPTOP_MAC, 11)):
            veth(router, name, host, "eth0")
            router.ip("link", "set", name, "master", "br-lan")
            host.ip("link", "set", "eth0", "address", mac)
            host.ip("address", "add", f"192.168.1.{number}/24", "dev", "eth0")
            host.ip("address", "add", f"fd00:1::{number}/64", "dev", "eth0", "nodad")
            host.ip("route", "add", "default", "via", "192.168.1.1")
            host.ip("route", "add", "default", "via", "fd00:1::1")
        router.ip("link", "set", "br-lan", "up")
        router.ip("address", "add", "192.168.1.1/24", "dev", "br-lan")
        router.ip("address", "add", "fd00:1::1/64", "dev", "br-lan", "nodad")
        veth(router, "wan", self.server, "eth0")
        router.ip("address", "add", "203.0.113.2/24", "dev", "wan")
        router.ip("address", "add", "2001:db8:113::2/64", "dev", "wan", "nodad")
        self.server.ip("address", "add", "203.0.113.10/24", "dev", "eth0")
        self.server.ip("address", "add", "2001:db8:113::10/64", "dev", "eth0", "nodad")
        self.server.ip("route", "add", "fd00:1::/64", "via", "2001:db8:113::2")
        for name, value in (
            ("net.ipv4.ip_forward", 1),
            ("net.ipv6.conf.all.forwarding", 1),
            ("net.netfilter.nf_conntrack_acct", 1),
        ):
            router.run("sysctl", "-qw", f"{name}={value}")
        router.run("nft", "-f", "-", input=_RULES)
        self.talk(self.server, _SERVER)

    def talk(self, host: Namespace, program: str, *argv: str) -> Any:
        """Starts a program that says `ready` when it is."""
        process = self.start(host, sys.executable, "-c", program, *argv)
        assert process.stdout.readline() == "ready\n"
        return process

    def start(self, host: Namespace, *argv: str) -> Any:
        process = host.popen(*argv, stdin=PIPE, stdout=PIPE, text=True)
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
            with process:  # waits and closes the pipes
                pass

    def fetch(self, connection: Any, size: int) -> None:
        connection.stdin.write(f"{size}\n")
        connection.stdin.flush()
        assert connection.stdout.readline() == "done\n"

    def counted(self, host: Namespace) -> tuple[int, int]:
        """What the host's own interface received and sent, in bytes."""
        (link,) = json.loads(host.ip("-s", "-j", "link", "show", "dev", "eth0"))
        return link["stats64"]["rx"]["bytes"], link["stats64"]["tx"]["bytes"]


class Ticker:
    """The stream inside the router."""

    def __init__(self, lan: Lan, program: str = _STREAM, *argv: str) -> None:
        command = ["env", f"PYTHONPATH={ROOT / 'lib'}", sys.executable, "-c", program, str(lan.config_dir), *argv]
        self._process = lan.start(lan.router, *command)

    def __call__(self, agent: str = "") -> dict[str, Any]:
        self._process.stdin.write(f"{agent}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert isinstance(answer, dict)
        return answer


@pytest.fixture
def lan(make_host: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Lan]:
    (tmp_path / "dhcp").write_text(
        f"config dnsmasq\n option leasefile '{tmp_path}/leases'\n"
        f"config host\n option name 'desk'\n option mac '{LAPTOP_MAC}'\n"
    )
    (tmp_path / "leases").write_text(f"0 {PHONE_MAC} 192.168.1.10 phone *\n0 {LAPTOP_MAC} 192.168.1.11 laptop *\n")
    made = Lan(make_host, tmp_path)
    yield made
    made.close()


def clients(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["mac"]: row for row in answer["files"]["lan-clients.json"]["clients"]}


def test_conntrack_alone(lan: Lan) -> None:
    tick = Ticker(lan)
    answer = tick()
    assert answer["files"]["lan-flows.json"]["source"] == "conntrack" and answer["problems"] == ["lan_fallback"]
    before = lan.counted(lan.phone)

    phone4 = lan.talk(lan.phone, _CLIENT, "203.0.113.10")
    phone6 = lan.talk(lan.phone, _CLIENT, "2001:db8:113::10")
    laptop = lan.talk(lan.laptop, _CLIENT, "203.0.113.10")
    lan.fetch(phone4, 400_000)
    lan.fetch(phone6, 200_000)
    lan.fetch(laptop, 50_000)
    first = tick()
    found = clients(first)
    assert set(found) == {PHONE_MAC, LAPTOP_MAC}  # and not the router
    phone = found[PHONE_MAC]
    assert phone["hostname"] == "phone" and found[LAPTOP_MAC]["hostname"] == "desk"
    assert {"192.168.1.10", "fd00:1::10"} <= set(phone["ips"]) and phone["ip"] == "192.168.1.10"
    # ARP and neighbour discovery are on the wire as well, but nothing that conntrack would count.
    received, sent = (now - then for now, then in zip(lan.counted(lan.phone), before, strict=True))
    assert phone["bytes_in"] == pytest.approx(received, rel=0.01) and phone["bytes_in"] > 600_000
    assert phone["bytes_out"] == pytest.approx(sent, abs=1500)
    assert phone["flows"] == phone["flows_live"] == 2 and phone["last_proto"] == "TLS"
    assert first["files"]["lan-flows.json"]["rates_source"] == "conntrack" and phone["rx_bps"] > phone["tx_bps"] > 0
    destinations = {row["ip"]: row for row in first["files"]["lan-destinations.json"]["destinations"]}
    assert set(destinations) == {"203.0.113.10", "2001:db8:113::10"}
    assert set(destinations["203.0.113.10"]["clients"]) == {PHONE_MAC, LAPTOP_MAC}
    assert all(flow["agent"] == "conntrack" and flow["guessed"] for flow in first["flows"])
    assert {flow["ip_version"] for flow in first["flows"]} == {4, 6}

    lan.fetch(phone4, 100_000)
    second = tick()
    seconds = second["files"]["lan-flows.json"]["rates_interval_s"]
    grown = clients(second)[PHONE_MAC]["bytes_in"] - phone["bytes_in"]
    assert grown > 100_000
    # The rate is that growth over the time between the two dumps.
    assert clients(second)[PHONE_MAC]["rx_bps"] == pytest.approx(grown * 8 / seconds, rel=0.1)
    assert clients(tick())[PHONE_MAC]["rx_bps"] == 0


def test_what_an_agent_counts_is_not_counted_from_conntrack(lan: Lan) -> None:
    tick = Ticker(lan)
    connection = lan.talk(lan.phone, _CLIENT, "203.0.113.10")
    tick("netifyd")
    lan.fetch(connection, 300_000)
    answer = tick("netifyd")
    assert clients(answer) == {} and answer["files"]["lan-flows.json"]["source"] == "netifyd"
    # The agent goes: what the connection carried before is a baseline.
    answer = tick("")
    assert clients(answer)[PHONE_MAC]["bytes_in"] == 0
    lan.fetch(connection, 100_000)
    answer = tick("")
    assert 100_000 < clients(answer)[PHONE_MAC]["bytes_in"] < 120_000
    # And comes back: from here on it is the one who counts.
    tick("netifyd")
    lan.fetch(connection, 500_000)
    answer = tick("netifyd")
    assert clients(answer)[PHONE_MAC]["bytes_in"] < 120_000
    assert clients(answer)[PHONE_MAC]["rx_bps"] > 0  # rates go on from conntrack
    assert answer["problems"] == []


def test_an_agent_that_dies_and_comes_back(lan: Lan, tmp_path: Path) -> None:
    pytest.importorskip("nfstream", reason="the agent of the lab needs nfstream")
    socket = str(tmp_path / "agent.sock")
    program = ["env", f"PYTHONPATH={ROOT}:{ROOT / 'lib'}", sys.executable, "-m", "lab.netifyd", "--socket", socket]

    def start_agent() -> Any:
        return lan.start(lan.router, *program, "--internal", "br-lan", "--tick", "1")

    tick = Ticker(lan, _AGENT_STREAM, socket)

    def until(condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        answers: list[dict[str, Any]] = []

        def holds() -> bool:
            answers[:] = [tick()]
            return condition(answers[0])

        eventually("clients and their source are as they should be", holds)
        return answers[0]

    def received(answer: dict[str, Any]) -> int:
        return int(clients(answer).get(PHONE_MAC, {}).get("bytes_in", 0))

    agent = start_agent()
    until(lambda answer: answer["source"] == "netifyd")
    before, _ = lan.counted(lan.phone)
    connection = lan.talk(lan.phone, _CLIENT, "203.0.113.10")
    lan.fetch(connection, 300_000)
    until(lambda answer: received(answer) > 300_000)

    agent.kill()
    agent.wait()
    until(lambda answer: answer["source"] == "conntrack")
    lan.fetch(connection, 200_000)
    answer = until(lambda answer: received(answer) > 500_000)
    destinations = {row["ip"]: row for row in answer["files"]["lan-destinations.json"]["destinations"]}
    assert destinations["203.0.113.10"]["hits"] == 1  # the agent had announced it

    start_agent()
    until(lambda answer: answer["source"] == "netifyd")
    lan.fetch(connection, 100_000)
    until(lambda answer: received(answer) > 600_000)
    tick()
    after, _ = lan.counted(lan.phone)
    # Every byte once: ARP and the like are the agent's to count or not.
    assert received(tick()) == pytest.approx(after - before, rel=0.02)


def test_a_kernel_that_does_not_count(lan: Lan) -> None:
    lan.router.run("sysctl", "-qw", "net.netfilter.nf_conntrack_acct=0")
    connection = lan.talk(lan.phone, _CLIENT, "203.0.113.10")
    lan.fetch(connection, 1000)
    answer = Ticker(lan)()
    phone = clients(answer)[PHONE_MAC]
    assert phone["flows"] == 1 and phone["bytes"] == 0
    assert "lan_conntrack_accounting_off" in answer["problems"]
    assert answer["files"]["lan-flows.json"]["rates_source"] == "none"


def test_interface_counters_are_the_kernels(lan: Lan) -> None:
    connection = lan.talk(lan.phone, _CLIENT, "203.0.113.10")
    tick = Ticker(lan)
    before = tick()["files"]["lan-flows.json"]
    lan.fetch(connection, 200_000)
    after = tick()["files"]["lan-flows.json"]
    # tx: what the router sent to its clients.
    assert after["tx_bytes"] - before["tx_bytes"] > 200_000 > after["rx_bytes"] - before["rx_bytes"] > 0
    assert after["tx_rate_bps"] > 0


def test_a_lan_interface_that_is_not_there(make_host: Callable[[str], Namespace], tmp_path: Path) -> None:
    command = ["env", f"PYTHONPATH={ROOT / 'lib'}", sys.executable, "-c", _STREAM, str(tmp_path)]
    done = make_host("bare").run(*command, input="netifyd\n")
    answer = json.loads(done.stdout)
    assert "lan_interface_missing" in answer["problems"] and not answer["files"]["lan-flows.json"]["interface_up"]
