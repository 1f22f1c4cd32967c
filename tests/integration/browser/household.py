"""An engine with a full house: many clients with hostile names, attackers, buffered requests, a real CrowdSec."""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpi_dual import config
from dpi_dual.mitm import policy as policies
from dpi_dual.mitm.seal import new_key
from lab.crowdsec import LocalApi, missing, running_crowdsec
from lab.engine import RunningEngine, running_engine
from tests.cli.agent import framed
from tests.mitm.feeder import Feeder, attack

#: What an attacker would like a page to take for more than text.
HOSTILE = (
    "<img src=x onerror=window.owned=1>",
    '"><svg onload=window.owned=2>',
    "\u202egnp.exe",
    "'-alert(1)-'",
    "=HYPERLINK(1)",
    "{{7*7}}%h%s",
)
LONG = "a" * 10_000
ATTACKER = "198.51.100.7"
SERVERS = (
    ("www.youtube.com", "HTTP/S", "netify.youtube"),
    ("www.netflix.com", "HTTP/S", "netify.netflix"),
    ("update.example.org", "HTTP/S", "Unknown"),
    ("time.example.net", "NTP", "Unknown"),
    ("mail.example.com", "IMAPS", "Unknown"),
)


def mac_of(number: int) -> str:
    """A client's MAC, one of a kind; some are random ones, as phones have them."""
    return f"{'02' if number % 5 else '00'}:11:22:33:{number >> 8:02x}:{number & 255:02x}"


def ip_of(number: int) -> str:
    """And its address."""
    return f"192.168.{1 + number // 250}.{2 + number % 250}"


