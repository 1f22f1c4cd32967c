"""The router's MITM stream: HAProxy as the product configures it, and mitmdump with the product's addon behind it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import certs
from lab.network import NAS, LabNetwork
from lab.origin import HOSTS, PORT
from lab.record import ROOT

sys.path.insert(0, str(ROOT / "lib"))

from dpi_dual import uci
from dpi_dual.mitm.haproxy_state import StateError, read_state

MITMDUMP = Path(sys.executable).with_name("mitmdump")
ADDON = ROOT / "addons" / "dpi_buffer.py"
HOST, MITM_PORT = "127.0.0.1", 8088

#: High enough that most attacks pass and only show as alerts, low enough that the gravest are seen to be refused.
BLOCK_THRESHOLD = 80

Run = Callable[..., subprocess.Popen[Any]]


class PublishedError(RuntimeError):
    """What is missing or wrong, in words for who runs the lab."""


def why_not() -> str | None:
    """What is not installed, and how to get it; None when all is there."""
    if MITMDUMP.exists():
        return None
    return (
        f"mitmproxy is not in {MITMDUMP.parent}. Install it:  {MITMDUMP.parent}/pip install "
        "'mitmproxy>=11' cryptography libmodsecurity   (or remove .venv; `make run` makes it anew)"
    )


def environment(directory: Path) -> dict[str, str]:
    """Where `dpi-dualctl haproxy apply` installs the configuration, and what it has reload it."""
    return {
        "DPI_DUAL_HAPROXY_CFG": str(directory / "haproxy.cfg"),
        "DPI_DUAL_HAPROXY_INIT": str(ROOT / "lab" / "bin" / "haproxy-init"),
    }


def configure(directory: Path, config_dir: str) -> None:
    """Certificates, and the UCI sections that publish the nas."""
    certs.bundle(directory, HOSTS, directory / "published")
    mitm = {"buffer_dir": str(directory / "buffer"), "listen": f"{HOST}:{MITM_PORT}"}
    mitm |= {"block_threats": "1", "block_threshold": str(BLOCK_THRESHOLD)}
    uci.set_options("dpi-dual", "mitm", mitm, config_dir)
    uci.set_options("dpi-dual", "haproxy", {"enabled": "1", "certificate": str(directory / "published")}, config_dir)
    for name in HOSTS:
        label = name.partition(".")[0]
        backend = {"name": label, "host": name, "address": f"{NAS}:{PORT}"}
        uci.add_section("dpi-dual", "backend", label, backend, config_dir)


def install(network: LabNetwork) -> None:
    """Has the product render, check and install HAProxy's configuration; raises PublishedError with its words."""
    # HAProxy gives up being root and must still reach its own sockets; nobody else is shown what is in here.
    network.directory.chmod(0o711)
    # It says there when mitmproxy comes and goes: that is not for the log of the machine that the lab runs on.
    network.router.mount_over(Path(os.devnull), "/dev/log")
    # Installed before HAProxy runs: there is nothing to reload.
    quiet = {**os.environ, "DPI_DUAL_HAPROXY_INIT": "/nonexistent"}
    command = [sys.executable, str(ROOT / "sbin" / "dpi-dualctl"), "haproxy", "apply"]
    done = network.router.run(*command, env=quiet, check=False)
    if done.returncode != 0:
        raise PublishedError(f"dpi-dualctl haproxy apply: {(done.stderr or done.stdout).strip()}")


def start_haproxy(directory: Path, run: Run) -> subprocess.Popen[Any]:
    """In the foreground, by the installed configuration."""
    return run("haproxy", "haproxy", "-db", "-q", "-f", str(directory / "haproxy.cfg"))


def start_mitmdump(directory: Path, run: Run) -> subprocess.Popen[Any]:
    """In reverse mode; the addon sends each request to its own origin."""
    settings = [f"confdir={directory}/mitmproxy", "termlog_verbosity=warn", "flow_detail=0"]
    command = [str(MITMDUMP), "--mode", f"reverse:http://{NAS}:{PORT}", "-s", str(ADDON)]
    command += ["--listen-host", HOST, "--listen-port", str(MITM_PORT)]
    command += [word for setting in settings for word in ("--set", setting)]
    return run("mitmdump", *command, env={**os.environ, "PYTHONPATH": str(ROOT / "lib")})


def inspects(run_dir: str) -> bool:
    """Whether HAProxy runs and finds mitmproxy well."""
    try:
        state = asyncio.run(read_state(f"{run_dir}-haproxy.sock"))
    except StateError:
        return False
    return state.mitm_up and state.check.startswith("L7OK")  # before its first check it is thought to be up
