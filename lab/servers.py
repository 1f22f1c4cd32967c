"""The lab's internet: web sites with and without TLS, DNS, SSH, telnet, mail, file transfer and time, in one process.

    python -m lab.servers --directory DIR        inside the internet host; prints `ready` once it serves

Every service listens on IPv4 and IPv6. SSH sessions are dropbear's, one process each, while they last.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from lab import certs
from lab.network import ROUTER_WAN, ROUTER_WAN6, SERVER_ADDRESSES, LabNetwork
from lab.origin import HOSTS

#: What names can stand for: the servers here, and the router, which publishes services of its own.
ADDRESSES = {**SERVER_ADDRESSES, "router": (ROUTER_WAN, ROUTER_WAN6)}

#: Host name → which of `ADDRESSES` it lives on. Some are names that nDPI knows applications by.
NAMES = {
    "www.example.com": "web",
    "www.wikipedia.org": "web",
    "www.youtube.com": "video",
    "rr1.googlevideo.com": "video",
    "web.whatsapp.com": "chat",
    "open.spotify.com": "chat",
    "shell.example.net": "shell",
    "mail.example.net": "shell",
    "files.example.net": "shell",
    "time.example.net": "shell",
    **dict.fromkeys(HOSTS, "router"),
}
WEB_NAMES = tuple(name for name, role in NAMES.items() if role in ("web", "video", "chat"))

#: Largest body that `/bytes/N` serves or a POST may send.
MAX_BODY = 8 << 20
_SSH_SESSIONS = 8
_SSH_SESSION_SECONDS = 20
_DNS_TTL = 5
_NTP_EPOCH = 2_208_988_800  # seconds from 1900 (RFC 5905) to 1970

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request and its answer: `/bytes/N` for N bytes, anything else for a small page."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, path, *_ = head.split(" ", 2)
    length = re.search(r"(?im)^content-length: *(\d+)", head)
    if length and int(length[1]):
        await reader.readexactly(min(int(length[1]), MAX_BODY))
    wanted = re.fullmatch(r"/bytes/(\d+)", path)
    if wanted:
        kind, body = "application/octet-stream", bytes(min(int(wanted[1]), MAX_BODY))
    else:
        kind, body = "text/html", f"<!doctype html><title>Lab</title><p>{len(path)}</p>".encode()
    answer = f"HTTP/1.1 200 OK\r\nServer: lab\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    writer.write(answer.encode() + b"Connection: close\r\n\r\n" + (b"" if method == "HEAD" else body))
    await writer.drain()


def dialogue(greeting: bytes, answers: dict[bytes, bytes], default: bytes) -> Handler:
    """A service that greets and answers each line by its first word, until QUIT, EXIT or the end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        async for line in reader:
            words = line.split()
            word = words[0].upper() if words else b""
            writer.write(answers.get(word, default))
            await writer.drain()
            if word in (b"QUIT", b"EXIT"):
                return

    return serve


#: Telnet option negotiation as servers begin it (RFC 854): DO TERMINAL-TYPE, WILL ECHO, WILL SUPPRESS-GO-AHEAD.
_TELNET_HELLO = bytes.fromhex("fffd18 fffb01 fffb03") + b"\r\nshell login: "

TCP_SERVICES: dict[str, dict[int, Handler]] = {
    "web": {80: serve_http},
    "video": {80: serve_http},
    "chat": {80: serve_http},
    "shell": {
        23: dialogue(_TELNET_HELLO, {b"EXIT": b"bye\r\n"}, b"\r\nshell$ "),
        25: dialogue(
            b"220 mail.example.net ESMTP lab\r\n",
            {
                b"EHLO": b"250-mail.example.net\r\n250-SIZE 1000000\r\n250 8BITMIME\r\n",
                b"DATA": b"354 go ahead\r\n",
                b"QUIT": b"221 bye\r\n",
            },
            b"250 ok\r\n",
        ),
        21: dialogue(
            b"220 files.example.net FTP server ready\r\n",
            {
                b"USER": b"331 Password required\r\n",
                b"PASS": b"230 Logged in\r\n",
                b"SYST": b"215 UNIX Type: L8\r\n",
                b"QUIT": b"221 Goodbye\r\n",
            },
            b"200 ok\r\n",
        ),
    },
}
TLS_SERVICES: dict[str, dict[int, Handler]] = {role: {443: serve_http} for role in ("web", "video", "chat")}


