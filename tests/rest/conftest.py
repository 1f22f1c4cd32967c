"""The HTTP API as the lab serves it: a real engine, and the gateway that runs the CGI program as uhttpd does."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from lab.engine import RunningEngine, running_engine
from lab.gateway.client import Client

ROOT = Path(__file__).resolve().parents[2]
ACL = ROOT / "luci-app-dpi-dual" / "root" / "usr" / "share" / "rpcd" / "acl.d"


@dataclass(frozen=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True)
class Api:
    """A running gateway and how to ask it."""

    port: int
    socket: Path
    engine: RunningEngine

    def ask(self, verb: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(verb, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """As root, unless the headers say who."""
        return self.ask("GET", f"/api/dpi{path}", **self._as_root(headers))

    def replay(self, body: bytes | None = b"{}", path: str = "/replay/192.0.2.1", **headers: str) -> Answer:
        given = {"Content_Type": "application/json", **self._as_root(headers)}
        return self.ask("POST", f"/api/dpi{path}", body, **given)

    def _as_root(self, headers: dict[str, str]) -> dict[str, str]:
        return headers if "Authorization" in headers else {**headers, "Authorization": f"Bearer {self.login('root')}"}

    def login(self, name: str, timeout: int = 300) -> str:
        with Client(str(self.socket)) as client:
            arguments = {"username": name, "password": f"of-{name}", "timeout": timeout}
            return str(client.call("session", "login", arguments)["ubus_rpc_session"])

    def sessions(self) -> int:
        with Client(str(self.socket)) as client:
            return len(client.answers("session", "list"))

    def forget_logins(self) -> None:
        """The count of tried passwords begins anew."""
        (self.engine.directory / "run" / "rest-logins.json").unlink(missing_ok=True)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode("ascii")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    place = tmp_path_factory.mktemp("gateway")
    for name in ("root", "viewer"):
        (place / name).write_text(f"of-{name}\n")
    with running_engine() as engine:
        command = [sys.executable, "-m", "lab.gateway", "--acl", ACL, "--port", "0", "--socket", place / "ubus.sock"]
        command += ["--password-file", place / "root", "--viewer-password-file", place / "viewer"]
        with (place / "log").open("w") as log:
            gateway = subprocess.Popen(
                command, cwd=ROOT, env=engine.environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert gateway.stdout is not None
        ready = re.match(r"ready on 127\.0\.0\.1:(\d+) ", gateway.stdout.readline())
        assert ready, (place / "log").read_text()
        try:
            yield Api(int(ready[1]), place / "ubus.sock", engine)
        finally:
            gateway.terminate()
            assert gateway.wait(timeout=60) == 0
            gateway.stdout.close()
