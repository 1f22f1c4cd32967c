"""The engine: builds the parts that UCI asks for, keeps them running, reloads without losing what they know."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from dpi_dual import config, paths
from dpi_dual.capture.agent import AgentClient
from dpi_dual.capture.flow_log import FlowLog
from dpi_dual.capture.flows import FlowTable
from dpi_dual.capture.mirror_watch import Mirror
from dpi_dual.capture.ndpid import is_private
from dpi_dual.capture.tap import TapStream
from dpi_dual.correlation.correlator import Correlator
from dpi_dual.correlation.crowdsec import CrowdSec, Decision
from dpi_dual.engine.series import Series
from dpi_dual.engine.snapshots import Snapshots
from dpi_dual.engine.state import State
from dpi_dual.engine.supervisor import Supervisor
from dpi_dual.lan.stream import LanStream
from dpi_dual.mitm.haproxy_state import HaproxyWatch
from dpi_dual.mitm.link import MitmLink
from dpi_dual.model import Problem

if TYPE_CHECKING:
    from dpi_dual.export.exports import Exports

log = logging.getLogger(__name__)

#: How often the agents' sockets are looked for anew: a second netifyd instance may appear at any time.
AGENT_CHECK_S = 10.0


class AlreadyRunning(RuntimeError):  # noqa: N818 - it says what is the case
    """Another engine holds the lock; `str()` names its process."""


def _take_lock(run_dir: str) -> TextIO:
    """One engine a run directory: the returned file holds the lock until it is closed."""
    Path(run_dir).mkdir(0o750, parents=True, exist_ok=True)
    lock = Path(run_dir, "engine.lock").open("a+", encoding="ascii")  # noqa: SIM115 - held while we run
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        pid = lock.read(20).strip()
        lock.close()
        raise AlreadyRunning(f"an engine runs already (process {pid}); stop it first: dpi-dualctl stop") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def agent_sockets(settings: config.Settings, streams: frozenset[str]) -> dict[str, str]:
    """Agent name → socket for the passive streams (`tap`, `lan`) that run.

    A configured socket wins; else `netifyd-<instance>.sock` beside netifyd's own, if it is there; else netifyd's own,
    which then serves every stream that has none of its own, told apart by interface.
    """
    found: dict[str, str] = {}
    shared = paths.NETIFYD_SOCKET
    for stream in sorted(streams & {"tap", "lan"}):
        section = settings.tap if stream == "tap" else settings.lan
        own = Path(shared).with_name(f"netifyd-{section.netifyd_instance}.sock")
        socket = section.netifyd_socket or (str(own) if own.exists() else shared)
        if socket in found.values():
            name = next(name for name, path in found.items() if path == socket)
            found["netifyd"] = found.pop(name)
        else:
            found["netifyd" if socket == shared else stream] = socket
    return found


class Engine:
    """Owns what outlives a reload (tables, state, reputation) and the supervised parts that work on it."""

    def __init__(self, config_dir: str = paths.CONFIG_DIR, only: frozenset[str] = frozenset()) -> None:
        """`only` narrows the parts to those named (`tap`, `lan`); raises AlreadyRunning."""
        self.config_dir = config_dir
        self._only = only
        self._lock = _take_lock(paths.RUN_DIR)
        self.settings = config.load(config_dir)
        self.started_at = time.time()
        own = self.settings.settings
        self.state = State(own.stats_dir, own.state_dir, own.checkpoint_interval)
        self.snapshots = Snapshots(own.stats_dir)
        self.flow_log = FlowLog(own.flow_dir, self.settings.tap.flow_retention)
        self.tap = TapStream(self.settings.tap, self.snapshots.write, self.flow_log)
        self.lan = LanStream(self.settings, self.state.db, self.snapshots.write, config_dir=config_dir)
        self.lan.agent = self._lan_agent
        self.correlator = Correlator(self.settings, self.state.db, self.tap.table, self.lan)
        self.mitm = MitmLink(self.settings, self.state.db, self.snapshots.write, self._on_alert)
        self.crowdsec = CrowdSec(
            self.settings.crowdsec,
            self.settings.secrets.crowdsec,
            self.state.db,
            on_decision=self._on_decision,
            on_delivered=self.correlator.on_delivered,
        )
        self.correlator.connect(self.mitm, self.crowdsec, lambda: "lan" in self.supervisor)
        self.series = Series(self.state.db, self._series_figures)
        self.mirror: Mirror | None = None
        self.haproxy: HaproxyWatch | None = None
        self.exports: Exports | None = None
        self.agents: dict[str, AgentClient] = {}
        self.supervisor: Supervisor
        self._wanted: dict[str, object] = {}
        self._watched: tuple[str, tuple[str, ...]] | None = None
        self._extra: list[tuple[str, Callable[[], Awaitable[None]], Any]] = []
        self._reload = asyncio.Event()
        self._stop = asyncio.Event()

    # --- clock and figures that answers need

    def now(self) -> float:
        return time.time()

    def timestamp(self) -> str:
        return datetime.now(UTC).isoformat(timespec="seconds")

    def rss_bytes(self) -> int:
        """Resident memory of this process, from the kernel."""
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _series_figures(self) -> tuple[int, ...]:
        return (
            self.tap.table.counted_bytes,
            self.tap.table.started,
            self.lan.accounting.totals.bytes,
            *self.mitm.totals(),
        )

    def route(self, interface: str) -> FlowTable | None:
        """The table that takes an agent's messages about `interface`; None if nobody watches it.

        Messages that name no interface can only be told apart when one stream runs.
        """
        if not interface and ("tap" in self.supervisor) != ("lan" in self.supervisor):
            return self.tap.table if "tap" in self.supervisor else self.lan.table
        if "tap" in self.supervisor and interface == self.settings.tap.interface:
            return self.tap.table
        if "lan" in self.supervisor and interface in self.settings.lan.interface:
            return self.lan.table
        return None

    def _lan_agent(self) -> str:
        """The kind of the agent that is connected for the LAN now, empty if none is."""
        agent = self.agents.get("lan") or self.agents.get("netifyd")
        return agent.kind if agent is not None and agent.connected else ""

    def _is_local(self, ip: str) -> bool:
        """Which end of a flow is ours, for agents that do not say: the LAN's addresses and the router's own."""
        around = self.lan.accounting.around
        return around.is_inside(ip) or ip in around.router_ips or is_private(ip)

    def _on_alert(self, alert: dict[str, Any]) -> None:
        self.correlator.on_alert(alert)
        if self.exports is not None:
            self.exports.on_alert(alert)

    def _on_decision(self, change: str, decision: Decision) -> None:
        """CrowdSec decided: the correlator hears of it, and what the address asked for before is looked at again."""
        self.correlator.on_decision(change, decision)
        if change == "new" and decision.type == "ban" and "/" not in decision.value:
            self.mitm.look_back(decision.value)

    # --- health

    def _reporters(self) -> list[Any]:
        parts = [self.state, self.snapshots, self.series, self.flow_log, self.tap, self.lan, self.mitm]
        return [
            *parts,
            *self.agents.values(),
            *(part for part in (self.mirror, self.haproxy, self.exports) if part is not None),
            *((self.correlator, self.crowdsec) if "correlation" in self.supervisor else ()),
            *(extra[2] for extra in self._extra),
        ]

    def problems(self) -> list[Problem]:
        """All that an owner should know, the worst first."""
        found = [*self.settings.problems, *self.supervisor.problems()]
        if self.settings.export.mqtt and not self.settings.export.mqtt_host:
            found.append(
                Problem("mqtt_no_host", "Nothing goes out over MQTT: no broker is named.", "Set export.mqtt_host.")
            )
        for part in self._reporters():
            if hasattr(part, "problems"):
                found += part.problems()
        order = ("error", "warning", "info")
        return sorted(found, key=lambda problem: order.index(problem.severity))

    def counters(self) -> dict[str, int]:
        """Every drop and oddity counter; counters of one name are added up."""
        total: Counter[str] = Counter()
        for part in self._reporters():
            if hasattr(part, "counters"):
                total.update(part.counters())
        return dict(total)

    async def mirror_status(self) -> dict[str, Any]:
        """The mirror as the kernel has it, also while the TAP stream is off."""
        mirror = self.mirror or Mirror(self.settings.tap)
        return dict(await mirror.status())

    # --- life

    def attach(self, name: str, run: Callable[[], Awaitable[None]], reporter: Any) -> None:
        """Adds a part that runs in every configuration (the control socket), before `run()`."""
        self._extra.append((name, run, reporter))

    def request_reload(self) -> None:
        self._reload.set()

    def request_stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Runs until SIGTERM or SIGINT; SIGHUP reloads. Removes what it made and saves the state at the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop)
        loop.add_signal_handler(signal.SIGHUP, self.request_reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])  # blocked while we start, see sbin/dpi-duald
        try:
            async with asyncio.TaskGroup() as group:
                self.supervisor = Supervisor(group)
                for name, run, _ in self._extra:
                    self.supervisor.start(name, run)
                await self._apply()
                log.info("engine runs: %s", ", ".join(part.name for part in self.supervisor))
                await self._serve()
                await self.supervisor.stop_all()
        finally:
            self.lan.flush()
            self.state.close()
            self._lock.close()
            log.info("engine stopped")

    async def _serve(self) -> None:
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            while not stop.done():
                reload = asyncio.ensure_future(self._reload.wait())
                await asyncio.wait([stop, reload], timeout=AGENT_CHECK_S, return_when=asyncio.FIRST_COMPLETED)
                reload.cancel()
                if stop.done():
                    return
                if self._reload.is_set():
                    self._reload.clear()
                    self._load_settings()
                await self._apply()
        finally:
            stop.cancel()

    def _load_settings(self) -> None:
        self.settings = config.load(self.config_dir)
        own = self.settings.settings
        self.state.reconfigure(own.stats_dir, own.state_dir, own.checkpoint_interval)
        self.flow_log.reconfigure(own.flow_dir, self.settings.tap.flow_retention)
        self.snapshots.reconfigure(own.stats_dir)
        self.tap.reconfigure(self.settings.tap)
        self.lan.reconfigure(self.settings)
        self.mitm.reconfigure(self.settings)
        self.correlator.reconfigure(self.settings)
        self.crowdsec.reconfigure(self.settings.crowdsec, self.settings.secrets.crowdsec)
        log.info("settings loaded anew; %d problems in them", len(self.settings.problems))

    async def _apply(self) -> None:
        """Starts, stops and restarts parts until they are what the settings ask for."""
        parts = self.settings.parts() & (self._only or {"mitm", "tap", "lan", "correlation"})
        # Part → what it depends on: a part whose dependency changed is started anew, the others are left alone.
        own = self.settings.settings
        wanted: dict[str, object] = {"state": (own.checkpoint_interval, own.state_dir), "series": None}
        if "tap" in parts:
            tap = self.settings.tap
            wanted["mirror"] = (tap.interface, tap.mirror_source, tap.mirror_mode)
            wanted["tap"] = None
            wanted["flow_log"] = None
        if "lan" in parts:
            wanted["lan"] = self.settings.lan.aggregate_interval
        if "mitm" in parts:
            wanted["mitm"] = None
            if self.settings.haproxy.enabled:
                wanted["haproxy"] = None
        if "correlation" in parts:
            wanted |= {"correlation": None, "crowdsec": None}
        export, secret = self.settings.export, self.settings.secrets.export
        if parts and (export.eve or export.textfile or export.influx_url or (export.mqtt and export.mqtt_host)):
            wanted["export"] = (export, secret, own.stats_dir)
        sockets = agent_sockets(self.settings, frozenset(parts))
        wanted |= {f"agent {name}": socket for name, socket in sockets.items()}
        for name in [name for name, key in self._wanted.items() if name not in wanted or wanted[name] != key]:
            await self.supervisor.stop(name)
            self._forget(name)
        started = [name for name in wanted if name not in self.supervisor]
        for name in started:
            self.supervisor.start(name, self._runner(name, sockets))
        # An interface may have a table now, or none any more.
        watched = (self.settings.tap.interface, self.settings.lan.interface)
        if started or self._wanted != wanted or self._watched != watched:
            for agent in self.agents.values():
                agent.reroute()
        self._wanted, self._watched = wanted, watched

    def _forget(self, name: str) -> None:
        if name == "mirror":
            self.mirror = None
        elif name == "haproxy":
            self.haproxy = None
        elif name == "export":
            self.exports = None
        elif name.startswith("agent "):
            agent = name.removeprefix("agent ")
            self.agents.pop(agent, None)
            for table in (self.tap.table, self.lan.table):
                table.end_agent(agent, "agent-restart")  # whoever speaks next does not know its flows

    def _runner(self, name: str, sockets: dict[str, str]) -> Callable[[], Awaitable[None]]:
        if name.startswith("agent "):
            agent = AgentClient(
                name.removeprefix("agent "), sockets[name.removeprefix("agent ")], self.route, self._is_local
            )
            self.agents[agent.name] = agent
            return agent.run
        if name == "mirror":
            mirror = self.mirror = Mirror(self.settings.tap)
            return mirror.run
        if name == "haproxy":
            haproxy = self.haproxy = HaproxyWatch()
            return haproxy.run
        if name == "export":
            # Imported here: it is off on most routers, and the engine has little room.
            from dpi_dual.export.exports import Exports

            exports = self.exports = Exports(self, self.settings.export, self.settings.secrets.export)
            return exports.run
        fixed: dict[str, Callable[[], Awaitable[None]]] = {
            "state": self.state.run,
            "series": self.series.run,
            "tap": self.tap.run,
            "flow_log": self.flow_log.run,
            "lan": self.lan.run,
            "mitm": self.mitm.run,
            "correlation": self.correlator.run,
            "crowdsec": self.crowdsec.run,
        }
        return fixed[name]
