"""Runs Debian's real CrowdSec as a local API only, offline, in a directory of its own: for `make run` and tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.network import LabNetwork
from lab.record import ROOT
from lab.waiting import PATIENCE_S

sys.path.insert(0, str(ROOT / "lib"))

from dpi_dual import uci

#: Where the product looks unless told otherwise; in the router's network of its own it is free.
ROUTER_PORT = 8080
ROUTER_NAME = "dpi-dual-lab"

#: No entry for the central API (`online_client`), no hub, no agent: it talks to nobody but us.
_CONFIG = """\
common:
  daemonize: false
  log_media: stdout
  log_level: warning
config_paths:
  config_dir: {directory}
  data_dir: {directory}
  simulation_path: {directory}/simulation.yaml
  hub_dir: {directory}/hub
  index_path: {directory}/hub/.index.json
  notification_dir: {directory}/notifications
  plugin_dir: {directory}/plugins
db_config:
  type: sqlite
  db_path: {directory}/crowdsec.db
  use_wal: true
  log_level: warning
  flush:
    max_items: 5000
    max_age: 7d
api:
  client:
    credentials_path: {directory}/agent.yaml
  server:
    log_level: warning
    listen_uri: 127.0.0.1:{port}
    profiles_path: {directory}/profiles.yaml
prometheus:
  enabled: false
"""

#: Addresses as Debian's own profile has it; networks as newer releases have them beside it.
_PROFILES = """\
name: addresses
filters:
 - Alert.Remediation == true && Alert.GetScope() == "Ip"
decisions:
 - type: ban
   duration: 4h
on_success: break
---
name: networks
filters:
 - Alert.Remediation == true && Alert.GetScope() == "Range"
decisions:
 - type: ban
   duration: 4h
on_success: break
"""

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class CrowdsecError(RuntimeError):
    """What is wrong, in words for who runs the lab."""


def missing() -> str:
    """Why CrowdSec cannot be run here; empty if it can."""
    names = [name for name in ("crowdsec", "cscli") if shutil.which(name, path=_PATH) is None]
    return f"{' and '.join(names)} not installed (Debian's package crowdsec; lab/bootstrap lab)" if names else ""


@dataclass
class LocalApi:
    """One CrowdSec; `directory` holds its configuration and database."""

    directory: Path
    port: int
    process: subprocess.Popen[Any] | None = None

    @property
    def config(self) -> Path:
        return self.directory / "config.yaml"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        """Starts it in the foreground: for a supervisor, or inside a network namespace."""
        return [shutil.which("crowdsec", path=_PATH) or "crowdsec", "-c", str(self.config), "-no-cs"]

    def prepare(self) -> None:
        """Writes the configuration; what is in the database stays."""
        (self.directory / "hub").mkdir(parents=True, exist_ok=True)
        self.config.write_text(_CONFIG.format(directory=self.directory, port=self.port))
        (self.directory / "profiles.yaml").write_text(_PROFILES)
        (self.directory / "simulation.yaml").write_text("simulation: off\n")
        self._register_cscli()

    def _register_cscli(self) -> None:
        """`cscli decisions` asks over HTTP too: it needs a login of its own."""
        (self.directory / "agent.yaml").touch(0o600)
        self.cscli(
            "machines", "add", "cscli", "--auto", "--force", "-u", self.url, "-f", f"{self.directory}/agent.yaml"
        )

    def forget(self) -> None:
        """An empty database, as after a new installation; only while it is stopped. Other logins and keys are gone."""
        for file in self.directory.glob("crowdsec.db*"):
            file.unlink()
        self._register_cscli()

    def cscli(self, *arguments: str) -> str:
        """Output of CrowdSec's own command; `CalledProcessError` when it fails."""
        program = shutil.which("cscli", path=_PATH) or "cscli"
        command = [program, "-c", str(self.config), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
        except subprocess.CalledProcessError as error:
            error.add_note(str(error.stderr)[-500:])
            raise
        return done.stdout

    def add_machine(self, name: str, password: str) -> None:
        self.cscli("machines", "add", name, "--password", password, "--force", "-f", str(self.directory / "made.yaml"))

    def add_bouncer(self, name: str) -> str:
        """The new key."""
        return self.cscli("bouncers", "add", name, "-o", "raw").strip()

    def start(self) -> None:
        """Starts it here and waits until it answers."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.directory / "log").read_text(errors="replace")[-1500:]
                self.stop()
                raise RuntimeError(f"crowdsec did not start: {said}")
            time.sleep(0.02)

    def answers(self) -> bool:
        """True once the API is up."""
        try:
            urllib.request.urlopen(f"{self.url}/v1/decisions", timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 403  # it wants a key
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


def configure(network: LabNetwork, config_dir: str, whitelisted: list[str]) -> LocalApi:
    """What the router's local API is to be started with; the product shall have it ban who goes on attacking."""
    api = LocalApi(network.directory / "crowdsec", ROUTER_PORT)
    api.prepare()
    uci.set_options("dpi-dual", "correlation", {"auto_ban": "1"}, config_dir)
    uci.set_options("dpi-dual", "whitelist", {"ip": whitelisted}, config_dir)
    return api


def register(network: LabNetwork, api: LocalApi) -> None:
    """Has the router get its login and key by its own command; raises CrowdsecError with its words."""
    command = [sys.executable, str(ROOT / "sbin" / "dpi-dualctl"), "crowdsec", "setup"]
    done = network.router.run(*command, "--config", str(api.config), "--name", ROUTER_NAME, check=False)
    if done.returncode != 0:
        raise CrowdsecError((done.stderr or done.stdout).strip())


def serves(network: LabNetwork, api: LocalApi) -> bool:
    """Whether the router's local API takes a login and answers."""
    program = shutil.which("cscli", path=_PATH) or "cscli"
    return network.router.run(program, "-c", str(api.config), "decisions", "list", check=False).returncode == 0


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_crowdsec() -> Iterator[LocalApi]:
    """A LAPI with an empty database on a port of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dpi-crowdsec-") as name:
        api = LocalApi(Path(name), free_port())
        api.prepare()
        api.start()
        try:
            yield api
        finally:
            api.stop()
