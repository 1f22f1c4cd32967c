"""Keeps the lab's services running as procd would on a router, and takes orders such as `restart` over a socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Process = subprocess.Popen[Any]

#: A service that dies is started again after this long; one that dies soon after its start waits longer each time.
RESPAWN_S = (1.0, 2.0, 5.0)
SOON_S = 10.0

#: procd's `term_timeout`: how long a service may take to end before it is killed.
TERM_TIMEOUT_S = 5.0

TICK_S = 0.1


@dataclass
class Service:
    """One long-running program; `start` starts it and returns its process."""

    name: str
    start: Callable[[], Process]
    process: Process | None = None
    wanted: bool = False
    restarts: int = 0
    """How often it was started again after it had ended without being told to."""
    early_deaths: int = 0
    started_at: float = 0.0
    respawn_at: float | None = None
    kill_at: float | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def as_dict(self) -> dict[str, Any]:
        pid = self.process.pid if self.process is not None and self.running else None
        return {"running": self.running, "pid": pid, "restarts": self.restarts}


@dataclass
class Supervisor:
    """All services of the lab. `tick()` is to be called all the time, from the thread that starts them."""

    tell: Callable[[str], None]
    """Where to say what happened."""
    clock: Callable[[], float] = time.monotonic
    services: dict[str, Service] = field(default_factory=dict)
    ending: bool = False
    """Set when all is about to end: a service that ends decently by itself then needs no new start and no words."""
    unexpected: deque[str] = field(default_factory=lambda: deque(maxlen=100))
    """Every end that nobody had asked for, in words."""

    def add(self, name: str, start: Callable[[], Process]) -> Service:
        """Adds a service and starts it."""
        service = self.services[name] = Service(name, start)
        self.start(name)
        return service

    def start(self, name: str) -> None:
        """As `/etc/init.d/X start`: nothing happens when it runs, or ends only to be started again."""
        service = self.services[name]
        service.wanted = True
        if service.kill_at is not None:
            return  # still ending; tick() starts it afterwards
        if not service.running:
            self._launch(service)

    def stop(self, name: str) -> None:
        """Asks it to end; `tick()` kills it when it does not. It stays stopped."""
        service = self.services[name]
        service.wanted = False
        service.respawn_at = None
        if service.running and service.kill_at is None:
            assert service.process is not None
            service.process.send_signal(signal.SIGTERM)
            service.kill_at = self.clock() + TERM_TIMEOUT_S

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def reload(self, name: str) -> None:
        """SIGHUP, or a start when it does not run."""
        service = self.services[name]
        if service.running and service.process is not None:
            service.process.send_signal(signal.SIGHUP)
        else:
            self.start(name)

    def stop_all(self, patience_s: float = TERM_TIMEOUT_S + 2) -> list[str]:
        """Ends all services, the last one added first; returns the names of those that had to be killed."""
        killed = []
        for name in reversed(self.services):
            service = self.services[name]
            self.stop(name)
            deadline = self.clock() + patience_s
            while service.running and self.clock() < deadline:
                if service.kill_at is not None and self.clock() >= service.kill_at:
                    killed.append(name)
                self._tick_one(service)
                time.sleep(0.01)
        return list(dict.fromkeys(killed))

    def tick(self) -> None:
        """Looks after every service once."""
        for service in self.services.values():
            self._tick_one(service)

    def _tick_one(self, service: Service) -> None:
        now = self.clock()
        if service.running:
            if service.kill_at is not None and now >= service.kill_at:
                assert service.process is not None
                self.tell(f"{service.name} does not end; killing it")
                service.process.kill()
                service.process.wait()
            return
        if service.kill_at is not None:  # it ended because it was told to
            service.kill_at = None
            service.process = None
            if service.wanted:
                self._launch(service)
        elif service.process is not None and service.wanted:
            self._died(service, now)
        elif service.respawn_at is not None and now >= service.respawn_at:
            service.restarts += 1
            self._launch(service)

    def _died(self, service: Service, now: float) -> None:
        assert service.process is not None
        code = service.process.returncode
        service.process = None
        if self.ending and code in (0, -signal.SIGINT, -signal.SIGTERM):
            service.wanted = False  # Ctrl-C at a terminal goes to the whole process group
            return
        service.early_deaths = service.early_deaths + 1 if now - service.started_at < SOON_S else 0
        delay_s = RESPAWN_S[min(service.early_deaths, len(RESPAWN_S) - 1)]
        service.respawn_at = now + delay_s
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        self.unexpected.append(f"{service.name} {how}")
        self.tell(f"{service.name} {how}; starting it again in {delay_s:g} s")

    def _launch(self, service: Service) -> None:
        service.respawn_at = None
        service.started_at = self.clock()
        try:
            service.process = service.start()
        except (OSError, subprocess.SubprocessError) as error:
            service.process = None
            service.respawn_at = service.started_at + RESPAWN_S[-1]
            self.unexpected.append(f"{service.name} could not be started: {error}")
            self.tell(f"{service.name} could not be started: {error}; trying again in {RESPAWN_S[-1]:g} s")

    async def run(self) -> None:
        """Ticks until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)


class ControlSocket:
    """Takes orders, as `/etc/init.d/dpi-dual` does on a router: one JSON line in, one out.

    `{"service": "engine", "action": "start|stop|restart|reload|running"}` or `{"action": "list"}`.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server: asyncio.Server | None = None

    def bind(self, path: Path) -> None:
        """From now on orders may come; they are answered once `start()` has run."""
        self._listener.bind(str(path))
        os.chmod(path, 0o600)
        self._listener.listen()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._connected, sock=self._listener, limit=65536)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._listener.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                answer = self._obey(json.loads(await reader.readline()))
        except (ValueError, TypeError, AttributeError) as error:
            answer = {"error": f"not understood: {error}"}
        except (TimeoutError, ConnectionError):
            answer = {"error": "no request came"}
        try:
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            pass  # it did not wait for the answer
        writer.close()

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        action = order.get("action")
        if action == "list":
            return {"services": {name: service.as_dict() for name, service in self._supervisor.services.items()}}
        service = self._supervisor.services.get(str(order.get("service")))
        if service is None:
            return {"error": f"there is no service {order.get('service')!r}"}
        actions = {name: getattr(self._supervisor, name) for name in ("start", "stop", "restart", "reload")}
        if action in actions:
            actions[action](service.name)
        elif action != "running":
            return {"error": f"there is no action {action!r}; there are {', '.join(actions)} and running"}
        return service.as_dict()


def order(path: str, **request: Any) -> dict[str, Any]:
    """Sends one order to a supervisor's socket and returns its answer; raises `OSError` when nobody listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as answer:
            said: dict[str, Any] = json.loads(answer.readline() or b"{}")
    return said
