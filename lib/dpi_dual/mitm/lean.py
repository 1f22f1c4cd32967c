"""Takes mitmproxy's own addons that have nothing to do here off the live path.

mitmproxy asks each of its 35 addons about each of a request's eight events, some 4 µs an addon and event: 0.5 ms of
the 1.4 ms that a request costs. Most exist for features that are switched off, and in a mitmdump stay so.
"""

from __future__ import annotations

from mitmproxy import ctx
from mitmproxy.tools.dump import DumpMaster

#: Addon (by its name in mitmproxy 11 and 12) → the options that give it something to do.
IDLE: dict[str, tuple[str, ...]] = {
    "anticache": ("anticache",),
    "anticomp": ("anticomp",),
    "blocklist": ("block_list",),
    "browser": (),
    "commandhistory": (),
    "comment": (),
    "cut": (),
    "dnsresolver": (),
    "dumper": ("flow_detail",),
    "errorcheck": (),
    "export": (),
    "keepserving": ("keepserving", "rfile", "client_replay", "server_replay"),
    "maplocal": ("map_local",),
    "mapremote": ("map_remote",),
    "modifybody": ("modify_body",),
    "modifyheaders": ("modify_headers",),
    "onboarding": (),
    "proxyauth": ("proxyauth",),
    "readfilestdin": ("rfile",),
    "save": ("save_stream_file",),
    "savehar": ("hardump",),
    "serverplayback": ("server_replay",),
    "stickyauth": ("stickyauth",),
    "stickycookie": ("stickycookie",),
    "stripdnshttpsrecords": (),
    "upstreamauth": ("upstream_auth",),
}


def _unused(option: str) -> bool:
    if option not in ctx.options:
        return False
    value: object = getattr(ctx.options, option)
    # The dumper's default is to print each flow; 0 (and `-q`) tells it not to.
    return value == (0 if option == "flow_detail" else ctx.options.default(option))


def make_lean() -> list[str]:
    """Leaves the idle ones out of the chain; returns their names. Only in mitmdump, and only in reverse mode."""
    if not isinstance(ctx.master, DumpMaster) or not all(mode.startswith("reverse:") for mode in ctx.options.mode):
        return []
    manager = ctx.master.addons
    dropped = []
    for name, options in IDLE.items():
        addon = manager.get(name)  # type: ignore[no-untyped-call]
        if addon in manager.chain and all(map(_unused, options)):
            dropped.append(addon)
    # Another list, not a shorter one: an event may be on its way along the old one.
    manager.chain = [addon for addon in manager.chain if addon not in dropped]
    return [type(addon).__name__ for addon in dropped]
