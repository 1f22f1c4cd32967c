"""What a lab prints while it starts: each step with the time it took, and in the end what to try."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import origin
from lab.network import LAN_INTERFACE, WAN_INTERFACE
from lab.router import USER


@contextmanager
def step(name: str) -> Iterator[None]:
    """Shows a step of the start and how long it took."""
    print(f"  {name} …", end="", flush=True)
    begin = time.monotonic()
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    _print_time(begin)


def steps(of: str, names: Iterator[str]) -> None:
    """The same for who names each step of its work before it takes it."""
    begin = None
    for name in names:
        _print_time(begin)
        print(f"  {of}: {name} …", end="", flush=True)
        begin = time.monotonic()
    _print_time(begin)


def _print_time(begin: float | None) -> None:
    if begin is not None:
        print(f" {1000 * (time.monotonic() - begin):.0f} ms", flush=True)


def invite(
    url: str, password: str, viewer_password: str, clients: int, duration_s: float | None, directory: Path
) -> None:
    """The address, the logins, and commands to try."""
    ends = f"ends by itself after {duration_s:g} s" if duration_s else "Ctrl-C ends it"
    print(
        f"\nThe lab runs: {clients} clients behind a router ({LAN_INTERFACE}, {WAN_INTERFACE}), "
        f"and an internet; {ends}.\n\n"
        f"  in a browser    {url}/   login {USER}, password {password}\n"
        f"                  (to look without changing: login viewer, password {viewer_password})\n"
        f"  ubus over HTTP  {url}/ubus   with the same logins\n"
        f"  HTTP API        curl -u {USER} {url}/api/dpi/status   (docs/rest.md)\n"
        "  in another terminal, in this directory:\n"
        "      lab/bin/ubus -v list 'dpi*'\n"
        "      lab/bin/ubus call dpi.status status\n"
        "      lab/bin/ubus call dpi.lan clients '{\"limit\": 2}'\n"
        "      lab/bin/dpi-dualctl status\n"
        "      lab/bin/dpi-dualctl alerts\n"
        "      lab/bin/dpi-dualctl threats 5\n"
        "      lab/bin/cscli decisions list -a\n"
        f"      lab/bin/visitor curl 'https://{origin.SHOP}/search?q=%3Cscript%3Ealert(1)%3C/script%3E'\n"
        f"  logs and files  {directory}\n",
        flush=True,
    )
