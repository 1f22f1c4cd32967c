"""The lab as a whole: clients' traffic through the router, classified by real nDPI, counted to the byte."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import servers, traffic
from lab.network import LAN_INTERFACE, WAN_INTERFACE, LabNetwork
from lab.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.root

#: Every kind of traffic in both IP versions, dealt once to each client.
DECK = 2 * sum(copies for _, _, copies in traffic.KINDS.values())
TICK_S = 0.7


class Reader(threading.Thread):
    """Reads the agent's socket to its end."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.messages: list[dict[str, Any]] = []
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(30)
        self._connection.connect(str(path))
        self.start()

    def run(self) -> None:
        with self._connection, self._connection.makefile("rb") as stream:
            while header := stream.readline():
                self.messages.append(json.loads(stream.read(json.loads(header)["length"])))

    def wait_for(self, kind: str) -> None:
        eventually(f"a {kind}", lambda: any(message["type"] == kind for message in list(self.messages)))


@dataclass
class Session:
    """What one run of the whole lab left behind."""

    reader: Reader
    second: Reader
    late: Reader
    reports: dict[str, dict[str, Any]]
    interface_bytes: dict[str, int] = field(default_factory=dict)

    def flows(self, interface: str = LAN_INTERFACE) -> list[dict[str, Any]]:
        told = (m for m in self.reader.messages if m["type"] == "flow" and m["interface"] == interface)
        return list({message["flow"]["digest"]: message["flow"] for message in told}.values())

    def of(self, kind: str, interface: str = LAN_INTERFACE) -> list[dict[str, Any]]:
        return [m for m in self.reader.messages if m["type"] == kind and m["interface"] == interface]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with LabNetwork() as network:
        servers.start(network)
        path = network.directory / "netifyd.sock"
        links = ["--internal", LAN_INTERFACE, "--external", WAN_INTERFACE, "--tick", str(TICK_S)]
        agent = network.router.popen(sys.executable, "-m", "lab.netifyd", "--socket", str(path), *links)
        while not path.exists():
            assert agent.poll() is None
            time.sleep(0.01)
        first, second = Reader(path), Reader(path)
        first.wait_for("definitions")
        before = network.client_bytes()
        clients = [traffic.start(network, name, seed=7, rate=12, count=DECK) for name in network.clients]
        first.wait_for("flow_stats")
        late = Reader(path)
        assert [client.wait(timeout=60) for client in clients] == [0, 0, 0]
        time.sleep(0.1)  # last packets in flight
        agent.terminate()
        assert agent.wait(timeout=PATIENCE_S) == 0
        after = network.client_bytes()
        for reader in (first, second, late):
            reader.join(timeout=PATIENCE_S)
        yield Session(
            first,
            second,
            late,
            {name: traffic.read_report(network.directory, name) for name in network.clients},
            {name: after[name].total_bytes - before[name].total_bytes for name in after},
        )


def test_the_clients_did_everything_without_error(session: Session) -> None:
    for report in session.reports.values():
        assert report["errors"] == []
        assert report["sums"]["done"] == DECK and report["sums"]["skipped"] == 0
        assert all(report["sums"][f"{kind}{version}"] for kind in traffic.KINDS for version in (4, 6))


@pytest.mark.parametrize("interface", [LAN_INTERFACE, WAN_INTERFACE])
@pytest.mark.parametrize("version", [4, 6])
def test_protocols_are_recognised(session: Session, interface: str, version: int) -> None:
    flows = [flow for flow in session.flows(interface) if flow["ip_version"] == version]
    names = {flow["detected_protocol_name"] for flow in flows if not flow["detection_guessed"]}
    expected = {"HTTP", "HTTP/S", "SSH", "Telnet", "SMTP", "FTP/C", "NTP"}
    expected |= {"DNS", "ICMP"} if version == 4 else {"ICMPv6"}
    assert expected <= names


