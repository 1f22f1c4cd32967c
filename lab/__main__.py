"""`python -m lab run`: a router in network namespaces that analyses real traffic, until Ctrl-C."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

#: What the lab calls, and the Debian package that has it.
PROGRAMS = {
    "ip": "iproute2",
    "nft": "nftables",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ethtool": "ethtool",
    "openssl": "openssl",
    "ping": "iputils-ping",
    "dnsmasq": "dnsmasq-base",
    "dropbear": "dropbear-bin",
    "dbclient": "dropbear-bin",
    "busybox": "busybox",
    "haproxy": "haproxy",
    "crowdsec": "crowdsec",
    "cscli": "crowdsec",
}

DEFAULT_PORT = 8080

#: How the listening socket and the lock survive the change into a user namespace.
LISTENER_VARIABLE = "DPI_LAB_LISTENER"
LOCK_VARIABLE = "DPI_LAB_LOCK"


def _seconds(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above zero")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return value


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="start the lab")
    run.add_argument("--duration", type=_seconds, metavar="S", help="stop by itself after that many seconds")
    run.add_argument("--report", type=Path, metavar="FILE", help="write what happened to this file, as JSON")
    run.add_argument(
        "--port", type=_port, metavar="N", help=f"port on 127.0.0.1 (default {DEFAULT_PORT} or a free one)"
    )
    run.add_argument("--rate", type=float, default=3.0, help="things that each client starts a second (default 3)")
    run.add_argument("--checkpoint", type=int, metavar="S", help="how often state is copied to flash (default 900)")
    return parser.parse_args(argv)


def _listener(port: int | None) -> socket.socket:
    """The HTTP port, bound here and now: the gateway lives in a network that this one cannot reach."""
    try:
        return socket.create_server(("127.0.0.1", DEFAULT_PORT if port is None else port))
    except OSError as error:
        if port is not None:
            raise SystemExit(f"lab: port {port} on 127.0.0.1: {error.strerror}") from error
        return socket.create_server(("127.0.0.1", 0))


def _refuse_without_programs() -> None:
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        # Not apt-get alone: Debian's crowdsec would register with its vendor, and start.
        raise SystemExit(f"lab: missing system packages: {' '.join(missing)}. As root:  lab/bootstrap lab")
    from lab.published import why_not

    if problem := why_not():
        raise SystemExit(f"lab: {problem}")


def _enter_user_namespace(listener: socket.socket, lock: int) -> None:
    """Becomes root in a user namespace of our own: does not return, or explains why it cannot be."""
    from lab.network import rootless

    probe = subprocess.run(["unshare", "-Urnm", "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        raise SystemExit(
            f"lab: needs root, or unprivileged user namespaces, and this system gives neither "
            f"({probe.stderr.strip()}).\n"
            "Either run it as root, or, as root, allow them: sysctl -w kernel.unprivileged_userns_clone=1 "
            "(on Ubuntu: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0)."
        )
    for descriptor in (listener.fileno(), lock):
        os.set_inheritable(descriptor, True)
    os.environ[LISTENER_VARIABLE] = str(listener.fileno())
    os.environ[LOCK_VARIABLE] = str(lock)
    command = rootless([sys.executable, "-m", "lab", *sys.argv[1:]])
    os.execvp(command[0], command)


def main(argv: list[str]) -> int:
    options = _arguments(argv)
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    os.chdir(Path(__file__).resolve().parent.parent)
    _refuse_without_programs()

    from lab import record
    from lab.network import why_not

    entered = LISTENER_VARIABLE in os.environ
    if entered:
        listener = socket.socket(fileno=int(os.environ.pop(LISTENER_VARIABLE)))
        lock = int(os.environ.pop(LOCK_VARIABLE))
        for descriptor in (listener.fileno(), lock):
            os.set_inheritable(descriptor, False)
    else:
        try:
            lock = record.lock()
        except record.AlreadyRunningError as error:
            raise SystemExit(f"lab: {error}") from error
        except OSError as error:
            raise SystemExit(f"lab: cannot write to {record.DIRECTORY}: {error.strerror}") from error
        for line in record.clear_stale():
            print(f"lab: {line}", flush=True)
        listener = _listener(options.port)
    if problem := why_not():
        if entered or os.geteuid() == 0:
            raise SystemExit(f"lab: cannot make network namespaces: {problem}")
        _enter_user_namespace(listener, lock)

    from lab.run import Options, run

    with listener:
        return run(
            Options(listener, options.duration, options.report, options.rate, options.checkpoint, rootless=entered)
        )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # before there was anything to remove
        sys.exit(130)
