"""What may go wrong around the suite, each caused for real and undone again.

`FAULTS` is the list. A fault is one function of an `IsolatedLab`: up to its `yield` it causes the trouble, after it
the trouble is taken away, as an owner or time would. `recovered` says what must hold some time later.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.isolated import IsolatedLab, IsolatedLabError
from lab.network import WAN_INTERFACE
from lab.origin import SHOP
from lab.record import ROOT
from lab.waiting import STARTING, eventually, seconds_until

#: How long a fault lasts that does not end by itself.
LASTS_S = 6.0

Cause = Callable[[IsolatedLab, random.Random], Iterator[None]]


def kill(service: str) -> Cause:
    """SIGKILL: nothing is closed, nothing said."""

    def cause(lab: IsolatedLab, _: random.Random) -> Iterator[None]:
        eventually(f"{service} runs", lambda: lab.pid(service))
        before = lab.pid(service)
        os.kill(before, signal.SIGKILL)
        yield
        eventually(f"another {service}", lambda: lab.pid(service) not in (0, before))

    return cause


def silence(service: str) -> Cause:
    """It hangs: its sockets stay open, and nothing comes."""

    def cause(lab: IsolatedLab, _: random.Random) -> Iterator[None]:
        pid = lab.pid(service)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    return cause


def local_api_stopped(lab: IsolatedLab, _: random.Random) -> Iterator[None]:
    """CrowdSec's local API is away, as while it is upgraded."""
    lab.order("crowdsec", "stop")
    try:
        yield
    finally:
        lab.order("crowdsec", "start")


def disk_full(lab: IsolatedLab, _: random.Random) -> Iterator[None]:
    """Not a byte is left where the suite keeps everything."""
    filler = lab.inside(lab.disk) / "filler"
    with filler.open("wb", buffering=0) as file:
        for piece in (1 << 20, 4096, 1):
            try:
                while file.write(bytes(piece)) == piece:
                    pass
            except OSError:
                continue  # that was the point
    try:
        yield
    finally:
        filler.unlink()


def disk_frozen(lab: IsolatedLab, _: random.Random) -> Iterator[None]:
    """Every write waits, as on a worn flash chip that tidies up."""
    enter = ["nsenter", f"--target={lab.process.pid}", "--mount", "fsfreeze"]
    subprocess.run([*enter, "--freeze", str(lab.disk)], check=True)
    try:
        yield
    finally:
        subprocess.run([*enter, "--unfreeze", str(lab.disk)], check=True)


def tap_deleted(lab: IsolatedLab, _: random.Random) -> Iterator[None]:
    """Somebody removes the capture interface."""
    lab.inside_router("ip", "link", "delete", "tap0")
    yield


def source_flaps(lab: IsolatedLab, _: random.Random) -> Iterator[None]:
    """The WAN goes down and comes back; its routes are set again, as netifd does."""
    routes = json.loads(lab.inside_router("ip", "-j", "route", "show", "default"))
    routes6 = json.loads(lab.inside_router("ip", "-j", "-6", "route", "show", "default"))
    address6 = lab.inside_router("ip", "-o", "-6", "address", "show", "dev", WAN_INTERFACE, "scope", "global").split()[
        3
    ]
    lab.inside_router("ip", "link", "set", WAN_INTERFACE, "down")
    try:
        yield
    finally:
        lab.inside_router("ip", "link", "set", WAN_INTERFACE, "up")
        lab.inside_router("ip", "address", "replace", address6, "dev", WAN_INTERFACE, "nodad")
        for route in (*routes, *routes6):
            version = "-6" if ":" in route["gateway"] else "-4"
            lab.inside_router("ip", version, "route", "replace", "default", "via", route["gateway"])


def clock_jumps(seconds: int) -> Cause:
    """The clock is set while everything runs, as by NTP after a start without a battery."""

    def cause(lab: IsolatedLab, _: random.Random) -> Iterator[None]:
        set_clock(lab, seconds)
        try:
            yield
        finally:
            set_clock(lab, 0)

    return cause


def set_clock(lab: IsolatedLab, seconds: int) -> None:
    """Every program of the lab takes the new time within a second."""
    temporary = lab.directory / "clock.new"
    temporary.write_text(f"{seconds:+d}\n")
    temporary.replace(lab.directory / "clock")
    time.sleep(1.5)


def database_corrupted(lab: IsolatedLab, chance: random.Random) -> Iterator[None]:
    """A dying memory: the engine crashes, and its database holds nonsense when it starts again."""
    databases = list(lab.files.glob("stats_dir/*.db"))
    if not databases:
        raise IsolatedLabError("there is no database to corrupt")
    lab.signal("engine", signal.SIGKILL)
    for database in databases:
        with database.open("r+b") as file:
            file.write(chance.randbytes(8192))
    yield


