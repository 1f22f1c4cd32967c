"""Flows, clocks and a LAN to try the analysis on."""

from __future__ import annotations

import ipaddress
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dpi_dual import config
from dpi_dual.capture.conntrack import Table
from dpi_dual.lan.accounting import LanAccounting
from dpi_dual.lan.clients import ClientTable
from dpi_dual.lan.destinations import DestinationTable
from dpi_dual.lan.ends import Neighbourhood
from dpi_dual.lan.kernel import Kernel
from dpi_dual.lan.protocols import ProtocolTable
from dpi_dual.lan.stream import LanStream
from dpi_dual.model import Flow, Problem
from dpi_dual.settings import Settings
from tests.lan.household import LAPTOP, PHONE, ROUTER


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def monotonic() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def home() -> Neighbourhood:
    """A LAN with a phone, a laptop and the router, IPv4 and IPv6."""
    return Neighbourhood(
        macs={"192.168.1.10": PHONE, "fd00::10": PHONE, "192.168.1.11": LAPTOP, "192.168.1.1": ROUTER},
        router_macs=frozenset({ROUTER}),
        router_ips=frozenset({"192.168.1.1", "fd00::1", "203.0.113.2"}),
        networks=(ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("fd00::/64")),
    )


@pytest.fixture
def accounting(home: Neighbourhood, clock: Clock, monotonic: Clock) -> LanAccounting:
    made = LanAccounting(ClientTable(), DestinationTable(), ProtocolTable(), clock, monotonic)
    made.around = home
    return made


@pytest.fixture
def make_flow(clock: Clock) -> Callable[..., Flow]:
    """A flow of the phone to the internet, unless told otherwise."""
    number = iter(range(1, 1_000_000))

    def make(**fields: object) -> Flow:
        values: dict[str, object] = {
            "agent": "lan",
            "interface": "br-lan",
            "key": f"k{next(number)}",
            "first_seen_at": clock.now,
            "last_seen_at": clock.now,
            "ip_version": 4,
            "ip_protocol": 6,
            "local_ip": "192.168.1.10",
            "local_port": 40000,
            "local_mac": PHONE,
            "other_ip": "198.51.100.10",
            "other_port": 443,
            "other_mac": ROUTER,
            "other_type": "remote",
            "protocol": "TLS",
        }
        return Flow(**{**values, **fields})  # type: ignore[arg-type]

    return make


@pytest.fixture
def count() -> Callable[..., None]:
    """Lets a flow grow and tells the accounting, as a flow table does."""

    def grow(accounting: LanAccounting, flow: Flow, local: int = 0, other: int = 0, undirected: int = 0) -> None:
        flow.local_bytes += local
        flow.other_bytes += other
        flow.undirected_bytes += undirected
        flow.total_bytes += local + other + undirected
        packets = (bool(local), bool(other), bool(undirected))
        flow.local_packets += packets[0]
        flow.other_packets += packets[1]
        flow.undirected_packets += packets[2]
        flow.total_packets += sum(packets)
        accounting.flow_counted(flow, local, other, undirected, *map(int, packets))

    return grow


class StillKernel(Kernel):
    """Answers what a test sets: the real one is tried in the integration tests."""

    def __init__(self, around: Neighbourhood) -> None:
        super().__init__()
        self.around = around
        self.table: Table | None = Table([], 0, 0, False)
        self.counts_bytes = True

    def neighbourhood(self, interfaces: tuple[str, ...]) -> Neighbourhood | None:
        return self.around

    def connections(self) -> Table | None:
        return self.table

    def problems(self, needed: bool) -> list[Problem]:
        return []


@pytest.fixture
def settings() -> Settings:
    return config.defaults()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
def kernel(home: Neighbourhood) -> StillKernel:
    return StillKernel(home)


@pytest.fixture
def files() -> dict[str, dict[str, Any]]:
    return {}


@pytest.fixture
def stream(
    settings: Settings, db: sqlite3.Connection, files: dict[str, Any], clock: Any, monotonic: Any, tmp_path: Path,
    kernel: StillKernel,
) -> LanStream:  # fmt: skip
    (tmp_path / "dhcp").write_text(f"config dnsmasq\n option leasefile '{tmp_path}/leases'\n")
    (tmp_path / "leases").write_text(f"0 {PHONE} 192.168.1.10 phone *\n0 {LAPTOP} 192.168.1.11 laptop *\n")
    made = LanStream(settings, db, files.__setitem__, clock, monotonic, str(tmp_path), kernel)
    made.agent = lambda: "netifyd"
    made.tick()
    return made
