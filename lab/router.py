"""The product on the lab's router: its environment, its configuration, and how its programs are started."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab import published, record
from lab.clock import with_own_clock
from lab.network import LAN_INTERFACE, WAN_INTERFACE
from lab.published import Run
from lab.record import ROOT

sys.path.insert(0, str(ROOT / "lib"))

from dpi_dual import uci

#: The real agent's updates come every 15 s; somebody who watches, or waits for a report, need not wait as long.
TICK_S = 5

TAP_INTERFACE = "tap0"
USER = "root"
ACL = ROOT / "luci-app-dpi-dual" / "root" / "usr" / "share" / "rpcd" / "acl.d"


def environment(directory: Path, run_number: str) -> dict[str, str]:
    """What every process of the lab has: where the product finds its files, and we our processes."""
    return {
        record.RUN_VARIABLE: run_number,
        "DPI_DUAL_CONFIG_DIR": str(directory / "config"),
        "DPI_DUAL_RUN_DIR": str(directory / "run"),
        "DPI_DUAL_NETIFYD_SOCKET": str(directory / "netifyd.sock"),
        "DPI_DUAL_INIT": str(ROOT / "lab" / "bin" / "dpi-dual-init"),
        **published.environment(directory),
        "DPI_LAB_SUPERVISOR": str(directory / "supervisor.sock"),
        "DPI_LAB_UBUS_SOCKET": str(directory / "ubus.sock"),
        "DPI_LAB_HOSTNAME": "lab-router",
        # events go out through `ubus send`, as on a router
        "PATH": f"{ROOT / 'lab' / 'bin'}:{os.environ['PATH']}",
    }


def configure(directory: Path, lease_file: Path, checkpoint_s: int | None) -> None:
    """A copy of the default UCI files that names the lab's own interfaces and directories, and where leases are."""
    config = directory / "config"
    config.mkdir(mode=0o700)
    for file in (ROOT / "config").iterdir():
        if os.access(file, os.R_OK):  # the file of secrets may be somebody else's, and is not needed
            shutil.copy(file, config)
    where = str(config)
    own = {name: str(directory / name) for name in ("stats_dir", "flow_dir", "state_dir")}
    if checkpoint_s is not None:
        own["checkpoint_interval"] = str(checkpoint_s)
    uci.set_options("dpi-dual", "settings", own, where)
    uci.set_options("dpi-dual", "tap", {"mirror_source": [WAN_INTERFACE], "interface": TAP_INTERFACE}, where)
    uci.set_options("dpi-dual", "lan", {"interface": [LAN_INTERFACE]}, where)
    published.configure(directory, where)
    uci.set_options("dpi-dual", "correlation", {"output": f"{own['stats_dir']}/correlated-threats.json"}, where)
    (config / "dhcp").write_text(f"config dnsmasq\n\toption leasefile '{lease_file}'\n")


def start_netifyd(directory: Path, run: Run) -> subprocess.Popen[Any]:
    """The stand-in for netifyd, on the LAN and on the copies of the WAN."""
    arguments = ["--socket", str(directory / "netifyd.sock"), "--internal", LAN_INTERFACE]
    arguments += ["--external", TAP_INTERFACE, "--tick", str(TICK_S)]
    return run("netifyd", sys.executable, "-m", "lab.netifyd", *arguments, env=with_own_clock())


def start_gateway(directory: Path, run: Run, listener: socket.socket) -> subprocess.Popen[Any]:
    """What stands for ubusd, rpcd, uhttpd and LuCI; it serves HTTP where `listener` is bound."""
    (directory / "ubus.sock").unlink(missing_ok=True)
    descriptor = listener.fileno()
    arguments = ["--socket", str(directory / "ubus.sock"), "--listen-fd", str(descriptor), "--user", USER]
    arguments += ["--acl", str(ACL), "--password-file", str(record.PASSWORD)]
    arguments += ["--viewer-password-file", str(record.VIEWER_PASSWORD)]
    arguments += ["--config", os.environ["DPI_DUAL_CONFIG_DIR"], "--init", os.environ["DPI_DUAL_INIT"]]
    return run("gateway", sys.executable, "-m", "lab.gateway", *arguments, pass_fds=(descriptor,))


def start_engine(run: Run) -> subprocess.Popen[Any]:
    """dpi-duald."""
    return run("engine", sys.executable, str(ROOT / "sbin" / "dpi-duald"), env=with_own_clock())
