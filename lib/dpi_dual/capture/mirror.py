"""Makes and removes the mirror with pyroute2: `python3 -m dpi_dual.capture.mirror ensure|remove|status …`.

A short-lived process prints one JSON object and exits, so that the engine never holds pyroute2 in memory.
What there is to do comes from `mirror_plan`; here it is done, then looked at again until nothing is left.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from dpi_dual import paths
from dpi_dual.capture import mirror_plan as plan
from dpi_dual.capture import mirror_status, offload, tc
from dpi_dual.capture.links import IFF_MULTICAST, IFF_NOARP, IFF_UP, Link
from dpi_dual.capture.netlink import NLM_F_CREATE, NLM_F_EXCL, Netlink

ACTIONS = ("ensure", "remove", "status")
MODES = ("software", "hardware")

_ROUNDS = 4
_LOCK_WAIT_S = 15.0


class MirrorError(Exception):
    """The mirror could not be made or removed; `code` for programs, the message for the owner."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def perform(action: str, interface: str, sources: Sequence[str], mode: str = "software") -> dict[str, Any]:
    """Does one action and answers with the status after it, or with `error` and `code`. Loads pyroute2 unless `status`.

    `ensure`: exactly one filter a direction on each source, to the capture interface, and nothing of ours
    elsewhere. `remove`: nothing of ours anywhere. Both may be called at any time, any number of times.
    """
    try:
        with Netlink() as netlink:
            if action != "status":
                with _alone():
                    settle(netlink, action, interface, sources, mode)
            return status(netlink, interface, sources, mode)
    except MirrorError as error:
        return {"error": str(error), "code": error.code}
    except PermissionError as error:
        return {"error": f"not permitted to change or see the mirror ({error}); root is", "code": "not_permitted"}
    except ImportError as error:
        return {
            "error": f"the mirror cannot be made without pyroute2 ({error})",
            "code": "pyroute2_missing",
            "hint": "install python3-pyroute2",
        }
    except OSError as error:
        return {"error": f"the kernel refused a question about the mirror: {error}", "code": "kernel_error"}


def status(netlink: Netlink, interface: str, sources: Sequence[str], mode: str) -> dict[str, Any]:
    """The mirror as the kernel has it now, with its problems."""
    view = plan.look(netlink, interface, sources)
    hidden = offload.problems(sources if mode == "software" else (interface,))
    return mirror_status.report(view, mode, [*mirror_status.problems(view, mode), *hidden])


def settle(netlink: Netlink, action: str, interface: str, sources: Sequence[str], mode: str) -> None:
    """Looks and changes until there is nothing left to change; `MirrorError` with the kernel's words if that fails."""
    refused: list[str] = []
    for _ in range(_ROUNDS):
        view = plan.look(netlink, interface, sources)
        if action == "remove":
            if plan.is_removed(view):
                return
            refused = _remove(netlink, view)
        else:
            if plan.is_settled(view, mode):
                return
            refused = _ensure(netlink, view, mode)
    view = plan.look(netlink, interface, sources)
    if plan.is_removed(view) if action == "remove" else plan.is_settled(view, mode):
        return
    words = "; ".join(dict.fromkeys(refused)) or "something else changes it at the same time"
    raise MirrorError(
        "mirror_failed", f"the mirror could not be {'removed' if action == 'remove' else 'made'}: {words}"
    )


def _remove(netlink: Netlink, view: plan.View) -> list[str]:
    refused = []
    for source in (*view.sources, *view.former):
        refused += apply(netlink, plan.steps(source, 0, False))
    for link in (*view.stray, *([view.capture] if view.capture else [])):
        refused += delete_capture(link)
    return refused


def _ensure(netlink: Netlink, view: plan.View, mode: str) -> list[str]:
    refused = []
    for source in view.former:
        refused += apply(netlink, plan.steps(source, 0, False))
    for link in view.stray:
        refused += delete_capture(link)
    if mode == "hardware" or any(plan.objection(view)):
        for source in view.sources:
            refused += apply(netlink, plan.steps(source, 0, False))
        if mode == "hardware" and view.capture is not None:
            refused += delete_capture(view.capture)
        return refused
    if view.capture is None:
        refused += create_capture(view.interface)
        view = plan.look(netlink, view.interface, [source.name for source in view.sources])
    if view.capture is None:
        return refused
    if plan.is_ours(view.capture) and not plan.is_dressed(view.capture):
        refused += dress_capture(view.capture)
    for source in view.sources:
        refused += apply(netlink, plan.steps(source, view.capture.index, source.name in view.shapers))
    return refused


# --- the kernel: interfaces through pyroute2, traffic control in one batch


def create_capture(name: str) -> list[str]:
    """Makes the capture interface, of the first kind that this kernel knows; what was refused if none.

    Its MAC address is set in the same request, so that it is known as ours even after a crash right here.
    """
    from pyroute2 import IPRoute, NetlinkError

    refused = []
    for kind in plan.CAPTURE_KINDS:
        wish: dict[str, Any] = {"ifname": name, "kind": kind, "address": plan.MARK_MAC}
        if kind == "veth":
            wish["peer"] = {"ifname": peer_name(name), "address": plan.PEER_MAC}
        try:
            with IPRoute() as ip:
                ip.link("add", **wish)
        except NetlinkError as error:
            if error.code == errno.EEXIST:
                return []
            refused.append(f"{kind} interface {name}: {os.strerror(error.code)}")
        else:
            return []
    return refused


