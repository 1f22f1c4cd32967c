"""What a device on the LAN does: look a name up, browse, send mail, log in, ask the time; each with a `Session`."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from lab.network import ROUTER_LAN
from lab.servers import WEB_NAMES

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
