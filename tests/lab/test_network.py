"""The lab's network on the real kernel: it stands, translates, resolves, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import servers
from lab.network import CLIENT_INTERFACE, CLIENT_MACS, ROUTER_WAN, SERVER_ADDRESSES, LabNetwork, rootless
from lab.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.root


def host_interfaces() -> set[str]:
    return set(os.listdir("/sys/class/net"))


@pytest.fixture(scope="module")
def network() -> Iterator[LabNetwork]:
    before = host_interfaces()
    with LabNetwork() as built:
        servers.start(built)
        assert host_interfaces() == before
        yield built
    assert host_interfaces() == before


@pytest.mark.parametrize("version", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("client", CLIENT_MACS)
def test_clients_reach_the_internet(network: LabNetwork, client: str, version: int) -> None:
    network.clients[client].host.run("ping", "-c", "1", "-W", "2", SERVER_ADDRESSES["web"][version])


def test_leases_name_the_clients(network: LabNetwork) -> None:
    leases = [line.split() for line in network.lease_file.read_text().splitlines() if not line.startswith("duid")]
    told = {name: (mac, address) for _, mac, address, name, _ in leases}
    assert told == {name: (c.mac, c.addresses(4)[0]) for name, c in network.clients.items()}


def test_each_client_has_stable_addresses(network: LabNetwork) -> None:
    for number, client in enumerate(network.clients.values()):
        assert client.addresses(4) == [f"192.168.1.{100 + number}"]
        assert client.addresses(6) == [f"2001:db8:1::5eff:fe00:1{64 + number}"]


def test_names_resolve_through_the_router(network: LabNetwork) -> None:
    laptop = network.clients["laptop"]
    assert laptop.resolv_conf.read_text() == "nameserver 192.168.1.1\n"
    said = laptop.host.run("busybox", "nslookup", "www.youtube.com", "192.168.1.1").stdout
    assert all(address in said for address in SERVER_ADDRESSES["video"])


def test_ipv4_is_masqueraded_and_accounted(network: LabNetwork) -> None:
    v4, v6 = SERVER_ADDRESSES["web"]
    laptop = network.clients["laptop"]
    for address in (v4, v6):
        laptop.host.run("ping", "-c", "1", "-W", "2", address)
    entries = network.router.run("cat", "/proc/net/nf_conntrack", check=False)
    if entries.returncode != 0:
        pytest.skip("this kernel has no /proc/net/nf_conntrack")
    translated = [line for line in entries.stdout.splitlines() if f"src={laptop.addresses(4)[0]}" in line]
    assert any(f"dst={ROUTER_WAN}" in line and "bytes=" in line for line in translated)


def test_accounting_is_on_and_the_bridge_is_not_filtered(network: LabNetwork) -> None:
    def parameter(path: str) -> str:
        return network.router.run("cat", f"/proc/sys/net/{path}").stdout.strip()

    assert parameter("netfilter/nf_conntrack_acct") == "1"
    if Path("/proc/sys/net/bridge").exists():
        assert parameter("bridge/bridge-nf-call-iptables") == "0"


def test_the_internet_cannot_open_connections_to_clients(network: LabNetwork) -> None:
    address = network.clients["tv"].addresses(6)[0]
    assert network.internet.run("ping", "-c", "1", "-W", "1", address, check=False).returncode != 0


def test_client_counters_count_frames(network: LabNetwork) -> None:
    before = network.client_bytes()["phone"]
    network.clients["phone"].host.run("ping", "-c", "1", "-s", "1000", SERVER_ADDRESSES["web"][0])
    after = network.client_bytes()["phone"]
    frame = 14 + 20 + 8 + 1000
    grown = after.tx_bytes - before.tx_bytes, after.rx_bytes - before.rx_bytes
    assert all(frame <= bytes_ < 2 * frame for bytes_ in grown)


#: Builds the network, tells which processes hold and serve it, and waits to be killed.
_BUILDER = """
import json, subprocess, sys
from lab.network import LabNetwork
network = LabNetwork()
list(network.start_up())
hosts = [network.router, network.internet, *(client.host for client in network.clients.values())]
# Somebody's own shell in the router, not ours to have started, must not keep the namespace alive either.
shell = network.router.command(["sh", "-c", "echo inside; exec sleep 600"])
stray = subprocess.Popen(shell, stdout=subprocess.PIPE, start_new_session=True)
stray.stdout.readline()
pids = [host.pid for host in hosts] + [network.processes()["dnsmasq"].pid, stray.pid]
print(json.dumps({"pids": pids, "directory": str(network.directory)}), flush=True)
sys.stdin.read()
"""


def build_elsewhere(command: list[str]) -> tuple[subprocess.Popen[str], dict[str, object]]:
    builder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert builder.stdout is not None
    return builder, json.loads(builder.stdout.readline())


def end(builder: subprocess.Popen[str]) -> None:
    for pipe in (builder.stdin, builder.stdout):
        assert pipe is not None
        pipe.close()
    builder.wait(timeout=PATIENCE_S)


def test_nothing_outlives_a_killed_owner() -> None:
    builder, told = build_elsewhere([sys.executable, "-c", _BUILDER])
    pids = told["pids"]
    assert isinstance(pids, list) and len(pids) == 7
    watched = [os.pidfd_open(pid) for pid in pids]
    namespaces = {os.readlink(f"/proc/{pid}/ns/net") for pid in pids}
    assert len(namespaces) == 5
    builder.send_signal(signal.SIGKILL)
    end(builder)
    for descriptor in watched:
        signal_when_gone(descriptor)
    assert not namespaces & {link for pid in os.listdir("/proc") if pid.isdigit() for link in [network_of(pid)]}
    shutil.rmtree(str(told["directory"]))


def network_of(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def signal_when_gone(descriptor: int) -> None:
    """Waits until the process has ended: a pidfd becomes readable then."""
    ready, _, _ = select.select([descriptor], [], [], 10)
    os.close(descriptor)
    assert ready


def test_an_ordinary_user_can_have_it_too(tmp_path: Path) -> None:
    """As nobody, in a user namespace: the whole network, by the same code."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, "unshare", "-Urnm", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this kernel allows ordinary users no user namespaces")
    if subprocess.run([*nobody, sys.executable, "-c", "import lab.network"], cwd=ROOT, check=False).returncode != 0:
        pytest.skip("this checkout is not readable for other users")
    builder, told = build_elsewhere([*nobody, *rootless([sys.executable, "-c", _BUILDER])])
    assert isinstance(told["pids"], list)
    router = told["pids"][0]
    listing = subprocess.run(
        ["nsenter", f"--target={router}", "--net", "ip", "-o", "link"], capture_output=True, text=True, check=True
    ).stdout
    assert "br-lan" in listing and CLIENT_INTERFACE not in {line.split()[1].strip(":") for line in listing.splitlines()}
    builder.kill()
    end(builder)
    shutil.rmtree(str(told["directory"]))