def peer_name(name: str) -> str:
    """The other end of a capture interface that had to be a veth pair."""
    return name[:10] + "-peer"


def dress_capture(link: Link) -> list[str]:
    """Switches the capture interface on, silent: no IPv6 of its own, no ARP, no multicast."""
    from pyroute2 import IPRoute, NetlinkError

    refused = []
    ends = [(link.index, link.name)]
    if link.kind == "veth":
        # The copies come out at the other end and must stop there: without ARP and IPv6, and with source
        # addresses that are not routed that way, the kernel takes none of them for its own.
        ends.append((link.lower, peer_name(link.name)))
        _sysctl("ipv4", peer_name(link.name), "rp_filter", "1")
    for index, name in ends:
        try:
            _sysctl("ipv6", name, "disable_ipv6", "1")
        except OSError as error:  # a container may not change settings; there a dummy or ifb is silent enough
            if link.kind == "veth":
                raise
            refused.append(f"switching IPv6 off on {name}: {error.strerror}")
        wish = {"flags": IFF_UP | IFF_NOARP, "change": IFF_UP | IFF_NOARP | IFF_MULTICAST, "ifalias": plan.ALIAS}
        try:
            with IPRoute() as ip:
                ip.link("set", index=index, **wish)
        except NetlinkError as error:
            refused.append(f"switching {name} on: {os.strerror(error.code)}")
    return refused


def _sysctl(family: str, interface: str, name: str, value: str) -> None:
    file = Path("/proc/sys/net") / family / "conf" / interface / name
    try:
        file.write_text(value)
    except FileNotFoundError:  # a kernel without IPv6, or the interface has just gone
        return


def delete_capture(link: Link) -> list[str]:
    """Deletes a capture interface if it is one of ours; an owner's own of that name stays."""
    from pyroute2 import IPRoute, NetlinkError

    if not plan.is_ours(link):
        return []
    try:
        with IPRoute() as ip:
            ip.link("del", index=link.index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            return [f"deleting {link.name}: {os.strerror(error.code)}"]
    return []


def apply(netlink: Netlink, steps: Iterable[plan.Step]) -> list[str]:
    """Sends all steps of one interface as one batch: the kernel does them all or none, whatever becomes of us.

    Not through pyroute2: its filters know no cookie and always `pipe`, its batches lose answers (0.9.7). A filter
    is asked for as matchall and, at the same priority, as u32: where matchall exists, the second is refused
    because the kinds differ; where it does not, the first is. So a refusal matters only if something is missing after.
    """
    messages = [message for step in steps for message in _messages(step)]
    if not messages:
        return []
    return [error.strerror or str(error) for error in netlink.batch(messages) if error is not None]


def _messages(step: plan.Step) -> list[tuple[int, int, bytes]]:
    match step:
        case plan.AddHook(index, kind):
            body = tc.request(index, tc.HOOK_HANDLE, tc.HOOK_PARENT, 0, kind)
            return [(tc.RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body)]
        case plan.DeleteHook(index, kind):
            return [(tc.RTM_DELQDISC, 0, tc.request(index, tc.HOOK_HANDLE, tc.HOOK_PARENT, 0, kind))]
        case plan.DeleteFilter(index, parent, priority, protocol, handle, kind):
            return [(tc.RTM_DELTFILTER, 0, tc.request(index, handle, parent, tc.filter_info(priority, protocol), kind))]
        case plan.AddFilter(index, parent, priority, target, cookie):
            bodies = [
                tc.request(index, 0, parent, tc.filter_info(priority), kind, tc.mirror_options(kind, target, cookie))
                for kind in ("matchall", "u32")
            ]
            return [(tc.RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, body) for body in bodies]


@contextmanager
def _alone() -> Iterator[None]:
    """One change of the mirror at a time on this machine; the lock is gone with its holder."""
    try:
        Path(paths.RUN_DIR).mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = (Path(paths.RUN_DIR) / "mirror.lock").open("w")
    except PermissionError:
        raise
    except OSError as error:
        raise MirrorError("mirror_lock", f"the lock file of the mirror cannot be made: {error}") from error
    with lock as file:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise MirrorError("mirror_busy", "another change of the mirror does not come to its end") from None
                time.sleep(0.02)
        yield


# --- the command


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise MirrorError("bad_arguments", message)


def main(argv: Sequence[str] | None = None) -> int:
    """The command: prints one JSON object; 0, or 1 with `error` in it."""
    parser = _Arguments(prog="dpi_dual.capture.mirror", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("--interface", required=True)
    parser.add_argument("--source", action="append", default=[])
    parser.add_argument("--mode", choices=MODES, default="software")
    try:
        given = parser.parse_args(argv)
        answer = perform(given.action, given.interface, given.source, given.mode)
    except MirrorError as error:
        answer = {"error": str(error), "code": error.code}
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
