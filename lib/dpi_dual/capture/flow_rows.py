"""Flows as the ubus answers and the flow log show them: rows of plain values, and pages of rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from heapq import nlargest
from typing import TYPE_CHECKING, Any

from dpi_dual.capture import fields
from dpi_dual.errors import QueryError
from dpi_dual.model import Flow, community_id, name_of

if TYPE_CHECKING:
    from dpi_dual.capture.flows import FlowTable
    from dpi_dual.capture.tallies import TrackedFlow

#: The longest page there is, in rows and in bytes of JSON: rpcd dies of answers near 1 MiB, ours stay under 256 KiB.
MAX_LIMIT = 500
MAX_PAGE_BYTES = 200 * 1024

STATES = ("all", "live", "finished")

_CURSOR = re.compile("f[0-9a-f]{1,15}")

_TRANSPORTS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmpv6", 132: "sctp"}


def row(flow: Flow) -> dict[str, Any]:
    """One flow in the names and units of the ubus answers."""
    return {
        "agent": flow.agent,
        "interface": flow.interface,
        "state": "finished" if flow.end_reason else "live",
        "first_seen_at": flow.first_seen_at,
        "last_seen_at": flow.last_seen_at,
        "ended_at": flow.ended_at,
        "end_reason": flow.end_reason,
        "ip_version": flow.ip_version,
        "ip_protocol": flow.ip_protocol,
        "transport": _TRANSPORTS.get(flow.ip_protocol, str(flow.ip_protocol)),
        "local_ip": flow.local_ip,
        "local_port": flow.local_port,
        "local_mac": flow.local_mac,
        "other_ip": flow.other_ip,
        "other_port": flow.other_port,
        "other_mac": flow.other_mac,
        "other_type": flow.other_type,
        "local_origin": flow.local_origin,
        "vlan_id": flow.vlan_id,
        "protocol": flow.protocol,
        "application": flow.application,
        "category": flow.category,
        "hostname": flow.hostname,
        "hostname_source": flow.hostname_source,
        "other_name": name_of(flow, flow.other_ip),
        "guessed": flow.guessed,
        "risks": list(flow.risks),
        "risk_namespace": flow.risk_namespace if flow.risks else "",
        "risk_score": flow.risk_score,
        "bytes": flow.local_bytes + flow.other_bytes + flow.undirected_bytes,
        "local_bytes": flow.local_bytes,
        "other_bytes": flow.other_bytes,
        "undirected_bytes": flow.undirected_bytes,
        "packets": flow.local_packets + flow.other_packets + flow.undirected_packets,
        "local_packets": flow.local_packets,
        "other_packets": flow.other_packets,
        "undirected_packets": flow.undirected_packets,
        "total_bytes": flow.total_bytes,
        "total_packets": flow.total_packets,
        "bytes_layer": flow.bytes_layer,
        "community_id": community_id(flow),
    }


def page(
    table: FlowTable,
    limit: int = 50,
    before: str = "",
    state: str = "all",
    protocol: str = "",
    application: str = "",
    ip: str = "",
    mac: str = "",
    hostname: str = "",
) -> dict[str, Any]:
    """`flows`, newest first, the `total` that the filters let through, and `next` if there is a page after.

    `protocol` and `application` compare without case; `hostname` takes in its subdomains. Raises QueryError.
    """
    if state not in STATES:
        raise QueryError("bad_state", f"state must be one of {', '.join(STATES)}, not {state[:32]!r}")
    bound = _serial(before)
    flows: Iterable[TrackedFlow]
    if ip:
        address = fields.ip(ip)
        if not address:
            raise QueryError("bad_address", f"{ip[:64]!r} is not an IPv4 or IPv6 address")
        flows = table.flows_of(address)
    else:
        flows = {"all": table.all, "live": table.live, "finished": table.finished.__iter__}[state]()
    protocol, application = protocol.lower(), application.lower()
    mac, hostname = mac.lower(), hostname.lower().strip(".")
    chosen = [
        flow
        for flow in flows
        if (state == "all" or (state == "finished") == bool(flow.end_reason))
        and (not mac or mac in (flow.local_mac, flow.other_mac))
        and (not protocol or flow.protocol.lower() == protocol)
        and (not application or flow.application.lower() == application)
        and (not hostname or flow.hostname == hostname or flow.hostname.endswith("." + hostname))
    ]
    total = len(chosen)
    if bound:
        chosen = [flow for flow in chosen if flow.serial < bound]
    rows: list[dict[str, Any]] = []
    size = 0
    for flow in nlargest(max(1, min(limit, MAX_LIMIT)), chosen, key=_newness):
        shown = row(flow)
        size += len(json.dumps(shown, separators=(",", ":"))) + 1
        if rows and size > MAX_PAGE_BYTES:
            break
        rows.append(shown)
        bound = flow.serial
    answer: dict[str, Any] = {"flows": rows, "total": total}
    if len(rows) < len(chosen):
        answer["next"] = f"f{bound:x}"
    return answer


def _newness(flow: TrackedFlow) -> int:
    return flow.serial


def _serial(cursor: str) -> int:
    """Pages go on below this number; flows that come meanwhile have higher ones."""
    if not cursor:
        return 0
    if _CURSOR.fullmatch(cursor) is None:
        raise QueryError("bad_page", "`before` must be the `next` of the page before it")
    return int(cursor[1:], 16)
