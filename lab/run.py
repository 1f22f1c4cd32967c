"""Builds the whole lab step by step, keeps it going, reports on it, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import crowdsec, origin, published, record, report, router, servers, traffic, visitors
from lab.network import LAN_INTERFACE, LabNetwork
from lab.router import TAP_INTERFACE, USER
from lab.supervisor import ControlSocket, Process, Supervisor
from lab.terminal import invite, step, steps
from lab.ubus import Ubus
from lab.waiting import PATIENCE_S

#: Seconds between two lines of figures, and between two full looks at every flow.
GLANCE_S = 5.0
LOOK_S = 60.0

#: How long the product may take to account for the last packets: one tick of the DPI agent and one aggregate.
SETTLE_S = 25.0

#: How long ended processes may take to be gone.
GRACE_S = 3.0

#: On a busy machine a packet gets lost: one attempt in so many may fail without being an error of the lab.
ONE_IN = 100

_ERRORS = (published.PublishedError, crowdsec.CrowdsecError)


class LabError(RuntimeError):
    """The lab cannot go on; the message says why."""


@dataclass(frozen=True)
class Options:
    """What the command line asked for; `listener` is bound in the caller's own network."""

    listener: socket.socket
    duration_s: float | None = None
    report: Path | None = None
    rate: float = 3.0
    checkpoint_s: int | None = None
    rootless: bool = False