def uci_truncated(lab: IsolatedLab, _: random.Random) -> Iterator[None]:
    """The configuration is cut in the middle of a line, and the service told to read it."""
    file = lab.files / "config" / "dpi-dual"
    text = file.read_text()
    file.write_text(text[: len(text) // 3])
    lab.order("engine", "reload")
    try:
        yield
    finally:
        file.write_text(text)
        lab.order("engine", "reload")


def half_open_flows(lab: IsolatedLab, chance: random.Random) -> Iterator[None]:
    """100,000 connections that nobody answers, from one client: a worm that scans the internet."""
    send_syns(lab, 100_000, chance)
    yield


def send_syns(lab: IsolatedLab, count: int, chance: random.Random) -> None:
    """First segments of TCP connections, each to another address and port, from a client's own address."""
    enter = ["nsenter", f"--target={lab.pid('traffic-laptop')}", "--net"]
    command = [sys.executable, "-m", "lab.half_open", str(count), str(chance.randrange(1 << 32))]
    done = subprocess.run([*enter, *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise IsolatedLabError(f"the segments could not be sent: {done.stderr.strip()}")


def socket_flood(lab: IsolatedLab, chance: random.Random) -> Iterator[None]:
    """Hundreds of connections to the engine, to ubus over HTTP and to the proxy: silent, slow, and full of nonsense."""
    engine = str(lab.inside(lab.record["environment"]["DPI_DUAL_RUN_DIR"])) + "/engine.sock"
    host, port = lab.record["url"].removeprefix("http://").split(":")
    held: list[socket.socket] = []
    try:
        for number in range(300):
            for family, where in ((socket.AF_UNIX, engine), (socket.AF_INET, (host, int(port)))):
                connection = socket.socket(family, socket.SOCK_STREAM)
                connection.settimeout(0.2)
                try:
                    connection.connect(where)
                    if number % 3:
                        connection.send(chance.randbytes(chance.randrange(1, 2000)))
                except OSError:  # refused or cut: what it should do
                    connection.close()
                    continue
                held.append(connection)
        yield
    finally:
        for connection in held:
            connection.close()


#: Name → what causes it. Names are what `--only` takes and what the tests are called by.
FAULTS: dict[str, Cause] = {
    "engine-killed": kill("engine"),
    "netifyd-killed": kill("netifyd"),
    "mitmdump-killed": kill("mitmdump"),
    "analyser-killed": kill("analyser"),
    "haproxy-killed": kill("haproxy"),
    "crowdsec-killed": kill("crowdsec"),
    "local-api-stopped": local_api_stopped,
    "netifyd-silent": silence("netifyd"),
    "analyser-hangs": silence("analyser"),
    "disk-full": disk_full,
    "disk-frozen": disk_frozen,
    "tap-deleted": tap_deleted,
    "source-flaps": source_flaps,
    "clock-forward": clock_jumps(2 * 3600),
    "clock-backward": clock_jumps(-2 * 3600),
    "database-corrupted": database_corrupted,
    "uci-truncated": uci_truncated,
    "half-open-flows": half_open_flows,
    "socket-flood": socket_flood,
}

#: Undone by itself: nothing is waited for before it is.
AT_ONCE = frozenset(
    {"tap-deleted", "half-open-flows", "database-corrupted", *(n for n in FAULTS if n.endswith("-killed"))}
)


@contextmanager
def fault(lab: IsolatedLab, name: str, chance: random.Random) -> Iterator[None]:
    """Causes it; when the block ends it is undone."""
    steps = FAULTS[name](lab, chance)
    next(steps)
    try:
        yield
    finally:
        next(steps, None)


def seconds_to_recover(lab: IsolatedLab, since: float, patience_s: float) -> float:
    """Waits until all is as `recovered` wants it, and says how long that took; raises `NeverError`."""
    not_yet = (*STARTING, IsolatedLabError)
    return seconds_until("all runs again", lambda: recovered(lab, since), patience_s, not_yet)


def recovered(lab: IsolatedLab, since: float) -> bool:
    """All parts run, the mirror is whole, both streams know flows that began after `since`, requests are inspected."""
    status = lab.call("dpi.status", "status")
    if status["engine"] != "running" or not status["mitm_stream"]["running"]:
        return False
    if not lab.call("dpi.status", "mirror")["complete"]:
        return False
    if not (fresh(lab, "dpi.status", since) and fresh(lab, "dpi.lan", since)):
        return False
    if lab.call("dpi.correlator", "stats")["crowdsec"]["state"] != "connected":
        return False
    return asks(lab, "/") == 200


def asks(lab: IsolatedLab, path: str) -> int:
    """The status of a visitor's request to a published service, over TLS and through HAProxy and mitmproxy."""
    authority = f"{lab.record['directory']}/ca.crt"
    options = ["-sS", "-o", "/dev/null", "--max-time", "20", "-w", "%{http_code}", "--path-as-is", "--cacert"]
    return int(lab.inside_internet("curl", *options, str(lab.inside(authority)), f"https://{SHOP}{path}"))


def fresh(lab: IsolatedLab, name: str, since: float) -> bool:
    """Whether a flow is known that began after `since`; one from a wrong clock's future does not count."""
    rows = lab.call(name, "flows", limit=500, state="live")["flows"]
    return any(since < row["first_seen_at"] < time.time() + 5 for row in rows)


def filters(lab: IsolatedLab) -> list[int]:
    """How many of the mirror's filters each direction has."""
    listings = [
        lab.inside_router("tc", "filter", "show", "dev", WAN_INTERFACE, direction)
        for direction in ("ingress", "egress")
    ]
    return [listing.count("Egress Mirror to device tap0") for listing in listings]
