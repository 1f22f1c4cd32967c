"""Traffic of one LAN client: a seeded mix of what people's devices do, at a gentle constant rate, over IPv4 and IPv6.

    python -m lab.traffic --client laptop --seed 1 --rate 4 --ca DIR/ca.crt     inside that client's host

Prints one JSON line for each thing done (`kind version name bytes seconds ok`, `error` when it failed) and a last
one with the sums; with `--report FILE` it keeps the sums and the latest errors in that file instead. The mix is dealt
like cards: each kind, and each site, comes in each IP version before any comes again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lab.client_actions import KINDS, Session, TrafficError
from lab.network import ROUTER_LAN, LabNetwork
from lab.progress import Progress

#: Things under way at once; when that many are, the next one is skipped and counted (or waits, if a number is due).
CONCURRENCY = 8
_ACTION_SECONDS = 10


def deal(dice: random.Random, kinds: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Without end: (kind, IP version, name), in shuffled decks that hold every kind in both versions."""
    names = {(kind, version): _in_turn(dice, KINDS[kind][1]) for kind in kinds for version in (4, 6)}
    while True:
        deck = [(kind, version) for kind in kinds for version in (4, 6) for _ in range(KINDS[kind][2])]
        dice.shuffle(deck)
        for kind, version in deck:
            yield kind, version, next(names[kind, version])


def _in_turn(dice: random.Random, names: Sequence[str]) -> Iterator[str]:
    while True:
        yield from dice.sample(names, len(names))


async def generate(
    session: Session,
    kinds: Sequence[str],
    rate: float,
    count: int | None,
    duration: float | None,
    report: Callable[[dict[str, Any]], None],
) -> None:
    """Starts `rate` things a second until `count`, `duration` or cancellation; `report` hears of each."""
    loop = asyncio.get_running_loop()
    begin = loop.time()

    async def act(kind: str, version: int, name: str) -> None:
        started = loop.time()
        line: dict[str, Any] = {"client": session.client, "kind": kind, "version": version, "name": name}
        try:
            async with asyncio.timeout(_ACTION_SECONDS):
                line["bytes"] = await KINDS[kind][0](session, version, name)
            line["ok"] = True
        except (OSError, EOFError, TrafficError, struct.error, IndexError, ValueError) as error:
            line |= {"ok": False, "error": f"{type(error).__name__}: {error}"}
        line |= {"at": round(time.time(), 3), "seconds": round(loop.time() - started, 4)}
        report(line)

    async with asyncio.TaskGroup() as group:
        for number, choice in enumerate(deal(session.dice, kinds)):
            due = begin + number / rate
            if (count is not None and number >= count) or (duration is not None and due - begin >= duration):
                break
            await asyncio.sleep(max(0.0, due - loop.time()))
            if len(session.running) >= CONCURRENCY and count is None:
                session.skipped += 1
                continue
            while len(session.running) >= CONCURRENCY:
                await asyncio.wait(session.running, return_when=asyncio.FIRST_COMPLETED)
            task = group.create_task(act(*choice))
            session.running.add(task)
            task.add_done_callback(session.running.discard)


class Report(Progress):
    """What has come of it all."""

    def __init__(self, client: str, path: Path | None) -> None:
        super().__init__(path, ("done", "errors", "bytes", "skipped"), {"client": client})

    def add(self, line: dict[str, Any]) -> None:
        """One thing done, or tried."""
        if line["ok"]:
            self.sums["done"] += 1
            self.sums[f"{line['kind']}{line['version']}"] += 1
            self.sums["bytes"] += line["bytes"]
        self.note(line)


async def _until_told(session: Session, options: argparse.Namespace, kinds: Sequence[str]) -> None:
    """`generate` with its report; SIGTERM and SIGINT end it with its sums said."""
    report = Report(session.client, options.report)
    work = asyncio.ensure_future(generate(session, kinds, options.rate, options.count, options.duration, report.add))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work
    report.sums["skipped"] = session.skipped
    report.write()


def start(
    network: LabNetwork,
    client: str,
    *,
    seed: int = 1,
    rate: float = 3,
    kinds: Sequence[str] = (),
    count: int | None = None,
    duration: float | None = None,
) -> subprocess.Popen[bytes]:
    """Starts the generator in `client`'s host; `read_report` tells what it has done."""
    command = [sys.executable, "-m", "lab.traffic", "--client", client, "--seed", str(seed), "--rate", str(rate)]
    command += ["--ca", str(network.directory / "ca.crt"), "--report", str(_report_path(network.directory, client))]
    for option, value in (("--count", count), ("--duration", duration), ("--kinds", ",".join(kinds) or None)):
        if value is not None:
            command += [option, str(value)]
    with (network.directory / f"traffic.{client}.log").open("ab") as log:
        return network.clients[client].host.popen(*command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def read_report(directory: Path, client: str) -> dict[str, Any]:
    """What `client`'s generator has done so far: `client`, `sums` (by kind and IP version), the latest `errors`."""
    path = _report_path(directory, client)
    if not path.exists():
        return {"client": client, "sums": {}, "errors": []}
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def _report_path(directory: Path, client: str) -> Path:
    return directory / f"traffic.{client}.json"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--client", required=True, help="name of this client, said in each line")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=3, help="things started a second")
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of: %(default)s")
    parser.add_argument("--count", type=int, help="stop after that many things")
    parser.add_argument("--duration", type=float, help="stop after that many seconds")
    parser.add_argument("--ca", type=Path, help="authority that the TLS servers' certificates are checked against")
    parser.add_argument("--report", type=Path, help="keep sums and errors in this file instead of printing lines")
    parser.add_argument("--dns", default=ROUTER_LAN, help="name server (default: %(default)s)")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no such kind of traffic: {', '.join(sorted(unknown))}")
    if options.rate <= 0:
        parser.error("--rate must be above zero")
    tls = ssl.create_default_context(cafile=str(options.ca) if options.ca else None)
    session = Session(options.client, random.Random(f"{options.seed}:{options.client}"), tls, options.dns)
    asyncio.run(_until_told(session, options, kinds))


if __name__ == "__main__":
    main()
