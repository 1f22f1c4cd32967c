"""A published service on loopback: an origin, something in mitmproxy's place, HAProxy with our configuration."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dpi_dual.mitm.client import HEALTH_PATH
from lab.certs import AUTHORITY, make_certificates
from lab.waiting import eventually
from tests.cli import programs

HOST = "www.example.org"
SEEN = "X-Seen-By-Mitm"

#: In mitmproxy's place: answers the health check, passes everything else on, marked.
STAND_IN = f"""
import asyncio, sys
port, origin = map(int, sys.argv[1:])
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            length = [int(l.split(b":")[1]) for l in head.split(b"\\r\\n") if l.lower().startswith(b"content-length:")]
            body = await reader.readexactly(length[0]) if length else b""
            if head.split()[1] == b"{HEALTH_PATH}":
                writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
            else:
                start, rest = head.split(b"\\r\\n", 1)
                back, forth = await asyncio.open_connection("127.0.0.1", origin)
                forth.write(start + b"\\r\\n{SEEN}: yes\\r\\nConnection: close\\r\\n" + rest + body)
                writer.write(await back.read())
                forth.close()
                return
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()
asyncio.run(main())
"""

MITMDUMP = Path(sys.executable).with_name("mitmdump")


class _Echo(BaseHTTPRequestHandler):
    """Says which origin it is and what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pairs = [[name.lower(), value] for name, value in self.headers.items()]
        body = json.dumps({"origin": self.server.server_port, "path": self.path, "headers": pairs}).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Answer:
    """One answer; `headers` are those that the origin saw."""

    def __init__(self, status: int, body: bytes, client_port: int) -> None:
        self.status = status
        self.client_port = client_port
        self.told = json.loads(body) if status == 200 else {}
        self.headers: dict[str, list[str]] = {}
        for name, value in self.told.get("headers", []):
            self.headers.setdefault(name, []).append(value)

    @property
    def inspected(self) -> bool:
        return SEEN.lower() in self.headers


class Published:
    """All of it, inside `folder`, whose path must be short enough for a unix socket."""

    def __init__(self, folder: Path, kind: str, fail_open: bool = True) -> None:
        self.folder = folder
        self.kind = kind
        self.origins = [ThreadingHTTPServer(("127.0.0.1", 0), _Echo) for _ in range(2)]
        for origin in self.origins:
            threading.Thread(target=origin.serve_forever, daemon=True).start()
        self.port, self.mitm_port = free_port(), free_port()
        make_certificates(folder, [HOST])
        pem = folder / "site.pem"
        pem.write_bytes((folder / f"{HOST}.crt").read_bytes() + (folder / "site.key").read_bytes())
        self.env = programs.place(folder)
        self.env["DPI_DUAL_HAPROXY_CFG"] = str(folder / "haproxy.cfg")
        self.env["DPI_DUAL_HAPROXY_INIT"] = str(folder / "no-init-script")
        self.config = Path(self.env["DPI_DUAL_CONFIG_DIR"], "dpi-dual")
        ports = [origin.server_port for origin in self.origins]
        self.config.write_text(
            "config haproxy 'haproxy'\n\toption enabled '1'\n"
            f"\toption bind '127.0.0.1:{self.port}'\n\toption certificate '{pem}'\n"
            f"\toption fail_open '{int(fail_open)}'\n"
            f"config mitm 'mitm'\n\toption listen '127.0.0.1:{self.mitm_port}'\n\toption buffer_dir '{folder}/buffer'\n"
            # What passed the addon is known by this.
            f"config modify\n\toption action 'set_header'\n\toption name '{SEEN}'\n\toption value 'yes'\n"
            f"config backend 'one'\n\toption host '{HOST}'\n\toption address '127.0.0.1:{ports[0]}'\n"
            f"config backend\n\toption host '*.two.example'\n\toption address 'localhost:{ports[1]}'\n"
        )
        self.mitm: subprocess.Popen[bytes] | None = None
        self.haproxy: subprocess.Popen[bytes] | None = None

    def ctl(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """`dpi-dualctl haproxy …`."""
        return programs.run(self.env, "dpi-dualctl", "haproxy", *argv)

    def start_mitm(self) -> None:
        ports = [str(self.mitm_port), str(self.origins[0].server_port)]
        if self.kind == "stand-in":
            command = [sys.executable, "-I", "-c", STAND_IN, *ports]
        else:
            addon = programs.ROOT / "addons" / "dpi_buffer.py"
            command = [str(MITMDUMP), "-q", "--mode", f"reverse:http://127.0.0.1:{ports[1]}", "-s", str(addon)]
            command += ["--listen-host", "127.0.0.1", "-p", ports[0], "--set", f"confdir={self.folder}/mitmproxy"]
        env = {**self.env, "PYTHONPATH": str(programs.ROOT / "lib")}
        self.mitm = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=env)

    def start(self) -> None:
        """Everything; returns once requests are inspected."""
        self.start_mitm()
        done = self.ctl("apply")
        assert done.returncode == 0, done.stderr
        self.folder.chmod(0o755)  # HAProxy, no longer root, reaches its own socket in it
        self.haproxy = subprocess.Popen(["haproxy", "-db", "-q", "-f", self.env["DPI_DUAL_HAPROXY_CFG"]])
        assert eventually("HAProxy listens", self.listens)
        assert eventually("requests are inspected", lambda: self.get().inspected)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def signal_mitm(self, number: signal.Signals) -> None:
        assert self.mitm is not None
        self.mitm.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.mitm.wait()

    def connect(self, *protocols: str) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.folder / AUTHORITY))
        if protocols:
            context.set_alpn_protocols(list(protocols))
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return context.wrap_socket(raw, server_hostname=HOST)

    def get(self, path: str = "/", host: str = HOST, method: str = "GET", **headers: str) -> Answer:
        """One request over TLS; header names with `_` for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = self.connect()
        try:
            port = connection.sock.getsockname()[1]
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers={"Host": host, **given})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), port)
        finally:
            connection.close()

    def close(self) -> None:
        for process in (self.haproxy, self.mitm):
            if process is not None and process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                process.kill()
                process.wait()
        for origin in self.origins:
            origin.shutdown()
            origin.server_close()
