"""Figures of a whole flow table: protocols, applications, talkers, names, risks."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nlargest
from operator import attrgetter, itemgetter
from typing import Any

from dpi_dual.capture.flows import FlowTable
from dpi_dual.capture.tallies import Peer
from dpi_dual.model import name_of

#: How many names a breakdown shows; the rest is summed as `other`.
TOP_NAMES = 50

#: How many addresses of each side, and host names.
TOP_TALKERS = 10
TOP_HOSTNAMES = 20

_bytes = attrgetter("bytes")


def summarise(table: FlowTable, now: float) -> dict[str, Any]:
    """What `table` holds at `now` (Unix time): the live flows and the finished ones it still keeps.

    Byte figures are what was counted since each flow is known. Every part is bounded, whatever is in the table.
    """
    tallies = table.tallies
    protocols: dict[str, list[int]] = {}
    applications: dict[str, list[int]] = {}
    categories: dict[str, list[int]] = {}
    versions = {"4": 0, "6": 0}
    risks: dict[str, int] = {}
    flows = guessed = local_bytes = other_bytes = undirected_bytes = 0
    for kind in tallies.kinds.values():
        protocol, application, category, version, namespace, risk_ids, is_guess = kind.key
        number = kind.flows
        size = kind.local_bytes + kind.other_bytes + kind.undirected_bytes
        flows += number
        guessed += number if is_guess else 0
        local_bytes += kind.local_bytes
        other_bytes += kind.other_bytes
        undirected_bytes += kind.undirected_bytes
        for names, name in ((protocols, protocol), (applications, application), (categories, category)):
            entry = names.setdefault(name, [0, 0])
            entry[0] += number
            entry[1] += size
        if version in (4, 6):
            versions[str(version)] += number
        for risk_id in risk_ids:
            label = f"{namespace}:{risk_id}"
            risks[label] = risks.get(label, 0) + number
    categories.pop("", None)
    peers = [peer for peer in tallies.peers.values() if peer.bytes and peer.ip]
    return {
        "summarised_at": now,
        "flows_kept": flows,
        "flows_live": table.live_count,
        "flows_1min": table.flows_1min(),
        "guessed": guessed,
        "bytes": local_bytes + other_bytes + undirected_bytes,
        "local_bytes": local_bytes,
        "other_bytes": other_bytes,
        "undirected_bytes": undirected_bytes,
        "protocols": _top(protocols, 0),
        "protocol_bytes": _top(protocols, 1),
        "applications": _top(applications, 0),
        "application_bytes": _top(applications, 1),
        "categories": _top(categories, 0),
        "ip_versions": versions,
        "top_talkers": _talkers(table, peers, True) + _talkers(table, peers, False),
        "hostnames": dict(nlargest(TOP_HOSTNAMES, tallies.hostnames.items(), key=itemgetter(1))),
        "risks": dict(nlargest(TOP_NAMES, risks.items(), key=itemgetter(1))),
        "unattributed": dict(table.unattributed),
    }


def _top(names: Mapping[str, list[int]], column: int) -> dict[str, int]:
    """The largest names in `column`, largest first; what does not fit is summed as `other`."""
    ranked = sorted(((name, entry[column]) for name, entry in names.items()), key=lambda item: (-item[1], item[0]))
    top = dict(ranked[:TOP_NAMES])
    if len(ranked) > TOP_NAMES:
        top["other"] = top.get("other", 0) + sum(number for _, number in ranked[TOP_NAMES:])
    return top


def _talkers(table: FlowTable, peers: list[Peer], local: bool) -> list[dict[str, Any]]:
    """The addresses with most bytes; how many flows and which name they have is looked up for these few."""
    talkers = []
    for peer in nlargest(TOP_TALKERS, (peer for peer in peers if peer.local is local), key=_bytes):
        flows = table.flows_of(peer.ip)
        macs = {flow.local_mac if flow.local_ip == peer.ip else flow.other_mac for flow in flows}
        names = (name_of(flow, peer.ip) for flow in flows)
        talkers.append(
            {
                "ip": peer.ip,
                "side": "local" if local else "remote",
                "bytes": peer.bytes,
                "flows": len(flows),
                "mac": next(iter(macs)) if local and len(macs) == 1 else "",
                "hostname": "" if local else next((name for name in names if name), ""),
            }
        )
    return talkers
