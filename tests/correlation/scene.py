"""A correlator with real tables and a real database, in a household of the documentation networks."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from dpi_dual import config
from dpi_dual.capture.flows import FlowTable
from dpi_dual.capture.tallies import TrackedFlow
from dpi_dual.correlation.correlator import Correlator
from dpi_dual.correlation.home import Home
from dpi_dual.correlation.outbox import Outbox
from dpi_dual.engine.state import State
from dpi_dual.lan.ends import Neighbourhood
from dpi_dual.lan.stream import LanStream
from dpi_dual.mitm.alerts import Alerts

NOW = 1_800_000_000.0
PHONE, PHONE_IP = "02:00:5e:00:01:64", "192.168.1.100"
WAN = "203.0.113.2"
ATTACKER = "198.51.100.7"


class Buffer:
    """The analyser's side, with no requests."""

    def __init__(self, store: Alerts) -> None:
        self.store = store

    async def context(self, ip: str, since: float = 0.0, limit: int = 50) -> list[dict[str, Any]]:
        return []


class Scene:
    """`time` is the clock of all of it; `run` runs a coroutine while the correlator takes events."""

    def __init__(self, place: Path, uci: str = "") -> None:
        place.mkdir(exist_ok=True)
        self.time = NOW
        self.place = place
        self.write(uci)
        self.settings = config.load(str(place))
        self.state = State(str(place / "ram"), str(place / "flash"), 900)
        self.tap = FlowTable("tap", clock=self.clock, monotonic=self.clock)
        self.lan = LanStream(self.settings, self.state.db, clock=self.clock, monotonic=self.clock)
        networks = tuple(map(ipaddress.ip_network, ("192.168.1.0/24", "203.0.113.0/30", "2001:db8:1::/64")))
        self.lan.accounting.around = Neighbourhood(
            macs={PHONE_IP: PHONE, "2001:db8:1::64": PHONE},
            router_macs=frozenset({"02:00:5e:00:01:01"}),
            router_ips=frozenset({"192.168.1.1", WAN}),
            networks=(networks[0], networks[2]),
        )
        self.home = Home(self.lan, lambda: (frozenset({"192.168.1.1", WAN, "127.0.0.1"}), networks), self.clock)
        self.sent: list[dict[str, Any]] = []
        self.outbox = Outbox(self._post, ubus="", retry_s=(0.01,))
        self.one = Correlator(
            self.settings, self.state.db, self.tap, self.lan, self.home, self.outbox, self.clock, self.clock
        )
        for table, watch in zip((self.tap, self.lan.table), self.one.watches, strict=True):
            table.set_sinks([*table.sinks, watch])
            watch.active = True
        self.alerts = Alerts(self.state.db)
        self.one.enrichment.mitm = Buffer(self.alerts)
        self.one.running = True

    def write(self, uci: str) -> None:
        own = f"config global 'settings'\n\toption stats_dir '{self.place}/ram'\n"
        (self.place / "dpi-dual").write_text(own + uci)

    def configure(self, uci: str) -> None:
        """Other settings from now on."""
        self.write(uci)
        self.settings = config.load(str(self.place))
        self.one.reconfigure(self.settings)

    def clock(self) -> float:
        return self.time

    async def _post(self, url: str, notifications: list[dict[str, Any]]) -> tuple[int, str]:
        self.sent += notifications
        return len(notifications), ""

    def close(self) -> None:
        self.state.close()

    # --- what happens

    def alert(self, ip: str = ATTACKER, number: int = 1, **more: Any) -> None:
        """A WAF alert, stored and handed on as the link does it."""
        given = {
            "id": f"alert-{number}",
            "at": self.time,
            "timestamp": "T",
            "event": "waf_block",
            "client_ip": ip,
            "client_port": 0,
            "host": "www.example.com",
            "path": "/login",
            "method": "GET",
            "threat_score": 80,
            "categories": ["sqli"],
            "blocked": True,
            "rule": "sqli-1",
            **more,
        }
        self.alerts.take("scene", [{**given, "n": self.alerts.last("scene") + 1}], self.time)
        self.one.on_alert(given)

    def flow(self, table: FlowTable | None = None, key: str = "k1", **more: Any) -> TrackedFlow:
        """A flow that an agent tells of: from the attacker to the router's WAN address unless said otherwise."""
        table = table or self.tap
        given: dict[str, Any] = {
            "agent": "netifyd",
            "interface": table.name,
            "key": key,
            "first_seen_at": self.time,
            "last_seen_at": self.time,
            "ip_version": 4,
            "ip_protocol": 6,
            "local_ip": WAN,
            "local_port": 443,
            "other_ip": ATTACKER,
            "other_port": 50_000,
            "other_type": "remote",
            "local_origin": False,
            "protocol": "TLS",
            "risk_namespace": "netify",
        }
        flow = TrackedFlow(**{**given, **more})
        table.start(table.source("netifyd", table.name), flow, self.time)
        return flow

    def records(self, **wanted: Any) -> list[dict[str, Any]]:
        """All records, oldest first, with context."""
        return [json.loads(line) for line in self.one.store.lines(100)]

    def score(self, actor: str = ATTACKER) -> float:
        return self.one.reputation.score(actor, self.time)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """An asyncio test, for a minute at most."""
    asyncio.run(asyncio.wait_for(work(), 60))