class Lab:
    """One lab: `start()` builds it, `serve()` lets it run, `finish()` writes the report, `close()` removes it all."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._started_at = time.monotonic()
        self.directory = Path(tempfile.mkdtemp(prefix=record.PREFIX))
        self.run_number = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{options.listener.getsockname()[1]}"
        self.ubus = Ubus(self.directory / "ubus.sock")
        self.network = LabNetwork(self.directory)
        self.supervisor = Supervisor(self.say)
        self.control = ControlSocket(self.supervisor)
        self.figures = report.Figures(self.ubus)
        self.errors: list[str] = []
        self._namespaces: list[int] = []
        self._interface_bytes_before = 0
        self.environment = router.environment(self.directory, self.run_number)
        os.environ.update(self.environment)
        self._write_record()

    def say(self, message: str) -> None:
        """One line, with the time since the start."""
        print(f"{time.monotonic() - self._started_at:6.0f} s   {message}", flush=True)

    # --- starting

    def start(self) -> None:
        """Everything, with a line for each step; raises `LabError` or `OSError` with the reason if one fails."""
        self.control.bind(Path(self.environment["DPI_LAB_SUPERVISOR"]))
        self._build_network()
        with step("configuration, HAProxy's by dpi-dualctl haproxy apply"):
            router.configure(self.directory, self.network.lease_file, self._options.checkpoint_s)
            published.install(self.network)
            spared = next(ip for ip in visitors.attackers() if ":" not in ip)
            local_api = crowdsec.configure(self.network, self.environment["DPI_DUAL_CONFIG_DIR"], [spared])
        # They take their time: meanwhile the others start.
        self._supervise("mitmdump", lambda: published.start_mitmdump(self.directory, self._in_router))
        self._supervise("crowdsec", lambda: self._in_router("crowdsec", *local_api.command))
        with step("servers: web, TLS, DNS, SSH, telnet, mail, files, time"):
            self._supervise("servers", lambda: servers.start(self.network))
        with step("published services on the nas"):
            self._supervise("origin", lambda: origin.start(self.network))
        with step(f"DPI agent (nDPI) on {LAN_INTERFACE} and {TAP_INTERFACE}"):
            self._supervise("netifyd", lambda: router.start_netifyd(self.directory, self._in_router))
            self._wait_for("netifyd", Path(self.environment["DPI_DUAL_NETIFYD_SOCKET"]).exists)
        with step("gateway: ubus over HTTP and for lab/bin/ubus"):
            self._supervise("gateway", self._start_gateway)
            self._wait_for("gateway", lambda: _answers(self.ubus.statistics))
        with step("CrowdSec's local API, the router's login by dpi-dualctl crowdsec setup"):
            self._wait_for("crowdsec", lambda: crowdsec.serves(self.network, local_api))
            crowdsec.register(self.network, local_api)
        with step("engine: dpi-duald"):
            self._supervise("engine", lambda: router.start_engine(self._in_router))
            self._wait_for("engine", self._engine_runs)
        with step("HAProxy and mitmproxy with the addon"):
            self._wait_for("mitmdump", self._stream_runs)
            self._supervise("haproxy", lambda: published.start_haproxy(self.directory, self._in_router))
            self._wait_for("haproxy", lambda: published.inspects(self.environment["DPI_DUAL_RUN_DIR"]))
        with step(f"traffic of {', '.join(self.network.clients)}, visitors and attackers"):
            self._interface_bytes_before = self._interface_bytes()
            self.figures = report.Figures(self.ubus)
            for name in self.network.clients:
                self._supervise(f"traffic-{name}", self._traffic_of(name))
            self._supervise("visitors", lambda: visitors.start(self.network, rate=self._options.rate))
        self._write_record(ready=True)
        passwords = record.password(record.PASSWORD), record.password(record.VIEWER_PASSWORD)
        invite(self.url, *passwords, len(self.network.clients), self._options.duration_s, self.directory)

    def _build_network(self) -> None:
        steps("network", self.network.start_up())
        hosts = [
            self.network.router,
            self.network.internet,
            self.network.nas,
            *(c.host for c in self.network.clients.values()),
        ]
        # Held open, a namespace keeps its number: what still runs in it at the end can be told for certain.
        self._namespaces = [os.open(f"/proc/{host.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC) for host in hosts]

    def _supervise(self, name: str, start: Callable[[], Process]) -> None:
        service = self.supervisor.add(name, start)
        if not service.running:
            raise LabError(f"{name} did not start: {self._why(name)}")

    def _wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            if not self.supervisor.services[name].running:
                raise LabError(f"{name} ended at once: {self._why(name)}")
            if time.monotonic() > deadline:
                raise LabError(f"{name} was not ready within {PATIENCE_S:.0f} s: {self._why(name)}")
            time.sleep(0.02)

    def _why(self, name: str) -> str:
        """The last that a service said."""
        try:
            said = (self.directory / f"{name}.log").read_text(errors="replace").strip()
        except OSError:
            said = ""
        return said[-1500:] or "; ".join(list(self.supervisor.unexpected)[-2:]) or "it said nothing"

    def _in_router(self, name: str, *argv: str, **options: Any) -> Process:
        with (self.directory / f"{name}.log").open("ab") as log:
            # A session of its own: Ctrl-C at the terminal is for us alone, the services end in their order.
            return self.network.router.popen(
                *argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **options
            )

    def _start_gateway(self) -> Process:
        return router.start_gateway(self.directory, self._in_router, self._options.listener)

    def _traffic_of(self, name: str) -> Callable[[], Process]:
        return lambda: traffic.start(self.network, name, rate=self._options.rate)

    def _engine_runs(self) -> bool:
        return _answers(lambda: self.ubus.call("dpi.status", "status")["engine"] == "running")

    def _stream_runs(self) -> bool:
        return _answers(lambda: self.ubus.call("dpi.status", "status")["mitm_stream"]["running"])

    def _interface_bytes(self) -> int:
        return sum(counted.total_bytes for counted in self.network.client_bytes().values())

    def _write_record(self, ready: bool = False) -> None:
        password, viewer_password = record.password(record.PASSWORD), record.password(record.VIEWER_PASSWORD)
        enter = ["nsenter", *(["--user", "--preserve-credentials"] if self._options.rootless else [])]

        def inside(host: str) -> list[str]:
            return [*enter, f"--target={getattr(self.network, host).pid}", "--net", "--mount"] if ready else []

        record.write(
            {
                "pid": os.getpid(),
                "run": self.run_number,
                "ready": ready,
                "directory": str(self.directory),
                "url": self.url,
                "user": USER,
                "password": password,
                "viewer_password": viewer_password,
                "ubus_socket": self.environment["DPI_LAB_UBUS_SOCKET"],
                "supervisor_socket": self.environment["DPI_LAB_SUPERVISOR"],
                "environment": {name: value for name, value in self.environment.items() if name != "PATH"},
                "enter_router": inside("router"),
                "enter_internet": inside("internet"),
            }
        )

    # --- running

    async def serve(self) -> None:
        """Runs until SIGINT, SIGTERM, SIGHUP or the end of the duration."""
        stop = asyncio.Event()

        def end_soon() -> None:
            self.supervisor.ending = True
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, end_soon)
        await self.control.start()
        tick = asyncio.ensure_future(self.supervisor.run())
        show = asyncio.ensure_future(self._show())
        end = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((tick, show, end), timeout=self._options.duration_s, return_when=asyncio.FIRST_COMPLETED)
            for task in (tick, show):
                if task.done():
                    task.result()  # raises what ended it
        finally:
            for pending in (tick, show, end):
                pending.cancel()
            await asyncio.gather(tick, show, end, return_exceptions=True)
            self.control.close()

    async def _show(self) -> None:
        """A line of figures every few seconds."""
        looked_at = time.monotonic()
        while True:
            await asyncio.sleep(GLANCE_S)
            full = time.monotonic() - looked_at >= LOOK_S
            looked_at = time.monotonic() if full else looked_at
            try:
                await asyncio.to_thread(self.figures.look if full else self.figures.glance)
                print(self.figures.line(), flush=True)
            except report.ProductError as error:
                self.say(f"no figures: {error}")

    # --- ending

    def finish(self) -> None:
        """Stops the traffic and writes the report, once the product has accounted for the last packets."""
        if self._options.report is None:
            return
        generators = [*(f"traffic-{name}" for name in self.network.clients), "visitors"]
        for name in generators:
            self.supervisor.stop(name)
        self._wait_and_tick(lambda: not any(self.supervisor.services[name].running for name in generators))
        client_bytes = self._interface_bytes() - self._interface_bytes_before
        self.say("traffic stopped; waiting until the last packets are accounted for (Ctrl-C: not)")
        try:
            if not self.figures.settle(client_bytes, SETTLE_S, sleep=self._sleep_and_tick):
                self.say(f"{self.figures.lan_bytes} of {client_bytes} bytes accounted for; going on")
        except (KeyboardInterrupt, report.ProductError) as error:
            self.errors.append(f"the last packets may be missing: {error or 'interrupted'}")
        try:
            self.figures.look()
            statistics = self.ubus.statistics()
        except report.ProductError as error:
            raise LabError(f"no report: {error}") from error
        services = self.supervisor.services
        self.errors += self._traffic_errors()
        document = self.figures.report(
            statistics, services["engine"].restarts, client_bytes, [*self.supervisor.unexpected, *self.errors]
        )
        temporary = self._options.report.with_name(self._options.report.name + ".new")
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self._options.report)
        self.say(f"report written to {self._options.report}")

    def _traffic_errors(self) -> list[str]:
        """What clients and visitors could not do, in words."""
        reports = {f"traffic of {name}": traffic.read_report(self.directory, name) for name in self.network.clients}
        reports["visitors"] = visitors.read_report(self.directory)
        said = []
        for name, read in reports.items():
            if read["errors"]:
                last = read["errors"][-1]
                count = read["sums"].get("errors", len(read["errors"]))
                tried = max(read["sums"].get("done", 0), read["sums"].get("visits", 0))
                if count * ONE_IN <= max(tried, ONE_IN):
                    continue
                said.append(f"{name}: {count} failed, the last with {last['kind']}: {last['error']}")
        return said

    def _sleep_and_tick(self, seconds: float) -> None:
        self._wait_and_tick(lambda: False, seconds)

    def _wait_and_tick(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + patience_s
        while not condition() and time.monotonic() < deadline:
            self.supervisor.tick()
            time.sleep(0.02)

    def close(self) -> list[str]:
        """Ends everything and looks whether anything is left; returns what had to be forced, in words."""
        self.control.close()
        forced = [f"{name} had to be killed" for name in self.supervisor.stop_all()]
        self.network.close()
        deadline = time.monotonic() + GRACE_S
        while (left := self._left_over()) and time.monotonic() < deadline:
            time.sleep(0.02)
        forced += [f"process {pid} was left over: {record.command_of(pid)}" for pid in left]
        record.end(left)
        for descriptor in self._namespaces:
            os.close(descriptor)
        self._namespaces.clear()
        shutil.rmtree(self.directory, ignore_errors=True)
        record.remove()
        return forced

    def _left_over(self) -> list[int]:
        return sorted({*record.processes_of(self.run_number), *record.processes_in(self._namespaces)})


def run(options: Options) -> int:
    """A whole run, from the first namespace to the last; the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    code = 0
    lab = Lab(options)
    try:
        lab.start()
        asyncio.run(lab.serve())
        lab.finish()
    except KeyboardInterrupt:
        print("\ninterrupted", flush=True)
        code = 130
    except (LabError, OSError, subprocess.SubprocessError, report.ProductError, *_ERRORS) as error:
        notes = "; ".join(getattr(error, "__notes__", ()))
        print(f"\nlab: {error}{f' ({notes})' if notes else ''}", file=sys.stderr, flush=True)
        code = 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        forced = lab.close()
    for line in forced:
        print(f"lab: {line}", file=sys.stderr, flush=True)
    print("everything removed" if not forced else "everything removed, by force", flush=True)
    return code or (1 if forced else 0)


def _answers(call: Callable[[], Any]) -> bool:
    try:
        return bool(call())
    except report.ProductError:
        return False
