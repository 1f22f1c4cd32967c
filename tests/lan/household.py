"""Who lives on the LAN of these tests, and what they do there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dpi_dual.capture.conntrack import Connection
from dpi_dual.lan.stream import LanStream
from dpi_dual.model import Flow

PHONE, LAPTOP, ROUTER = "02:00:00:00:00:0a", "00:11:22:33:44:0b", "00:11:22:33:44:01"

#: The fixtures `make_flow` and `count`.
Make = Callable[..., Flow]
Count = Callable[..., None]


def browse(stream: LanStream, make_flow: Make, count: Count, **fields: object) -> Flow:
    """A flow of the phone, with 100 bytes sent and 1,000 received."""
    flow = make_flow(**fields)
    stream.accounting.flow_started(flow)
    count(stream.accounting, flow, local=100, other=1000)
    return flow


def connection(
    sent: int = 0, answered: int = 0, sport: int = 40000, dport: int = 443, number: int = 1, **fields: Any
) -> Connection:
    """A masqueraded connection of the phone; `sent` and `answered` are packets of 100 bytes (114 on the wire)."""
    values: dict[str, Any] = {
        "ip_version": 4,
        "protocol": 6,
        "src": "192.168.1.10",
        "sport": sport,
        "dst": "198.51.100.10",
        "dport": dport,
        "reply_src": "198.51.100.10",
        "reply_sport": dport,
        "reply_dst": "203.0.113.2",
        "reply_dport": sport,
        "orig_packets": sent,
        "orig_bytes": sent * 100,
        "reply_packets": answered,
        "reply_bytes": answered * 100,
        "id": number,
        "mark": 0,
        "timeout_s": 100,
        "tcp_state": 3,
    }
    return Connection(**{**values, **fields})
