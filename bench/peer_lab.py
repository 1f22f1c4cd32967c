"""A lab that runs beside a measurement: its services, what its interfaces counted, what its processes took."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpi_dual import uci
from lab import record
from lab.network import CLIENT_MACS, LAN_INTERFACE
from lab.supervisor import order

ROOT = Path(__file__).resolve().parent.parent
START_S, END_S = 300.0, 90.0

#: What each of our processes does, by the supervisor's name.
ENGINE, AGENT, PROXY = "engine", "netifyd", "mitmdump"


class PeerLabError(RuntimeError):
    """The lab, or a program in it, did not do what it was told; the message says what it said."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of some processes and their children."""

    rss_bytes: int
    cpu_s: float


def family(pids: Iterable[int]) -> list[int]:
    """These processes and all their descendants."""
    found = []
    for pid in pids:
        try:
            children = [child for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task)]
        except OSError:
            continue  # it has ended
        found += [pid, *family(children)]
    return found


def _children(task: Path) -> list[int]:
    return [int(child) for child in (task / "children").read_text().split()]


def usage(pids: Iterable[int]) -> Usage:
    """Resident memory now, processor time since they started."""
    resident = ticks = 0
    for pid in family(pids):
        try:
            resident += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            # utime and stime; the first field after the command's name is the third (proc(5)).
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        except OSError:
            continue
    return Usage(resident * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK"))


@dataclass(frozen=True, slots=True)
class Spent:
    """Of one program, over the time of a measurement."""

    rss_mib: float
    cpu_percent: float


def spent(before: Usage, after: Usage, seconds: float) -> Spent:
    return Spent(after.rss_bytes / 2**20, 100 * (after.cpu_s - before.cpu_s) / seconds)


class Meter:
    """Processor time and memory of several sets of processes, from now until `read()`."""

    def __init__(self, **sets: list[int]) -> None:
        self._sets = sets
        self._began = time.monotonic()
        self._before = {name: usage(pids) for name, pids in sets.items()}

    def read(self) -> dict[str, Spent]:
        seconds = time.monotonic() - self._began
        return {name: spent(self._before[name], usage(pids), seconds) for name, pids in self._sets.items()}


@dataclass
class PeerLab:
    """The running lab."""

    process: subprocess.Popen[bytes]
    directory: Path
    record: dict[str, Any]

    @property
    def files(self) -> Path:
        """Where the lab keeps its files."""
        return Path(self.record["directory"])

    def call(self, obj: str, method: str, **params: Any) -> dict[str, Any]:
        """Asks the engine itself."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(self.record["environment"]["DPI_DUAL_RUN_DIR"] + "/engine.sock")
            sock.sendall(json.dumps([obj, method, params]).encode() + b"\n")
            with sock.makefile("rb") as file:
                answer: dict[str, Any] = json.loads(file.readline())
        if "error" in answer:
            raise PeerLabError(f"{obj} {method}: {answer['error']}")
        return answer

    def rows(self, obj: str, method: str, key: str, **params: Any) -> list[dict[str, Any]]:
        """All rows of a list, page by page."""
        found: list[dict[str, Any]] = []
        before: dict[str, str] = {}
        while True:
            answer = self.call(obj, method, limit=500, **params, **before)
            found += answer[key]
            if not answer.get("next") or not answer[key]:
                return found
            before = {"before": answer["next"]}

    def pids(self, *names: str) -> list[int]:
        services = order(self.record["supervisor_socket"], action="list")["services"]
        return [services[name]["pid"] for name in names if services[name]["pid"]]

    def traffic(self, action: str) -> None:
        """Starts or stops what the LAN's clients do."""
        for name in CLIENT_MACS:
            order(self.record["supervisor_socket"], service=f"traffic-{name}", action=action)

    def silence(self) -> None:
        """No traffic at all, from now on."""
        self.traffic("stop")
        order(self.record["supervisor_socket"], service="visitors", action="stop")

    def watch_only(self) -> None:
        """Nothing is refused from now on: what a refusal looks like shall not tell anybody of an attack."""
        uci.set_options("dpi-dual", "mitm", {"block_threats": "0"}, self.record["environment"]["DPI_DUAL_CONFIG_DIR"])
        order(self.record["supervisor_socket"], service=ENGINE, action="reload")
        wait_for("blocking to end", lambda: not self.call("dpi.status", "status")["mitm_stream"]["blocking"], 60)

    def popen(self, where: str, argv: list[str], **options: Any) -> subprocess.Popen[Any]:
        """Starts a program in the router or the internet; it ends when this process does."""
        command = [*self.record[f"enter_{where}"], "--", "setpriv", "--pdeathsig", "KILL", *argv]
        return subprocess.Popen(command, **{"stdin": subprocess.DEVNULL, **options})

    def run(self, where: str, argv: list[str], timeout_s: float = 60) -> str:
        """What a program said."""
        command = [*self.record[f"enter_{where}"], "--", *argv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode:
            raise PeerLabError(f"{' '.join(argv[:4])}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def port_bytes(self) -> dict[str, int]:
        """By MAC address: the frames that the router's port to that client has carried, both ways."""
        links = json.loads(self.run("router", ["ip", "-j", "-s", "link", "show", "master", LAN_INTERFACE]))
        # The ports are numbered as the clients are listed.
        ports = {link["ifname"]: sum(link["stats64"][way]["bytes"] for way in ("rx", "tx")) for link in links}
        return {mac: ports[f"lan{number}"] for number, mac in enumerate(CLIENT_MACS.values(), 1)}

    def own_bytes(self) -> dict[str, int]:
        """By MAC address: what we have counted."""
        return {row["mac"]: int(row["bytes"]) for row in self.rows("dpi.lan", "clients", "clients")}

    def newest_flow(self) -> float:
        """When the newest flow of the LAN that we know of began."""
        rows = self.call("dpi.lan", "flows", limit=1)["flows"]
        return float(rows[0]["first_seen_at"]) if rows else 0.0


@contextmanager
def running_lab() -> Iterator[PeerLab]:
    """A lab of its own, silent, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="dpi-peers-") as name:
        directory = Path(name)
        # Programs that give up being root must still reach their own files.
        directory.chmod(0o711)
        log = directory / "lab.log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "lab", "run", "--port", "0"],
                cwd=ROOT,
                env={**os.environ, "DPI_LAB_DIRECTORY": name},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        try:
            wait_for("the lab to start", lambda: process.poll() is not None or _ready(directory), START_S)
            if process.poll() is not None:
                raise PeerLabError("the lab did not start: " + log.read_text(errors="replace")[-800:].strip())
            running = PeerLab(process, directory, record.read(directory / "lab.json"))
            running.silence()
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(END_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _ready(directory: Path) -> bool:
    return bool(record.read(directory / "lab.json").get("ready"))


def wait_for(what: str, condition: Callable[[], Any], patience_s: float, pause_s: float = 0.2) -> float:
    """How long it took; raises PeerLabError when it never came."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience_s:
            raise PeerLabError(f"waited {patience_s:g} s in vain for {what}")
        time.sleep(pause_s)
    return time.monotonic() - began


def quiet(figure: Callable[[], object], still_s: float, patience_s: float) -> None:
    """Waits until a figure has not moved for a while, or patience ends."""
    began = changed = time.monotonic()
    last = figure()
    while (now := time.monotonic()) - changed < still_s and now - began < patience_s:
        time.sleep(1)
        if (fresh := figure()) != last:
            last, changed = fresh, time.monotonic()
