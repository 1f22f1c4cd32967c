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
import os
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.network import ROUTER_LAN, LabNetwork
from lab.servers import WEB_NAMES

#: Things under way at once; when that many are, the next one is skipped and counted (or waits, if a number is due).
CONCURRENCY = 8
_ACTION_SECONDS = 10
_KEPT_ERRORS = 20
_PAGE_BYTES = (2_000, 30_000)
_BULK_BYTES = (150_000, 400_000)
_USER_AGENTS = {
    "laptop": "Mozilla/5.0 (X11; Linux x86_64) LabBrowser/1.0",
    "phone": "Mozilla/5.0 (Linux; Android 14) LabBrowser/1.0 Mobile",
    "tv": "LabTV/1.0",
}


class TrafficError(Exception):
    """The other side answered, but not as it should."""


@dataclass
class Session:
    """Who makes the traffic, and how its connections are made."""

    client: str
    dice: random.Random
    tls: ssl.SSLContext
    name_server: str = ROUTER_LAN
    running: set[asyncio.Task[None]] = field(default_factory=set)
    skipped: int = 0

    async def resolve(self, name: str, version: int) -> str:
        """The address of `name`, asked from the router's DNS; empty if it has none."""
        answer = await _ask_dns(self.name_server, name, 28 if version == 6 else 1, self.dice.randrange(1 << 16))
        return answer or ""

    async def connect(
        self, name: str, version: int, port: int, tls: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP (or TLS) connection to `name`."""
        address = await self.resolve(name, version)
        context, asked_for = (self.tls, name) if tls else (None, None)
        return await asyncio.open_connection(address, port, ssl=context, server_hostname=asked_for)


async def _ask_udp(address: str, port: int, question: bytes) -> bytes:
    """One datagram out, one in, asked again twice."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        await loop.sock_connect(client, (address, port))
        for patience in (1, 2, 4):
            await loop.sock_sendall(client, question)
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(loop.sock_recv(client, 4096), patience)
    raise TrafficError(f"no answer from {address} port {port}")


async def _ask_dns(server: str, name: str, kind: int, identity: int) -> str | None:
    """A or AAAA (`kind` 1 or 28) of `name`: the last record of the answer, None when there is no such name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack(">HHHHHH", identity, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">xHH", kind, 1)
    answer = await _ask_udp(server, 53, question)
    returned, flags, _, answers = struct.unpack_from(">HHHH", answer)
    if returned != identity:
        raise TrafficError("DNS answer to another question")
    if flags & 0x000F == 3 or not answers:
        return None
    size = 16 if kind == 28 else 4
    return socket.inet_ntop(socket.AF_INET6 if kind == 28 else socket.AF_INET, answer[-size:])


async def lookup(session: Session, version: int, name: str) -> int:
    """A DNS question, and now and then one for a name that does not exist."""
    await session.resolve(name, version)
    if session.dice.random() < 0.3:
        missing = f"nothing-{session.dice.randrange(1000)}.example.com"
        if await session.resolve(missing, version):
            raise TrafficError(f"{missing} exists")
    return 0


async def _request(session: Session, version: int, name: str, tls: bool, size: int, body: bytes = b"") -> int:
    reader, writer = await session.connect(name, version, 443 if tls else 80, tls)
    try:
        method = "POST" if body else "GET"
        agent = _USER_AGENTS.get(session.client, "Lab/1.0")
        head = f"{method} /bytes/{size} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: {agent}\r\n"
        head += f"Accept: */*\r\nContent-Length: {len(body)}\r\n" if body else "Accept: */*\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        received = 0
        status = await reader.readline()
        while chunk := await reader.read(65536):
            received += len(chunk)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if not status.startswith(b"HTTP/1.1 200") or received < size:
        raise TrafficError(f"{status!r}, {received} of {size} bytes")
    return received + len(status)


async def http(session: Session, version: int, name: str) -> int:
    """A page, or a form sent, without TLS."""
    body = b"name=value&" * session.dice.randrange(10, 100) if session.dice.random() < 0.25 else b""
    return await _request(session, version, name, tls=False, size=session.dice.randrange(*_PAGE_BYTES), body=body)


async def https(session: Session, version: int, name: str) -> int:
    """A page over TLS, the name told by SNI."""
    return await _request(session, version, name, tls=True, size=session.dice.randrange(*_PAGE_BYTES))


async def bulk(session: Session, version: int, name: str) -> int:
    """A larger download."""
    tls = session.dice.random() < 0.5
    return await _request(session, version, name, tls=tls, size=session.dice.randrange(*_BULK_BYTES))


async def _talk(session: Session, version: int, name: str, port: int, lines: Sequence[bytes]) -> int:
    """Reads the greeting, then says each line and reads what comes back."""
    reader, writer = await session.connect(name, version, port)
    try:
        received = len(await reader.read(4096))
        for line in lines:
            writer.write(line + b"\r\n")
            answer = await reader.read(4096)
            if not answer:
                raise TrafficError(f"port {port} closed after {line!r}")
            received += len(answer)
            await asyncio.sleep(session.dice.uniform(0.05, 0.2))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return received


async def telnet(session: Session, version: int, name: str) -> int:
    """A short terminal session in clear text."""
    negotiation = bytes.fromhex("fffb18 fffd01 fffd03")
    return await _talk(session, version, name, 23, [negotiation + b"guest", b"guest", b"ls", b"exit"])


async def smtp(session: Session, version: int, name: str) -> int:
    """A mail."""
    lines = (b"EHLO client.lan", b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.net>", b"QUIT")
    return await _talk(session, version, name, 25, lines)


async def ftp(session: Session, version: int, name: str) -> int:
    """A login to a file server."""
    return await _talk(session, version, name, 21, (b"USER anonymous", b"PASS lab@example.com", b"SYST", b"QUIT"))


async def ntp(session: Session, version: int, name: str) -> int:
    """The time of day (RFC 5905 client request)."""
    answer = await _ask_udp(await session.resolve(name, version), 123, b"\x23" + bytes(47))
    if len(answer) != 48:
        raise TrafficError(f"{len(answer)} bytes from the time server")
    return len(answer)


async def _run(*command: str) -> tuple[int, bytes]:
    """A program's exit code and what it said; it ends with us."""
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", *command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said


async def ssh(session: Session, version: int, name: str) -> int:
    """A key exchange with dropbear; the login then fails, as nobody has an account there."""
    address = await session.resolve(name, version)
    code, said = await _run("dbclient", "-y", "-y", "-T", "-o", "BatchMode=yes", f"lab@{address}", "true")
    if b"No auth methods" not in said and b"ermission denied" not in said:
        raise TrafficError(f"dbclient ended with {code}: {said.decode(errors='replace').strip()[-200:]}")
    return 0


async def ping(session: Session, version: int, name: str) -> int:
    """Three echo requests."""
    address = await session.resolve(name, version)
    code, said = await _run("ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "2", address)
    if code != 0:
        raise TrafficError(f"ping ended with {code}: {said.decode(errors='replace').strip()[-200:]}")
    return 0


Action = Callable[[Session, int, str], Awaitable[int]]

#: Kind → (what to do, where to, how many of it in each deal).
KINDS: dict[str, tuple[Action, tuple[str, ...], int]] = {
    "dns": (lookup, WEB_NAMES, 2),
    "http": (http, ("www.example.com", "www.wikipedia.org"), 2),
    "https": (https, WEB_NAMES, len(WEB_NAMES)),
    "bulk": (bulk, ("www.youtube.com", "www.example.com"), 1),
    "ssh": (ssh, ("shell.example.net",), 1),
    "telnet": (telnet, ("shell.example.net",), 1),
    "smtp": (smtp, ("mail.example.net",), 1),
    "ftp": (ftp, ("files.example.net",), 1),
    "ntp": (ntp, ("time.example.net",), 1),
    "ping": (ping, ("www.example.com", "www.youtube.com"), 1),
}


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


class Report:
    """What has come of it all: lines on standard output, or one small file that is replaced as it goes."""

    def __init__(self, client: str, path: Path | None) -> None:
        self._client, self._path = client, path
        self._sums: Counter[str] = Counter(done=0, errors=0, bytes=0)
        self._errors: deque[dict[str, Any]] = deque(maxlen=_KEPT_ERRORS)
        self._written = 0.0

    def add(self, line: dict[str, Any]) -> None:
        """One thing done, or tried."""
        if line["ok"]:
            self._sums["done"] += 1
            self._sums[f"{line['kind']}{line['version']}"] += 1
            self._sums["bytes"] += line["bytes"]
        else:
            self._sums["errors"] += 1
            self._errors.append(line)
        if self._path is None:
            print(json.dumps(line), flush=True)
        elif time.monotonic() - self._written > 1:
            self.write()

    def write(self, skipped: int = 0) -> None:
        """Says the sums."""
        self._sums["skipped"] = skipped
        text = json.dumps({"client": self._client, "sums": dict(self._sums), "errors": list(self._errors)})
        if self._path is None:
            print(text, flush=True)
            return
        self._written = time.monotonic()
        fresh = self._path.with_suffix(".new")
        fresh.write_text(text)
        os.replace(fresh, self._path)


async def _until_told(session: Session, options: argparse.Namespace, kinds: Sequence[str]) -> None:
    """`generate` with its report; SIGTERM and SIGINT end it with its sums said."""
    report = Report(session.client, options.report)
    work = asyncio.ensure_future(generate(session, kinds, options.rate, options.count, options.duration, report.add))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work
    report.write(session.skipped)


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


def read_lines(directory: Path, client: str) -> list[dict[str, Any]]:
    """The latest things that failed, each as the line that would have been printed."""
    lines: list[dict[str, Any]] = read_report(directory, client)["errors"]
    return lines


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
