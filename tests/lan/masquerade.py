"""Connections of the LAN as the kernel tracks them, for the tests."""

from __future__ import annotations

from typing import Any

from dpi_dual.capture.conntrack import Connection


def connection(
    sent: int = 0, answered: int = 0, sport: int = 40000, dport: int = 443, number: int = 1, **fields: Any
) -> Connection:
    """A masqueraded connection of the phone; `sent` and `answered` packets of 100 bytes (114 on the wire)."""
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
