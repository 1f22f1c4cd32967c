"""The mirror in the words of the API: what the kernel has, and what an owner should know about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dpi_dual.capture import offload
from dpi_dual.capture.links import Link
from dpi_dual.capture.mirror_plan import DIRECTIONS, Source, View, behind, count, is_complete, is_ours, objection
from dpi_dual.model import Problem


def report(view: View, mode: str, found: Sequence[Problem]) -> dict[str, Any]:
    """The answer of `dpi.status mirror`."""
    return {
        **describe(view, mode),
        "offload": [problem.code for problem in found if problem.code in offload.CODES],
        "problems": [problem.answer() for problem in found],
    }


def describe(view: View, mode: str) -> dict[str, Any]:
    """What the kernel has and has counted.

    `packets_mirrored` and `bytes_mirrored` count from when the filters were made; a source that comes back
    begins at 0. `drops` are packets that the kernel could not copy (capture interface down or full): not the
    `dropped` of an ifb, which counts every copy that nothing but a capture wanted, and means nothing.
    In hardware mode the switch makes the copies and the interface's own counters are all there is.
    """
    link = view.capture
    target = link.index if link else 0
    sources = [_source(source, target) for source in view.sources] if mode == "software" else []
    ways = [source[direction] for source in sources for direction in DIRECTIONS]
    if mode == "software":
        packets, octets = sum(way["packets"] for way in ways), sum(way["bytes"] for way in ways)
        drops = sum(way["drops"] + way["overlimits"] for way in ways)
        packets = max(0, packets - drops)
        complete = is_complete(view)
    else:
        packets, octets, drops = (link.rx_packets, link.rx_bytes, link.rx_dropped) if link else (0, 0, 0)
        complete = link is not None and link.up
    return {
        "mode": mode,
        "interface": view.interface,
        "exists": link is not None,
        "up": link is not None and link.up,
        "kind": link.kind if link else "",
        "ours": link is not None and is_ours(link),
        "complete": complete,
        "sources": sources,
        "packets_mirrored": packets,
        "bytes_mirrored": octets,
        "drops": drops,
        "statistics": _statistics(link),
    }


def _source(source: Source, target: int) -> dict[str, Any]:
    return {
        "name": source.name,
        "exists": source.link is not None,
        "up": source.link is not None and source.link.up,
        "hook": source.hook,
        "clsact": source.hook == "clsact",
        "hook_ours": source.hook_is_ours,
        **{direction: _direction(source, direction, target) for direction in DIRECTIONS},
    }


def _direction(source: Source, direction: str, target: int) -> dict[str, Any]:
    good = [entry for entry in source.ours(direction) if target and entry.target == target]
    packets = sum(entry.packets for entry in good)
    # At ingress the kernel counts from the IP header on; the copy has its Ethernet header back.
    headers = 14 * packets if direction == "ingress" else 0
    return {
        "present": bool(good),
        "count": len(source.ours(direction)),
        "kind": good[0].kind if good else "",
        "priority": good[0].priority if good else 0,
        "packets": packets,
        "bytes": sum(entry.bytes for entry in good) + headers,
        "drops": sum(entry.drops for entry in good),
        "overlimits": sum(entry.overlimits for entry in good),
    }


def _statistics(link: Link | None) -> dict[str, int]:
    names = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_dropped", "tx_dropped")
    return {name: getattr(link, name) if link else 0 for name in names}


def problems(view: View, mode: str) -> list[Problem]:
    """What is wrong with the mirror at this moment; empty when all of it is there."""
    link, name = view.capture, view.interface
    if mode == "hardware":
        if link is None:
            return [
                Problem(
                    "capture_interface_missing",
                    f"there is no interface {name}: nothing reaches the TAP stream",
                    "set dpi-dual.tap.interface to the port that the switch mirrors to, or mirror_mode to 'software'",
                )
            ]
        if not link.up:
            return [_capture_down(name)]
        return []
    code, sentence = objection(view)
    if code:
        hint = "set dpi-dual.tap.interface to a name that nothing else uses, for example tap0"
        return [Problem(code, f"nothing is mirrored: {sentence}", hint, "error")]
    found = []
    if not view.sources:
        text = "nothing is mirrored: dpi-dual.tap.mirror_source names no interface"
        found.append(Problem("mirror_source_missing", text, "set it to the WAN interface"))
    if link is None:
        found.append(Problem("capture_interface_missing", f"the capture interface {name} is not there"))
    elif not link.up:
        found.append(_capture_down(name))
    for source in view.sources:
        found.extend(_source_problems(source, link, source.name in view.shapers))
    return found


def _capture_down(name: str) -> Problem:
    text = f"the capture interface {name} is switched off: no copy gets through"
    return Problem("capture_interface_down", text, f"ip link set {name} up")


def _source_problems(source: Source, capture: Link | None, shaped: bool) -> Iterator[Problem]:
    name = source.name
    if source.link is None:
        yield Problem(
            "mirror_source_missing",
            f"there is no interface {name}: its traffic is mirrored as soon as it appears",
            "if it never will, set dpi-dual.tap.mirror_source to the WAN interface",
            details={"interface": name},
        )
        return
    if not source.link.up:
        yield Problem("mirror_source_down", f"the mirrored interface {name} is down", "", "info", {"interface": name})
    if not source.link.ethernet:
        yield Problem(
            "mirror_source_not_ethernet",
            f"{name} is not mirrored: its packets have no Ethernet header (PPP, WireGuard …), which a DPI agent needs",
            "set dpi-dual.tap.mirror_source to the Ethernet interface that carries it",
            "error",
            {"interface": name},
        )
        return
    if source.hook == "ingress":
        why = "SQM shapes it and" if shaped else "an older 'ingress' qdisc is on it, which"
        yield Problem(
            "mirror_egress_impossible",
            f"only what arrives on {name} is mirrored, not what it sends: {why} leaves no room for 'clsact'",
            "let whoever added the qdisc use clsact, or have the DPI agent listen on the interface itself",
            details={"interface": name},
        )
    elif capture is not None:
        missing = [direction for direction in DIRECTIONS if not count(source, direction, capture.index)]
        if missing:
            text = f"{name} is not mirrored ({' and '.join(missing)})"
            yield Problem("mirror_incomplete", text, details={"interface": name, "missing": missing})
    for direction in DIRECTIONS:
        if behind(source, direction):
            yield Problem(
                "mirror_behind_filters",
                f"filters of yours on {name} ({direction}) precede the mirror: it misses what they drop or redirect",
                "give them a priority of 3 or more",
                "info",
                {"interface": name, "direction": direction},
            )