@pytest.mark.parametrize("version", [4, 6])
def test_applications_are_recognised_by_server_name(session: Session, version: int) -> None:
    found = {
        flow["ssl"]["client_sni"]: flow["detected_application_name"]
        for flow in session.flows()
        if flow["ip_version"] == version and "ssl" in flow
    }
    assert found["www.youtube.com"] == found["rr1.googlevideo.com"] == "netify.youtube"
    assert found["web.whatsapp.com"] == "netify.whatsapp"


def test_almost_nothing_stays_unknown(session: Session) -> None:
    names = Counter(flow["detected_protocol_name"] for flow in session.flows())
    assert names["Unknown"] <= 0.02 * names.total()


def test_each_client_is_seen_with_its_mac_and_addresses(session: Session) -> None:
    ends = {(flow[f"{side}_mac"], flow["ip_version"]) for flow in session.flows() for side in ("local", "other")}
    assert {(f"02:00:5e:00:01:6{n}", version) for n in (4, 5, 6) for version in (4, 6)} <= ends


def test_the_wan_side_sees_translated_flows(session: Session) -> None:
    local = {flow["local_ip"] for flow in session.flows(WAN_INTERFACE) if flow["ip_version"] == 4}
    assert "203.0.113.2" in local and not any(address.startswith("192.168.") for address in local)
    assert all(message["internal"] is (message["interface"] == LAN_INTERFACE) for message in session.of("flow"))


def test_bytes_agree_with_the_clients_own_interfaces(session: Session) -> None:
    """Flows lack what is no IP (ARP); the clients lack nothing, but count flooded multicast once each."""
    purged = sum(message["flow"]["total_bytes"] for message in session.of("flow_purge"))
    counted = sum(session.interface_bytes.values())
    assert purged == pytest.approx(counted, rel=0.01)


def test_totals_are_sums_of_differences(session: Session) -> None:
    sums: Counter[tuple[str, str]] = Counter()
    lives: Counter[str] = Counter()
    for message in session.reader.messages:
        if message["type"] in ("flow_stats", "flow_purge") and message["interface"] == LAN_INTERFACE:
            flow = message["flow"]
            life = (flow["digest"], str(lives[flow["digest"]]))
            sums[life] += flow["local_bytes"] + flow["other_bytes"]
            assert sums[life] == flow["total_bytes"]
            lives[flow["digest"]] += message["type"] == "flow_purge"


def test_the_agents_own_statistics_agree(session: Session) -> None:
    statuses = [m["stats"][LAN_INTERFACE] for m in session.reader.messages if "stats" in m]
    purged = sum(message["flow"]["total_bytes"] for message in session.of("flow_purge"))
    assert sum(status["ip_bytes"] for status in statuses) == purged
    assert sum(status["pcap_drop"] for status in statuses) == 0


def test_every_flow_is_announced_before_it_is_counted_and_purged_once(session: Session) -> None:
    announced: set[tuple[str, str]] = set()
    live: set[tuple[str, str]] = set()
    reasons = Counter()
    for message in session.reader.messages:
        if message["type"] not in ("flow", "flow_stats", "flow_purge"):
            continue
        key = message["interface"], message["flow"]["digest"]
        if message["type"] == "flow":
            announced.add(key)
            live.add(key)
        assert key in announced
        if message["type"] == "flow_purge":
            live.remove(key)
            reasons[message["reason"]] += 1
    assert not live
    assert set(reasons) == {"closed", "expired", "terminated"}


def test_a_connection_begins_as_the_agents_does(session: Session) -> None:
    for reader in (session.reader, session.second, session.late):
        assert [message["type"] for message in reader.messages[:3]] == ["agent_hello", "agent_status", "definitions"]


def test_readers_hear_the_same(session: Session) -> None:
    heard = session.second.messages[3:]
    assert heard == session.reader.messages[-len(heard) :]


def test_a_late_reader_gets_no_dump_but_hears_of_flows_never_announced_to_it(session: Session) -> None:
    heard = session.late.messages[3:]
    assert heard == session.reader.messages[-len(heard) :]
    announced = {m["flow"]["digest"] for m in heard if m["type"] == "flow"}
    counted = {m["flow"]["digest"] for m in heard if m["type"] in ("flow_stats", "flow_purge")}
    assert counted - announced
