"""Figures of a whole flow table, by one pass over it: protocols, applications, talkers, names, risks."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nlargest
from operator import itemgetter
from typing import Any

from dpi_dual.capture.flows import FlowTable

#: How many names a breakdown shows; the rest is summed as `other`.
TOP_NAMES = 50

#: How many addresses of each side, and host names.
TOP_TALKERS = 10
TOP_HOSTNAMES = 20

_BY_BYTES = itemgetter(1)


def summarise(table: FlowTable, now: float) -> dict[str, Any]:  # noqa: PLR0912 (one loop, written for speed)
    """What `table` holds at `now` (Unix time): the live flows and the finished ones it still keeps.

    Byte figures are what was counted since each flow is known. Every part is bounded, whatever is in the table.
    """
    kinds: dict[tuple[str, str, str, int], list[int]] = {}
    local: dict[str, int] = {}
    other: dict[str, int] = {}
    hostnames: dict[str, int] = {}
    risks: dict[tuple[str, tuple[int, ...]], int] = {}
    local_bytes = other_bytes = undirected_bytes = packets = guessed = 0
    for flow in table.all():
        sent, received, undirected = flow.local_bytes, flow.other_bytes, flow.undirected_bytes
        size = sent + received + undirected
        kind = (flow.protocol, flow.application, flow.category, flow.ip_version)
        entry = kinds.get(kind)
        if entry is None:
            kinds[kind] = [1, size]
        else:
            entry[0] += 1
            entry[1] += size
        local_bytes += sent
        other_bytes += received
        undirected_bytes += undirected
        packets += flow.local_packets + flow.other_packets + flow.undirected_packets
        ip = flow.local_ip
        local[ip] = local.get(ip, 0) + size
        ip = flow.other_ip
        if flow.other_type == "local":
            local[ip] = local.get(ip, 0) + size
        else:
            other[ip] = other.get(ip, 0) + size
        name = flow.hostname
        if name:
            hostnames[name] = hostnames.get(name, 0) + 1
        if flow.risks:
            risk = (flow.risk_namespace, flow.risks)
            risks[risk] = risks.get(risk, 0) + 1
        if flow.guessed:
            guessed += 1

    protocols: dict[str, list[int]] = {}
    applications: dict[str, list[int]] = {}
    categories: dict[str, list[int]] = {}
    versions = {"4": 0, "6": 0}
    flows = 0
    for (protocol, application, category, version), (number, size) in kinds.items():
        flows += number
        for names, name in ((protocols, protocol), (applications, application), (categories, category)):
            entry = names.setdefault(name, [0, 0])
            entry[0] += number
            entry[1] += size
        if version in (4, 6):
            versions[str(version)] += number
    categories.pop("", None)
    single_risks: dict[str, int] = {}
    for (namespace, numbers), number in risks.items():
        for risk_id in numbers:
            label = f"{namespace}:{risk_id}"
            single_risks[label] = single_risks.get(label, 0) + number
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
        "packets": packets,
        "protocols": _top(protocols, 0),
        "protocol_bytes": _top(protocols, 1),
        "applications": _top(applications, 0),
        "application_bytes": _top(applications, 1),
        "categories": _top(categories, 0),
        "ip_versions": versions,
        "top_talkers": _talkers(table, local, "local") + _talkers(table, other, "remote"),
        "hostnames": dict(nlargest(TOP_HOSTNAMES, hostnames.items(), key=_BY_BYTES)),
        "risks": dict(nlargest(TOP_NAMES, single_risks.items(), key=_BY_BYTES)),
        "unattributed": dict(table.unattributed),
    }


def _top(names: Mapping[str, list[int]], column: int) -> dict[str, int]:
    """The largest names in `column`, largest first; what does not fit is summed as `other`."""
    ranked = sorted(((name, entry[column]) for name, entry in names.items()), key=lambda item: (-item[1], item[0]))
    top = dict(ranked[:TOP_NAMES])
    if len(ranked) > TOP_NAMES:
        top["other"] = top.get("other", 0) + sum(number for _, number in ranked[TOP_NAMES:])
    return top


def _talkers(table: FlowTable, by_ip: dict[str, int], side: str) -> list[dict[str, Any]]:
    """The addresses with most bytes; how many flows and which name they have is looked up for these few."""
    by_ip.pop("", None)
    talkers = []
    for ip, size in nlargest(TOP_TALKERS, by_ip.items(), key=_BY_BYTES):
        flows = table.flows_of(ip)
        macs = {flow.local_mac if flow.local_ip == ip else flow.other_mac for flow in flows}
        names = (flow.hostname for flow in flows if flow.other_ip == ip and flow.hostname_source != "dns")
        talkers.append(
            {
                "ip": ip,
                "side": side,
                "bytes": size,
                "flows": len(flows),
                "mac": next(iter(macs)) if side == "local" and len(macs) == 1 else "",
                "hostname": next((name for name in names if name), "") if side == "remote" else "",
            }
        )
    return talkers
