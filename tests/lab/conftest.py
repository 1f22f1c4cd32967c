"""A gateway of our own in a process of its own, with plugins made for a test."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from lab.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parent.parent.parent
NULL_SESSION = "0" * 32


@dataclass
class Gateway:
    """One running gateway."""

    process: subprocess.Popen[str]
    port: int
    socket: Path
    directory: Path
    said: list[str]

    def post(self, document: Any, path: str = "/ubus", headers: dict[str, str] | None = None) -> Any:
        """What comes back for one POST of this document (text is sent as it is)."""
        body = document if isinstance(document, (str, bytes)) else json.dumps(document)
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", path, body, headers or {})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def rpc(self, sid: str, name: str, method: str, arguments: dict[str, Any] | None = None) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": [sid, name, method, arguments or {}]}
        answer = self.post(request)
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == 1
        return answer.get("result", answer.get("error"))

    def login(self, password: str = "secret") -> str:
        status, session = self.rpc(NULL_SESSION, "session", "login", {"username": "root", "password": password})
        assert status == 0
        return str(session["ubus_rpc_session"])

    def ubus(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`lab/bin/ubus` with these arguments; standard error is not a terminal."""
        return subprocess.run(
            [ROOT / "lab" / "bin" / "ubus", *arguments],
            env={**os.environ, "DPI_LAB_UBUS_SOCKET": str(self.socket)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def run_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Starts gateways; they are ended after the test, and must then end cleanly."""
    started: list[Gateway] = []

    def start(plugins: dict[str, str] | Path, acl: dict[str, Any] | Path | None = None) -> Gateway:
        directory = plugins if isinstance(plugins, Path) else tmp_path / "rpcd"
        if isinstance(plugins, dict):
            directory.mkdir()
            for name, text in plugins.items():
                (directory / name).write_text(text)
                (directory / name).chmod(0o755)
        acl_directory = acl if isinstance(acl, Path) else tmp_path / "acl.d"
        if not isinstance(acl, Path):
            acl_directory.mkdir()
            (acl_directory / "test.json").write_text(json.dumps(acl or {}))
        password = tmp_path / "password"
        password.write_text("secret\n")
        socket = tmp_path / "ubus.sock"
        command = [sys.executable, "-m", "lab.gateway", "--plugins", directory, "--acl", acl_directory, "--port", "0"]
        command += ["--socket", socket, "--password-file", password]
        log = tmp_path / "gateway.log"
        with log.open("w") as errors:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        ready = re.match(r"ready on 127\.0\.0\.1:(\d+) ", line)
        assert ready, f"{line}{log.read_text()}"
        gateway = Gateway(process, int(ready[1]), socket, tmp_path, log.read_text().splitlines())
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.process.terminate()
        assert gateway.process.wait(timeout=PATIENCE_S) == 0
        assert gateway.process.stdout is not None
        gateway.process.stdout.close()
        assert not gateway.socket.exists()
