"""Events in Suricata's EVE JSON: flow, alert and http, so that what reads Suricata reads us.

Field names follow Suricata's EVE format; what it has no name for is in `dpi_dual`. `flow_id` is made from the
Community ID, so that events of one connection have the same.
"""

from __future__ import annotations

import time
from binascii import a2b_base64, crc32
from typing import Any

from dpi_dual.correlation.events import HIGH, MEDIUM
from dpi_dual.model import Flow, community_id

Event = dict[str, Any]

_PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "IPv6-ICMP", 132: "SCTP"}
_PORTS = (6, 17, 132)
#: Why a flow ended, in Suricata's words.
_REASONS = {"agent-restart": "shutdown", "evicted": "forced", "reused": "tcp_reuse"}
#: Local rules of Suricata have numbers from a million on; the other sources' begin at two.
_FIRST_SID = 1_000_000
_SIDS = 900_000


def timestamp(at: float) -> str:
    """As Suricata writes it, in UTC."""
    whole = int(at)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((at - whole) * 1e6):06d}+0000"


def flow_event(flow: Flow, sensor: str) -> Event:
    """A flow that is over."""
    toserver, toclient = ("local", "other") if flow.local_origin else ("other", "local")
    end = flow.ended_at or flow.last_seen_at
    extra = {
        "application": flow.application,
        "category": flow.category,
        "hostname": flow.hostname,
        "hostname_source": flow.hostname_source,
        "risks": list(flow.risks),
        "risk_namespace": flow.risk_namespace if flow.risks else "",
        "mac": flow.local_mac,
        "undirected_bytes": flow.undirected_bytes,
    }
    return {
        "timestamp": timestamp(end),
        **_tuple(flow),
        "event_type": "flow",
        "app_proto": flow.protocol.lower() if flow.protocol != "Unknown" else "failed",
        "flow": {
            "pkts_toserver": getattr(flow, f"{toserver}_packets"),
            "pkts_toclient": getattr(flow, f"{toclient}_packets"),
            "bytes_toserver": getattr(flow, f"{toserver}_bytes"),
            "bytes_toclient": getattr(flow, f"{toclient}_bytes"),
            "start": timestamp(flow.first_seen_at),
            "end": timestamp(end),
            "age": max(0, int(end - flow.first_seen_at)),
            "state": "closed" if flow.end_reason in ("closed", "terminated") else "established",
            "reason": _REASONS.get(flow.end_reason, "timeout"),
            "alerted": False,
        },
        "dpi_dual": {name: value for name, value in extra.items() if value},
        "host": sensor,
    }


def _tuple(flow: Flow) -> Event:
    ends = [(flow.local_ip, flow.local_port), (flow.other_ip, flow.other_port)]
    (source, source_port), (target, target_port) = ends if flow.local_origin else ends[::-1]
    ports = flow.ip_protocol in _PORTS
    community = community_id(flow)
    return {
        **({"flow_id": _flow_id(community)} if community else {}),
        "in_iface": flow.interface,
        **({"vlan": [flow.vlan_id]} if flow.vlan_id else {}),
        "src_ip": source,
        **({"src_port": source_port} if ports else {}),
        "dest_ip": target,
        **({"dest_port": target_port} if ports else {}),
        "proto": _PROTOCOLS.get(flow.ip_protocol, str(flow.ip_protocol)),
        **({"community_id": community} if community else {}),
    }


def _flow_id(community: str) -> int:
    """53 bits: what every JSON reader takes for a whole number."""
    return int.from_bytes(a2b_base64(community.partition(":")[2])[:7], "big") >> 3


def alert_events(alert: dict[str, Any], flow: Flow | None, sensor: str) -> tuple[Event, Event]:
    """The alert and the http event of a WAF alert (as `mitm.alerts` has checked it); `flow` is its connection."""
    score = int(alert["threat_score"])
    categories = alert["categories"] or ["waf"]
    base = {"timestamp": timestamp(alert["at"]), **(_of_request(flow, alert))}
    http = {"hostname": alert["host"], "url": alert["path"], "http_method": alert["method"]}
    common = {"app_proto": "http", "http": http, "host": sensor}
    rule = alert["rule"] or categories[0]
    told = {
        "action": "blocked" if alert["blocked"] else "allowed",
        "gid": 1,
        "signature_id": _FIRST_SID + crc32(rule.encode("utf-8")) % _SIDS,
        "rev": 1,
        "signature": f"DPI-DUAL WAF {', '.join(categories)} ({rule})",
        "category": "Web Application Attack",
        "severity": 1 if score >= HIGH else 2 if score >= MEDIUM else 3,
        "metadata": {"categories": categories, "place": [alert["place"]] if alert["place"] else []},
    }
    extra = {"dpi_dual": {"id": alert["id"], "request_id": alert["request_id"], "threat_score": score, "rule": rule}}
    return (
        {**base, "event_type": "alert", "alert": told, **common, **extra},
        {**base, "event_type": "http", **common, "dpi_dual": {"request_id": alert["request_id"]}},
    )


def _of_request(flow: Flow | None, alert: dict[str, Any]) -> Event:
    """The client is the source, whoever the agent takes for local."""
    if flow is not None:
        known = _tuple(flow)
        if known["src_ip"] == alert["client_ip"]:
            return known
        swapped = {"src_ip": "dest_ip", "dest_ip": "src_ip", "src_port": "dest_port", "dest_port": "src_port"}
        return {swapped.get(name, name): value for name, value in known.items()}
    port = {"src_port": alert["client_port"]} if alert["client_port"] else {}
    return {"src_ip": alert["client_ip"], **port, "proto": "TCP"}
