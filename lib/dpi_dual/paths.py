"""Where things live on the system; each place can be moved by one environment variable (lab, tests)."""

# `posix`, not `os`: an rpcd plugin imports this module on every call, and `os` alone costs it a fifth of its start.
from posix import environ


def _place(variable: str, default: str) -> str:
    return environ.get(variable.encode(), default.encode()).decode()


#: UCI directory: `dpi-dual` and `dpi-dual-secrets`, and the platform's own `dhcp`, `network`, `firewall`.
CONFIG_DIR = _place("DPI_DUAL_CONFIG_DIR", "/etc/config")

#: Run-time directory, mode 0750: the engine's control socket and its lock file.
RUN_DIR = _place("DPI_DUAL_RUN_DIR", "/var/run/dpi-dual")

#: One JSON line in, one JSON line out; see `engine/control.py`.
ENGINE_SOCKET = RUN_DIR + "/engine.sock"

#: What `start`, `stop` and `restart` run; procd's init script on OpenWrt.
INIT_SCRIPT = _place("DPI_DUAL_INIT", "/etc/init.d/dpi-dual")

#: netifyd's own default agent socket.
NETIFYD_SOCKET = _place("DPI_DUAL_NETIFYD_SOCKET", "/var/run/netifyd/netifyd.sock")