def polite(handler: Handler) -> Handler:
    """`handler` with a time limit and a clean close, whatever the client does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What clients do wrong ends their connection only.
        with contextlib.suppress(OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(30):
                await handler(reader, writer)
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await writer.wait_closed()

    return serve


def answer_dns(query: bytes) -> bytes:
    """The answer to one DNS query: A and AAAA of `NAMES`, NXDOMAIN for the rest (RFC 1035)."""
    identity, flags, questions = struct.unpack_from(">HHH", query)
    position, labels = 12, []
    while query[position]:
        end = position + 1 + query[position]
        labels.append(query[position + 1 : end].decode("latin-1").lower())
        position = end
    kind, _ = struct.unpack_from(">HH", query, position + 1)
    question = query[12 : position + 5]
    role = NAMES.get(".".join(labels))
    records = b""
    if questions == 1 and role and kind in (1, 28):
        family = socket.AF_INET if kind == 1 else socket.AF_INET6
        address = socket.inet_pton(family, ADDRESSES[role][kind == 28])
        records = struct.pack(">HHHIH", 0xC00C, kind, 1, _DNS_TTL, len(address)) + address
    code = 0 if role else 3
    return struct.pack(">HHHHHH", identity, 0x8400 | flags & 0x0100 | code, 1, bool(records), 0, 0) + question + records


def answer_ntp(request: bytes) -> bytes:
    """The time, as a stratum 2 server tells it (RFC 5905)."""
    now = int((time.time() + _NTP_EPOCH) * 2**32)
    fields = struct.pack(">BBBbIII", 0x24, 2, 6, -20, 0x100, 0x100, 0x7F000001)
    return fields + struct.pack(">Q8sQQ", now, request[40:48].ljust(8, b"\0"), now, now)


class Responder(asyncio.DatagramProtocol):
    """A UDP service of one answer a question; questions that make no sense get none."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            answer = self._answer(data)
        except (struct.error, IndexError):
            return
        self._transport.sendto(answer, addr)


UDP_SERVICES = {("dns", 53): answer_dns, ("shell", 123): answer_ntp}


async def serve_ssh(address: str, host_key: Path) -> None:
    """Hands each connection to a dropbear of its own, that nobody can log in to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    loop = asyncio.get_running_loop()
    sessions = asyncio.Semaphore(_SSH_SESSIONS)

    async def session(connection: socket.socket) -> None:
        async with sessions:
            command = ["setpriv", "--pdeathsig", "KILL", "dropbear", "-i", "-s", "-r", str(host_key)]
            with connection:
                process = await asyncio.create_subprocess_exec(
                    *command, stdin=connection.fileno(), stdout=connection.fileno(), stderr=subprocess.DEVNULL
                )
            try:
                await asyncio.wait_for(process.wait(), _SSH_SESSION_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()

    with socket.create_server((address, 22), family=family, backlog=32) as listener:
        listener.setblocking(False)
        async with asyncio.TaskGroup() as group:
            while True:
                connection, _ = await loop.sock_accept(listener)
                group.create_task(session(connection))


def tls_context(directory: Path) -> ssl.SSLContext:
    """A server context that shows the certificate of the name asked for (SNI)."""
    key = directory / "site.key"
    contexts = {}
    for name in WEB_NAMES:
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[name].load_cert_chain(directory / f"{name}.crt", key)

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name in contexts:
            connection.context = contexts[name]

    default = contexts["www.example.com"]
    default.sni_callback = choose
    return default


async def serve(directory: Path) -> None:
    """Everything, until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    context = tls_context(directory)
    servers = []
    for services, tls in ((TCP_SERVICES, None), (TLS_SERVICES, context)):
        for role, ports in services.items():
            for port, handler in ports.items():
                addresses = SERVER_ADDRESSES[role]
                servers.append(await asyncio.start_server(polite(handler), addresses, port, ssl=tls, limit=1 << 16))
    transports = []
    for (role, port), answer in UDP_SERVICES.items():
        for address in SERVER_ADDRESSES[role]:
            made = loop.create_datagram_endpoint(partial(Responder, answer), local_addr=(address, port))
            transports.append((await made)[0])
    ssh = [
        asyncio.ensure_future(serve_ssh(address, directory / "ssh_host_key")) for address in SERVER_ADDRESSES["shell"]
    ]
    await asyncio.sleep(0)  # the SSH listeners bind
    print("ready", flush=True)
    await asyncio.wait([asyncio.ensure_future(over.wait()), *ssh], return_when=asyncio.FIRST_COMPLETED)
    for task in ssh:
        if task.done():
            task.result()
        task.cancel()
    for server in servers:
        server.close()
    for transport in transports:
        transport.close()


def prepare(directory: Path) -> None:
    """Makes the certificates and the SSH host key that the servers need."""
    certs.make_certificates(directory, WEB_NAMES)
    host_key = directory / "ssh_host_key"
    if not host_key.exists():
        command = ["dropbearkey", "-t", "ed25519", "-f", str(host_key)]
        subprocess.run(command, check=True, capture_output=True)


def start(network: LabNetwork) -> subprocess.Popen[str]:
    """Starts the servers in the network's internet and waits until they serve."""
    prepare(network.directory)
    command = [sys.executable, "-m", "lab.servers", "--directory", str(network.directory)]
    with (network.directory / "servers.log").open("wb") as log:
        process = network.internet.popen(*command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    with process.stdout as said:
        if said.readline() != "ready\n":
            raise OSError(f"the lab's servers did not start: {(network.directory / 'servers.log').read_text().strip()}")
    return process


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, required=True, help="where the certificates and keys are")
    asyncio.run(serve(parser.parse_args().directory))


if __name__ == "__main__":
    main()
