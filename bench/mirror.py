"""The mirror on against off: round-trip time and throughput of what it copies, through a router of namespaces."""

from __future__ import annotations

import os
import re
import statistics
import sys

from bench.row import NotHere, Row
from lab.engine import ROOT
from lab.netns import Namespace, veth

ROUNDS = 7
PINGS = 200
MEGABYTES = 400

_RECEIVER = """
import socket, time
listener = socket.create_server(("10.9.2.2", 5001))
listener.settimeout(20)
while True:
    connection, _ = listener.accept()
    with connection:
        first, total = time.perf_counter(), 0
        while data := connection.recv(1 << 20):
            total += len(data)
        connection.sendall(b"%d %f" % (total, time.perf_counter() - first))
"""

_SENDER = """
import socket, sys, time
for attempt in range(100):  # the receiver may need a moment to start
    try:
        socket.create_connection(("10.9.2.2", 5001), timeout=20).close()
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
with socket.create_connection(("10.9.2.2", 5001), timeout=20) as connection:
    block = bytes(1 << 20)
    for _ in range(int(sys.argv[1])):
        connection.sendall(block)
    connection.shutdown(socket.SHUT_WR)
    print(connection.recv(100).decode())
"""


def _mirror(router: Namespace, action: str) -> None:
    router.run(
        *(sys.executable, "-m", "dpi_dual.capture.mirror", action, "--interface", "tap0", "--source", "wan"),
        env={"PYTHONPATH": str(ROOT / "lib"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )


def _throughput(client: Namespace) -> float:
    """Bytes a second of one TCP connection through the router."""
    total, seconds = client.run(sys.executable, "-c", _SENDER, str(MEGABYTES)).stdout.split()
    return int(total) / float(seconds)


def _round_trip_ms(client: Namespace) -> float:
    output = client.run("ping", "-q", "-i", "0.002", "-c", str(PINGS), "10.9.2.2").stdout
    found = re.search(r"= [\d.]+/([\d.]+)/", output)
    if not found:
        raise RuntimeError(f"ping said: {output}")
    return float(found[1])


def measure() -> list[Row]:
    if os.geteuid() != 0:
        raise NotHere("namespaces with a mirror need root")
    with Namespace("client") as client, Namespace("router") as router, Namespace("server") as server:
        veth(client, "eth0", router, "lan")
        veth(router, "wan", server, "eth0")
        for host, interface, address in (
            (client, "eth0", "10.9.1.2/24"),
            (router, "lan", "10.9.1.1/24"),
            (router, "wan", "10.9.2.1/24"),
            (server, "eth0", "10.9.2.2/24"),
        ):
            host.ip("address", "add", address, "dev", interface)
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        client.ip("route", "add", "default", "via", "10.9.1.1")
        server.ip("route", "add", "default", "via", "10.9.2.1")
        server.popen(sys.executable, "-c", _RECEIVER)
        client.run("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do ping -qc1 -W1 10.9.2.2 && exit; done")
        _throughput(client)
        times: dict[str, list[float]] = {"off": [], "on": []}
        rates: dict[str, list[float]] = {"off": [], "on": []}
        sides = (("off", "remove"), ("on", "ensure"))
        for turn in range(ROUNDS):
            for state, action in sides if turn % 2 else sides[::-1]:
                _mirror(router, action)
                times[state].append(_round_trip_ms(client))
                rates[state].append(_throughput(client))
    slower = statistics.median(on / off for on, off in zip(times["on"], times["off"], strict=True))
    # Of the medians: single transfers a second apart differ by more than the mirror costs.
    kept = statistics.median(rates["on"]) / statistics.median(rates["off"])
    # The noise of the path itself: how far its own rounds without the mirror lie apart, the extremes left out.
    ordered = sorted(times["off"])[1:-1]
    noise = (ordered[-1] - ordered[0]) / statistics.median(ordered)
    return [
        Row(
            *("mirror, round trip on / off", slower, "×", 1.0, f"within noise (≤ 1 + {noise:.2f})"),
            *(slower <= 1 + noise, ROUNDS, "mirror off"),
        ),
        Row("mirror, throughput on / off", kept, "×", 1.0, "≥ 0.9", kept >= 0.9, ROUNDS, "mirror off"),
        Row(
            "mirror, throughput",
            statistics.median(rates["on"]) * 8e-6,
            "Mbit/s",
            statistics.median(rates["off"]) * 8e-6,
            "shown",
            True,
            ROUNDS,
            "mirror off",
        ),
    ]
