"""A real mitmdump with the addon on loopback, and a tiny origin behind it that remembers what it was asked."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dpi_dual.mitm.client import HEALTH_PATH
from lab.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
HOST = "shop.example.org"
BROWSER = {"Host": HOST, "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}


@dataclass
class Asked:
    """A request as the origin saw it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    size: int
    start: bytes
    blank: bool

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Origin

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while length := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
        left = int(self.headers.get("Content-Length", 0))
        while left:
            data = self.rfile.read(min(left, 1 << 20))
            left -= len(data)
            yield data

    def _answer(self) -> None:
        size, start, blank = 0, b"", True
        for data in self._body():
            size += len(data)
            start = (start + data)[:100_000] if len(start) < 100_000 else start
            blank = blank and not data.strip()
        self.server.asked.append(Asked(self.command, self.path, list(self.headers.items()), size, start, blank))
        if self.headers.get("Upgrade") == "websocket":
            self._websocket()
            return
        path = self.path.partition("?")[0]
        status = 404 if path.startswith("/missing") else 401 if path == "/login" else 200
        page = b"x" * 3_000_000 if path == "/big" else b"<p>hello " + path.encode() + b"</p>"
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("X-Origin", "secret version")
        if path == "/endless":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (b"one ", b"two ", b"three"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = _answer  # noqa: N815 - http.server's names

    def _websocket(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        for pair in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)):
            self.send_header(*pair)
        self.end_headers()
        self.wfile.flush()
        while text := receive_frame(self.rfile):
            self.wfile.write(bytes((0x81, len(text))) + text)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""


def receive_frame(stream: Any) -> bytes:
    """The text of one short WebSocket frame; empty at the end or for a close frame."""
    head = stream.read(2)
    if len(head) < 2 or head[0] & 15 == 8:
        return b""
    length = head[1] & 127
    if length == 126:
        (length,) = struct.unpack("!H", stream.read(2))
    mask = stream.read(4) if head[1] & 128 else bytes(4)
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(stream.read(length)))


def send_frame(sock: socket.socket, text: bytes) -> None:
    """One short masked text frame."""
    sock.sendall(bytes((0x81, 0x80 | len(text))) + bytes(4) + text)


class Origin(ThreadingHTTPServer):
    """Serves on a free port of loopback in threads of its own."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is no news."""

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Proxy:
    """A running mitmdump."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    confdir: Path
    _connections: list[http.client.HTTPConnection] = field(default_factory=list)

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self._connections.append(connection)
        return connection

    def ask(
        self,
        target: str,
        method: str = "GET",
        body: Any = None,
        headers: dict[str, str] | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> Answer:
        """One request, with a browser's headers unless they are given."""
        own = connection or self.connect()
        own.request(method, target, body=body, headers={**BROWSER, **(headers or {})}, encode_chunked=False)
        got = own.getresponse()
        answer = Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        if connection is None:
            own.close()
        return answer

    def analyser_pid(self) -> int:
        """The analyser that this mitmdump started; 0 if there is none now."""
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                text = path.read_text()
                state, parent = text.rpartition(")")[2].split()[:2]
                ours = int(parent) == self.process.pid and state != "Z"
                if ours and b"dpi_dual.mitm.analyser" in path.with_name("cmdline").read_bytes():
                    return int(path.parent.name)
        return 0

    def rss_bytes(self, pid: int = 0) -> int:
        pages = Path(f"/proc/{pid or self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_proxy(
    buffer_dir: Path,
    origin: str,
    *options: str,
    config_dir: Path | None = None,
    addon: bool = True,
    wrap: tuple[str, ...] = (),
) -> Iterator[Proxy]:
    """mitmdump in reverse mode; `options` are mitmproxy's, `wrap` what runs it."""
    port = free_port()
    with tempfile.TemporaryDirectory() as confdir:
        log = Path(confdir, "log")
        settings = [f"dpi_buffer_dir={buffer_dir}", f"dpi_backends={HOST}={origin}", *options] if addon else options
        argv = [
            *wrap,
            str(Path(sys.executable).with_name("mitmdump")),
            # Nobody listens at the discard port: each request's origin comes from the backends.
            *("-q", "--mode", f"reverse:http://{'127.0.0.1:9' if addon else origin}@127.0.0.1:{port}"),
            *("--set", f"confdir={confdir}", "--set", "ssl_insecure=true"),
            *(("-s", str(ROOT / "addons" / "dpi_buffer.py")) if addon else ()),
            *(part for option in settings for part in ("--set", option)),
        ]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "lib"),
            "DPI_DUAL_CONFIG_DIR": str(config_dir or confdir),
        }
        with log.open("wb") as output:
            process = subprocess.Popen(argv, stdout=output, stderr=output, env=environment)
        proxy = Proxy(port, process, log, Path(confdir))
        try:
            deadline = time.monotonic() + PATIENCE_S
            while True:
                with suppress(OSError, http.client.HTTPException):
                    if proxy.ask(HEALTH_PATH if addon else "/").status == 200:
                        break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"mitmdump does not serve: {log.read_text()}")
                time.sleep(0.05)
            yield proxy
        finally:
            proxy.close()
