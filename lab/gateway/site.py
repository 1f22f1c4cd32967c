"""The gateway's part that stands for LuCI: its ubus objects, its pages, its files."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from lab.gateway.bus import Bus
from lab.gateway.http import Handler, Request, Response
from lab.gateway.pages import MEDIA, RESOURCES, SCRIPT, Pages, Site
from lab.gateway.sessions import Answer
from lab.gateway.static import static_handler
from lab.gateway.status import Status
from lab.gateway.uci_object import METHODS, UciObject, reloader
from lab.record import ROOT

APPLICATION = ROOT / "luci-app-dpi-dual"
RUNTIME = ROOT / "lab" / "luci"
ACL = RUNTIME / "acl.d"

_NETWORK = Path("/sys/class/net")


def routes(bus: Bus, config: Path, init: str | None) -> dict[str, Handler]:
    """Puts LuCI's own objects on the bus; the handlers by path. `init reload` follows a commit."""
    uci = UciObject(config, bus.sessions, reloader(init))
    bus.add("uci", METHODS, uci.call)
    bus.add("luci", {"getFeatures": {}}, _luci)
    bus.add("luci-rpc", {"getNetworkDevices": {}}, _luci_rpc)
    site = Site(APPLICATION, RUNTIME, config, os.environ.get("DPI_LAB_HOSTNAME") or socket.gethostname())
    return {
        SCRIPT: Pages(bus, site).handle,
        RESOURCES: static_handler(RESOURCES, APPLICATION / "htdocs" / RESOURCES[1:], RUNTIME / "resources"),
        MEDIA: static_handler(MEDIA, RUNTIME / "theme"),
        "": to_login,
    }


async def to_login(request: Request) -> Response:
    """The bare address leads to the pages."""
    if request.path in ("", "/"):
        return Response(302, "Found", "text/html", b"", {"Location": SCRIPT})
    page = b"<h1>Not Found</h1>The requested URL was not found on this server."
    return Response(404, "Not Found", "text/html", page)


async def _luci(method: str, arguments: dict[str, Any]) -> Answer:
    return (Status.OK, {"ipv6": True}) if method == "getFeatures" else (Status.METHOD_NOT_FOUND, None)


async def _luci_rpc(method: str, arguments: dict[str, Any]) -> Answer:
    """The network interfaces of the router, as far as a list to choose from needs them."""
    if method != "getNetworkDevices":
        return Status.METHOD_NOT_FOUND, None
    devices = {path.name: {"name": path.name, "up": _is_up(path)} for path in sorted(_NETWORK.iterdir())[:200]}
    return Status.OK, devices


def _is_up(path: Path) -> bool:
    try:
        return bool(int((path / "flags").read_text(), 16) & 1)
    except (OSError, ValueError):
        return False
