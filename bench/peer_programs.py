"""The peers: what each needs installed, how it is started in the lab's router, and how what it found is read."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from subprocess import Popen, TimeoutExpired
from typing import Any

from bench.peer_lab import PeerLab, PeerLabError, wait_for
from lab.network import LAN_INTERFACE, LAN_NETWORKS

#: Peer → what must be on PATH, and how to have it.
PROGRAMS: dict[str, tuple[tuple[str, ...], str]] = {
    "nlbwmon": (("nlbwmon", "nlbw"), "opkg install nlbwmon on OpenWrt; elsewhere built from its source"),
    "ntopng": (("ntopng", "redis-server"), "from packages.ntop.org or its source, and apt-get install redis-server"),
    "suricata": (("suricata",), "apt-get install suricata suricata-update, then suricata-update"),
    "crowdsec": (("crowdsec", "cscli"), "apt-get install crowdsec"),
}

#: Rules of tens of thousands of signatures take their time.
START_S = 300.0


def missing(name: str) -> str:
    """Why this peer cannot be measured here, and what to do about it; empty if it can."""
    programs, how = PROGRAMS[name]
    lacking = [program for program in programs if shutil.which(program) is None]
    return f"{' and '.join(lacking)}: not installed, {how}" if lacking else ""


class Peer(ABC):
    """One program, or two, in the router: `launch()` starts them, `stop()` ends them by their process ids."""

    name = ""

    def __init__(self, lab: PeerLab) -> None:
        self.lab = lab
        self.directory = lab.directory / self.name
        self.directory.mkdir()
        self.directory.chmod(0o777)  # who gives up being root still writes here
        self.processes: list[Popen[Any]] = []
        self._log = (self.directory / "said.log").open("ab")

    @abstractmethod
    def launch(self) -> None:
        """Returns once it can be used."""

    def start(self, *argv: str) -> Popen[Any]:
        """Its /run is its own: none of it can be taken for the machine's."""
        run = self.directory / "run"
        run.mkdir(exist_ok=True)
        own = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /run && exec "$@"', str(run)]
        process = self.lab.popen("router", [*own, *argv], stdout=self._log, stderr=self._log, cwd=self.directory)
        self.processes.append(process)
        return process

    def wait(self, what: str, condition: Any) -> float:
        """Until it is ready; raises PeerLabError with its last words if it ended instead."""

        def ready() -> bool:
            if any(process.poll() is not None for process in self.processes):
                said = (self.directory / "said.log").read_text(errors="replace")
                raise PeerLabError(f"{self.directory.name} ended: {said[-500:].strip()}")
            return bool(condition())

        return wait_for(what, ready, START_S)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def stop(self) -> None:
        """Asks each to end, the last started first; kills what does not."""
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()


# --- nlbwmon


class Nlbwmon(Peer):
    """As OpenWrt starts it: reads connection tracking every 30 s, and hears of connections that end."""

    name = "nlbwmon"

    def launch(self) -> None:
        networks = [word for network in (*LAN_NETWORKS, "fe80::/10") for word in ("-s", network)]
        self._protocols = self.directory / "protocols"
        self._protocols.write_text("6 80 HTTP\n6 443 HTTPS\n17 53 DNS\n6 22 SSH\n")
        self.start("nlbwmon", "-o", f"{self.directory}/db", "-p", str(self._protocols), *networks)
        self.wait("nlbwmon to answer", self._answers)

    def _answers(self) -> bool:
        try:
            self.client_bytes()
        except (PeerLabError, ValueError):
            return False
        return True

    def client_bytes(self) -> dict[str, int]:
        """By MAC address."""
        return nlbwmon_bytes(self._rows())

    def flows(self) -> int:
        """Connections so far."""
        return nlbwmon_flows(self._rows())

    def _rows(self) -> str:
        enter = ["nsenter", f"--target={self.pids[0]}", "--mount", "--"]
        return self.lab.run("router", [*enter, "nlbw", "-p", str(self._protocols), "-c", "json", "-g", "mac"])


ETHERNET_BYTES = 14


def nlbwmon_flows(said: str) -> int:
    answer = json.loads(said)
    return sum(int(values[answer["columns"].index("conns")]) for values in answer["data"])


def nlbwmon_bytes(said: str) -> dict[str, int]:
    """From its JSON: bytes as on the wire; what it counts is IP, so each packet's Ethernet header is added."""
    answer = json.loads(said)
    found = {}
    for values in answer["data"]:
        row = dict(zip(answer["columns"], values, strict=True))
        packets = row["rx_pkts"] + row["tx_pkts"]
        found[row["mac"]] = row["rx_bytes"] + row["tx_bytes"] + ETHERNET_BYTES * packets
    return found


# --- ntopng


class Ntopng(Peer):
    """Without a licence (the community edition) on the LAN's bridge, offline, with a Redis of its own."""

    PORT, REDIS_PORT = 3900, 6390

    name = "ntopng"

    def launch(self) -> None:
        self.start("redis-server", "--port", str(self.REDIS_PORT), "--bind", "127.0.0.1", "--save", "")
        networks = ",".join(LAN_NETWORKS)
        options = ["-i", LAN_INTERFACE, "-r", f"127.0.0.1:{self.REDIS_PORT}", "-w", f"127.0.0.1:{self.PORT}", "-W", "0"]
        options += ["-d", str(self.directory / "data"), "-m", networks, "-l", "1", "-n", "3", "-s"]
        (self.directory / "data").mkdir()
        self.start("ntopng", *options, "--offline")
        self.wait("ntopng to answer", lambda: self._get("interface/data.lua", "ifid=0") is not None)

    def client_bytes(self) -> dict[str, int]:
        return ntopng_bytes(self._get("host/active_list.lua", "ifid=0") or [])

    def flows(self) -> int:
        """Active ones."""
        return int((self._get("interface/data.lua", "ifid=0") or {}).get("num_flows", 0))

    def applications(self) -> set[str]:
        """Protocols and applications, as it names them."""
        query = "ifid=0&ndpistats_mode=sinceStartup&collapse_stats=false&max_values=500"
        return {str(row["label"]) for row in self._get("interface/l7/stats.lua", query) or []}

    def _get(self, what: str, query: str) -> Any:
        url = f"http://127.0.0.1:{self.PORT}/lua/rest/v2/get/{what}?{query}"
        try:
            return json.loads(self.lab.run("router", ["curl", "-s", "-m", "20", url]))["rsp"]
        except (PeerLabError, ValueError, KeyError):
            return None


def ntopng_bytes(hosts: list[dict[str, Any]]) -> dict[str, int]:
    """By MAC address, from its hosts: one for each address; those beyond the router have the router's MAC."""
    found: dict[str, int] = {}
    for row in hosts:
        host = row["host"]
        if host.get("localhost") and "mac" in host:
            mac = host["mac"]["address"].lower()
            found[mac] = found.get(mac, 0) + int(row["bytes"]["total"])
    return found
