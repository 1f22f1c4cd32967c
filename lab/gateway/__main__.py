"""`python -m lab.gateway`: the gateway as a process of its own; ends on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from lab.gateway.bus import Bus
from lab.gateway.cgi import cgi_handler
from lab.gateway.http import Server, ubus_handler
from lab.gateway.local import LocalServer
from lab.gateway.sessions import Login, Sessions, acl_files
from lab.gateway.site import ACL as LUCI_ACL
from lab.gateway.site import routes

ROOT = Path(__file__).resolve().parent.parent.parent
CGI = ROOT / "www" / "cgi-bin" / "dpi-dual"
OWN_ACL = ROOT / "lab" / "acl.d"


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.gateway", description=__doc__)
    parser.add_argument("--plugins", type=Path, default=ROOT / "rpcd", help="directory of rpcd exec plugins")
    parser.add_argument("--acl", type=Path, action="append", default=[], help="an acl.d directory (may be repeated)")
    parser.add_argument("--socket", type=Path, required=True, help="unix socket for lab/bin/ubus")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="TCP port on 127.0.0.1; 0 picks a free one and prints it")
    where.add_argument("--listen-fd", type=int, help="a TCP socket that is already bound and was inherited")
    parser.add_argument("--user", default="root")
    parser.add_argument("--password-file", type=Path, help="holds the password; without it nobody can log in")
    parser.add_argument("--viewer-password-file", type=Path, help="of a second login, `viewer`, that may only look")
    parser.add_argument("--config", type=Path, help="UCI's directory; with it the LuCI pages are served")
    parser.add_argument("--init", help="the init script that is told to reload after a commit")
    return parser.parse_args(argv)


def _listener(options: argparse.Namespace) -> socket.socket:
    if options.listen_fd is not None:
        return socket.socket(fileno=options.listen_fd)
    return socket.create_server(("127.0.0.1", options.port))


async def _serve(options: argparse.Namespace) -> None:
    logins = []
    if options.password_file is not None:
        logins.append(Login(options.user, options.password_file.read_text(encoding="utf-8").strip()))
    if options.viewer_password_file is not None:
        logins.append(Login("viewer", options.viewer_password_file.read_text(encoding="utf-8").strip(), write=()))
    own = [OWN_ACL] if options.config is None else [OWN_ACL, LUCI_ACL]
    bus = Bus(options.plugins, Sessions(logins, acl_files(*own, *options.acl)))
    pages = routes(bus, options.config, options.init) if options.config is not None else {}
    rest = {place: cgi_handler(CGI, place, options.socket) for place in ("/api/dpi", "/cgi-bin/dpi-dual")}
    local, web = LocalServer(bus), Server({"/ubus": ubus_handler(bus), **rest, **pages})
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with _listener(options) as listener:
        port = listener.getsockname()[1]
        await web.start(listener)
        await local.start(options.socket)
        print(f"ready on 127.0.0.1:{port} with {', '.join(item.name for item in bus.lookup())}", flush=True)
        try:
            await stop.wait()
        finally:
            web.close()
            local.close()
            options.socket.unlink(missing_ok=True)
            await bus.close()


def main(argv: list[str]) -> int:
    options = _arguments(argv)
    try:
        asyncio.run(_serve(options))
    except (OSError, ValueError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