class Agent:
    """netifyd 4.4's frames of `clients` clients; each `tick` counts some bytes more."""

    def __init__(self, path: Path, clients: int, flows_each: int = 2) -> None:
        self._clients, self._each = clients, flows_each
        self._grown = 0
        self._connected: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._connected.append(connection)
                connection.sendall(framed(self._beginning() + self._counts()))

    def _beginning(self) -> list[dict[str, Any]]:
        now = int(time.time() * 1000)
        messages: list[dict[str, Any]] = [
            {"type": "agent_hello", "agent_version": "4.4.7", "json_version": 1.9},
            {"type": "agent_status", "uptime": 30, "timestamp": now // 1000, "flow_count": 1, "update_interval": 15},
        ]
        return messages + [
            {"type": "flow", "interface": "lo", "internal": True, "established": False, "flow": self._flow(*pair, now)}
            for pair in self._pairs()
        ]

    def _pairs(self) -> list[tuple[int, int]]:
        return [(client, flow) for client in range(self._clients) for flow in range(self._each)]

    def _flow(self, client: int, number: int, now: int) -> dict[str, Any]:
        which = (client + number) % (len(SERVERS) + len(HOSTILE))
        name, protocol, application = (
            SERVERS[which] if which < len(SERVERS) else (HOSTILE[which - len(SERVERS)], "HTTP/S", "Unknown")
        )
        return {
            "digest": f"{client * self._each + number:040x}",
            "first_seen_at": now - 60_000,
            "last_seen_at": now,
            "ip_version": 4,
            "ip_protocol": 6,
            "local_ip": ip_of(client),
            "local_mac": mac_of(client),
            "local_port": 40_000 + number,
            "local_origin": True,
            "other_ip": f"198.51.100.{20 + which}",
            "other_mac": "02:00:5e:00:01:01",
            "other_port": 443,
            "other_type": "remote",
            "detected_protocol": 196,
            "detected_protocol_name": protocol,
            "detected_application": 124,
            "detected_application_name": application,
            "detection_guessed": False,
            "host_server_name": LONG + name if which == len(SERVERS) else name,
            "vlan_id": 0,
        }

    def _counts(self) -> list[dict[str, Any]]:
        now = int(time.time() * 1000)
        messages: list[dict[str, Any]] = []
        for client, flow in self._pairs():
            step = (client + 1) * 1000 * (flow + 1)
            total = (1 + self._grown) * step
            counted = {
                "digest": f"{client * self._each + flow:040x}",
                "last_seen_at": now,
                "local_bytes": step // 10,
                "other_bytes": step - step // 10,
                "total_bytes": total,
                "local_packets": 5,
                "other_packets": 9,
                "total_packets": 14,
            }
            messages.append(
                {"type": "flow_stats", "interface": "lo", "internal": True, "established": False, "flow": counted}
            )
        return messages

    def tick(self) -> None:
        """Every flow has grown by as much as it began with."""
        with self._lock:
            self._grown += 1
            for connection in self._connected:
                try:
                    connection.sendall(framed(self._counts()))
                except OSError:
                    continue  # that engine is gone

    def close(self) -> None:
        """No more; may be said twice."""
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connected:
            connection.close()
        self._thread.join()


@dataclass
class Household:
    """What runs."""

    engine: RunningEngine
    agent: Agent
    feeder: Feeder
    crowdsec: LocalApi | None

    def ask(self, obj: str, method: str, **params: Any) -> dict[str, Any]:
        """An answer of the engine that is no failure."""
        answer = self.engine.call(obj, method, **params)
        assert "error" not in answer, answer
        return answer

    def threats(self, number: int, **more: Any) -> None:
        """So many records, each about an address of its own."""
        for n in range(number):
            given = {
                "ip": f"203.0.{113 + n // 250}.{1 + n % 250}",
                "event_type": ("scanner", "brute_force", "dpi_threat", "waf_alert")[n % 4],
                "reason": f"seen {n}: {HOSTILE[n % len(HOSTILE)]}",
                "score": (17 * n) % 101,
            }
            self.ask("dpi.correlator", "correlate", **{**given, **more})

    def attacks(self, number: int, first: int = 1, **values: Any) -> None:
        """Requests with SQL in them, buffered and alarmed about."""
        records = [attack(first + n, **values) for n in range(number)]
        self.feeder.send(*records)
        for n in range(number):
            self.feeder.respond(first + n, 200)


@contextmanager
def household(clients: int = 20, crowdsec: bool = True) -> Iterator[Household]:
    """All of it until the block ends; without CrowdSec where that is not installed."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dpi-household-")))
        lapi = stack.enter_context(running_crowdsec()) if crowdsec and not missing() else None
        uci = (
            f"config lan 'lan'\n\toption interface 'lo'\n\toption netifyd_socket '{place}/agent.sock'\n"
            f"config mitm 'mitm'\n\toption buffer_dir '{place}/buffer'\n\toption waf_engine 'builtin'\n"
        )
        if lapi is not None:
            uci += f"config crowdsec 'crowdsec'\n\toption url '{lapi.url}'\n\toption machine_id 'pages'\n"
        agent = Agent(place / "agent.sock", clients)
        stack.callback(agent.close)
        (place / "buffer").mkdir()
        with running_engine(uci) as engine:
            configs = engine.directory / "config"
            (configs / "dhcp").write_text(
                "".join(
                    f"config host\n\toption mac '{mac_of(n)}'\n\toption name '{_uci(_name(n))}'\n"
                    for n in range(clients)
                )
            )
            if lapi is not None:
                lapi.add_machine("pages", "secret-of-pages")
                secrets = configs / "dpi-dual-secrets"
                secrets.write_text(
                    "config crowdsec 'crowdsec'\n\toption password 'secret-of-pages'\n"
                    f"\toption bouncer_key '{lapi.add_bouncer('pages')}'\n"
                )
                secrets.chmod(0o600)
            engine.process.send_signal(signal.SIGHUP)
            settings = config.load(str(configs))
            feeder = Feeder(place / "buffer", policies.of_settings(settings), new_key())
            try:
                yield Household(engine, agent, feeder, lapi)
            finally:
                feeder.close()


def _name(number: int) -> str:
    return HOSTILE[number] if number < len(HOSTILE) else f"device-{number}"


def _uci(text: str) -> str:
    return text.replace("'", "'\\''")
