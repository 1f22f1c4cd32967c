"""The LAN stream: its flow table and all that is made of it, kept fresh tick by tick."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from dpi_dual import paths
from dpi_dual.capture import offload
from dpi_dual.capture.flows import FlowTable
from dpi_dual.lan.accounting import LanAccounting
from dpi_dual.lan.answers import LanAnswers
from dpi_dual.lan.clients import ClientTable
from dpi_dual.lan.destinations import DestinationTable
from dpi_dual.lan.fallback import ConntrackFallback
from dpi_dual.lan.history import History
from dpi_dual.lan.kernel import Kernel
from dpi_dual.lan.names import NameBook
from dpi_dual.lan.protocols import ProtocolTable
from dpi_dual.lan.rates import InterfaceMeter, RateMeter
from dpi_dual.model import Problem
from dpi_dual.settings import Settings

#: Seconds between two writes of the history.
FLUSH_S = 60.0
#: Seconds between two looks for flow offload of the firewall.
OFFLOAD_S = 60.0
#: Seconds between two looks for flows that are over.
EXPIRE_S = 1.0
#: A dump of conntrack that costs more processor time than this is made less often, for this part of all time.
CHEAP_S = 0.02
DUMP_SHARE = 0.01
#: An agent that was heard of within this time is there, when nobody can say whether it is connected.
HEARD_S = 60.0
#: An agent may be away for so long (it restarts, the engine starts) before conntrack stands in for it.
ABSENCE_S = 10.0
#: The clock was set when it and the monotonic clock part by more than this.
CLOCK_JUMP_S = 30.0

_KNOWN_AGENTS = ("netifyd", "ndpid")


class LanStream(LanAnswers):
    """Owns `table` (hand an agent's messages to it) and the figures of the LAN; publishes them as files.

    `publish(file name, content)` writes a snapshot. `agent` may be set to a function that names the kind of the agent
    that is connected for the LAN now (`netifyd`, `ndpid`), empty if none is; `on_new_client` to one that is told of
    each device when it is seen for the first time ever.
    """

    def __init__(
        self,
        settings: Settings,
        db: sqlite3.Connection,
        publish: Callable[[str, dict[str, Any]], None] = lambda name, content: None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        config_dir: str = paths.CONFIG_DIR,
        kernel: Kernel | None = None,
        absence_s: float = ABSENCE_S,
    ) -> None:
        self.agent: Callable[[], str] | None = None
        self.on_new_client: Callable[[dict[str, object]], None] | None = None
        self._clock = clock
        self._monotonic = monotonic
        self._publish = publish
        self.accounting = LanAccounting(ClientTable(), DestinationTable(), ProtocolTable(), clock, monotonic)
        self.table = FlowTable("lan", [self.accounting], clock=clock, monotonic=monotonic)
        self.fallback = ConntrackFallback(self.accounting, clock)
        self.history_store = History(db, settings.lan.history_days, clock)
        self.names = NameBook(config_dir)
        self.rates = RateMeter()
        self.interfaces = InterfaceMeter()
        self.kernel = kernel or Kernel()
        self._ticked_at = clock()
        self._offset = clock() - monotonic()
        self._flushed_at = monotonic()
        self.offload: tuple[Problem, ...] = ()
        self._dumped_at = float("-inf")
        self._dump_cost_s = 0.0
        self._absence_s = absence_s
        self._agent_seen_at = monotonic()
        self.reconfigure(settings)

    def reconfigure(self, settings: Settings) -> None:
        """Takes new settings; flows and figures stay."""
        lan = settings.lan
        self._settings = lan
        self.interface = lan.interface
        self.history_store.history_days = lan.history_days
        self.accounting.track_clients = lan.track_clients
        self.accounting.track_destinations = lan.track_destinations
        parts = {
            "clients": lan.track_clients,
            "destinations": lan.track_destinations,
            "protocols": lan.track_protocols,
        }
        self.shown = frozenset(part for part, on in parts.items() if on)
        self.fallback.interface = lan.interface[0] if lan.interface else ""
        self._offload_at = float("-inf")

    async def run(self) -> None:
        """Ticks until cancelled; what is not written yet is written then."""
        due = self._monotonic()
        try:
            while True:
                self.table.expire()
                self.accounting.settle()
                if self._monotonic() >= due:
                    due = self._monotonic() + self._settings.aggregate_interval
                    self.tick()
                await asyncio.sleep(EXPIRE_S)
        finally:
            self.flush()

    # --- one tick

    def tick(self) -> None:
        """Brings everything up to date once, and publishes it."""
        now, mono = self._clock(), self._monotonic()
        self.accounting.settle()
        self._follow_clock(now, mono)
        self._learn(now)
        self._follow_agent(mono)
        self.interfaces.read(self.interface, mono)
        if mono - self._offload_at >= OFFLOAD_S:
            self._offload_at = mono
            self.offload = tuple(offload.problems(()))
        self.accounting.clients.expire(now, self._settings.client_retention)
        self.accounting.destinations.expire(now, self._settings.client_retention)
        if int(now) // 3600 != int(self._ticked_at) // 3600:
            self._write_history(self._ticked_at)  # what was counted in the hour that is over belongs to it
        if mono - self._flushed_at >= FLUSH_S:
            self.flush()
        self._announce(now)
        self._ticked_at = now
        for name, content in self.files():
            self._publish(name, content)

    def flush(self) -> None:
        """Writes what the history has not got yet."""
        self._flushed_at = self._monotonic()
        self._write_history(self._clock())
        self.history_store.remember(
            {
                client.mac: (client.first_seen_at, client.last_seen_at)
                for client in self.accounting.clients
                if client.announced
            }
        )

    def _write_history(self, at: float) -> None:
        pending = self.accounting.take_pending()
        if pending and not self.history_store.add(pending, at):
            self.accounting.give_back(pending)

    def _follow_clock(self, now: float, mono: float) -> None:
        """When the clock is set (NTP after the start), times move along: idle for a second is not idle for years."""
        jump = now - mono - self._offset
        self._offset = now - mono
        if abs(jump) > CLOCK_JUMP_S:
            for table in (self.accounting.clients, self.accounting.destinations, self.accounting.protocols):
                table.shift(jump)
            self._ticked_at = now

    def _learn(self, now: float) -> None:
        around = self.kernel.neighbourhood(self.interface)
        if around is not None:
            self.accounting.around = around
            self.accounting.clients.learn(around, now)
        self.names.refresh()
        for old, client in self.accounting.clients.take_renamed():
            self.accounting.rename_client(old, client.key)
            self.history_store.rename_client(old, client.key, client.first_seen_at)

    def _announce(self, now: float) -> None:
        fresh = [client for client in self.accounting.clients if client.mac and not client.announced]
        if not fresh:
            return
        new = self.history_store.remember({row.mac: (row.first_seen_at, row.last_seen_at) for row in fresh})
        if new is None:
            return
        for client in fresh:
            client.announced = True
            if client.mac in new and self.on_new_client is not None:
                self.on_new_client(client.row(self.hostname(client), now))

    # --- agent or conntrack

    @property
    def source(self) -> str:
        """Where the flows come from now: netifyd, ndpid, conntrack or none."""
        if self.fallback.active:
            return "conntrack"
        return self._agent_now() or "none"

    def _agent_now(self) -> str:
        if self.agent is not None:
            return self.agent()
        heard = self.accounting.counted_at and self._monotonic() - self.accounting.counted_at < HEARD_S
        return _KNOWN_AGENTS[0] if heard else ""

    def _follow_agent(self, mono: float) -> None:
        """Conntrack's flows while the agent is away, and the rates of clients."""
        agent = self._agent_now()
        if agent:
            self._agent_seen_at = mono
            if self.fallback.active:
                self.fallback.stop()
        stand_in = not agent and mono - self._agent_seen_at >= self._absence_s
        self.fallback.tick()
        if self._dump_cost_s > CHEAP_S and mono - self._dumped_at < self._dump_cost_s / DUMP_SHARE:
            return
        mono, cost = self._monotonic(), time.thread_time()
        table = self.kernel.connections() if self._settings.realtime or stand_in else None
        self._dumped_at = mono
        self._dump_cost_s = time.thread_time() - cost
        if table is not None and stand_in:
            if self.fallback.active:
                self.fallback.update(table)
            else:
                self.fallback.start(table, self.accounting.live_flows())
        if table is not None and self._settings.realtime and self.kernel.counts_bytes:
            self.rates.from_conntrack(table, self.accounting.clients, mono)
            return
        self.rates.forget_conntrack()
        if agent:
            self.rates.from_ticks(self.accounting, agent, mono)
        else:
            self.rates.clear(self.accounting.clients)

    # --- health

    def problems(self) -> list[Problem]:
        """What an owner should know about the LAN stream."""
        found = [
            *self.table.problems(),
            *self.kernel.problems(needed=self._settings.realtime or self.source in ("conntrack", "none")),
            *self.names.problems(),
            *self.history_store.problems(),
        ]
        if self.interfaces.missing:
            names = ", ".join(self.interfaces.missing)
            found.append(
                Problem(
                    "lan_interface_missing",
                    f"the LAN interface {names} does not exist; nothing can be seen there.",
                    "Set dpi-dual.lan.interface to the LAN bridge of this router.",
                )
            )
        if self.fallback.active:
            found.append(
                Problem(
                    "lan_fallback",
                    "no DPI agent is connected for the LAN: its figures come from conntrack, its protocols from ports.",
                    "Install and start netifyd, or check dpi-dual.lan.netifyd_socket.",
                    "info",
                )
            )
        if self.fallback.shared:
            found.append(
                Problem(
                    "lan_conntrack_emptied",
                    "another program empties the kernel's counters as it reads them (nlbwmon does so): as long as no"
                    " DPI agent is connected, the LAN's figures lack what came just before.",
                    "Install and start netifyd, or stop the other program.",
                )
            )
        return found

    def counters(self) -> dict[str, int]:
        """Drops and oddities."""
        return {
            **{f"lan_{name}": number for name, number in self.table.counters().items()},
            **self.accounting.counters(),
            **self.history_store.counters(),
            **self.kernel.counters(),
            "lan_fallback_skipped": self.fallback.skipped,
            "lan_fallback_emptied": self.fallback.emptied,
            "lan_names_rereads": self.names.rereads,
        }
