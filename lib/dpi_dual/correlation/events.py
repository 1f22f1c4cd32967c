"""What comes into the correlator: one event with its type, its actor's address, its cause and its score."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

#: Event types that have a weight of their own in UCI's `scoring`; all others weigh `default`.
WEIGHED = ("waf_block", "waf_alert", "crowdsec_ban", "dpi_threat", "scanner", "brute_force")

#: Score of an event that says none.
DEFAULT_SCORES = {
    "waf_block": 80,
    "waf_alert": 50,
    "crowdsec_ban": 80,
    "dpi_threat": 60,
    "scanner": 60,
    "brute_force": 70,
}

#: The least score of each severity, as CVSS cuts its scale (×10); what is below is low.
CRITICAL, HIGH, MEDIUM = 90, 70, 40

EVENT_TYPE = re.compile(r"[a-z][a-z0-9_]{0,31}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Event:
    """`id` names this very event, so that it counts once even if told twice; '' if it cannot be told twice."""

    type: str
    ip: str
    at: float
    score: int
    reason: str
    source: str
    """waf, tap, lan, crowdsec or manual: who saw it."""
    rule: str = ""
    port: int = 0
    """The actor's port; 0 if unknown."""
    mac: str = ""
    id: str = ""
    outbound: bool = False
    """Our side opened the connection: the remote end did nothing but answer."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else the record shows: host, path, method, categories, peer …"""


def severity(score: float) -> str:
    """low, medium, high or critical."""
    return "critical" if score >= CRITICAL else "high" if score >= HIGH else "medium" if score >= MEDIUM else "low"


def plain(text: str, most: int) -> str:
    """Text off the wire as one line: nothing that a terminal, page or log takes for more."""
    return "".join(char if char.isprintable() else " " for char in text[:most]).strip()


def of_alert(alert: dict[str, Any], ip: str) -> Event:
    """The event of a WAF alert (already checked by `mitm.alerts`); `ip` is its client in our spelling."""
    categories = [str(entry) for entry in alert.get("categories", [])]
    where = f"{alert.get('method', '')} {alert.get('host', '')}{alert.get('path', '')}".strip()
    kind = str(alert.get("event", "waf_alert"))
    return Event(
        type=kind,
        ip=ip,
        at=float(alert["at"]),
        score=int(alert.get("threat_score", 0)),
        reason=plain(f"{', '.join(categories) or kind}: {where}", 200),
        source="waf",
        rule=str(alert.get("rule", "")),
        port=int(alert.get("client_port", 0)),
        id=f"waf:{alert['id']}",
        details={
            "host": alert.get("host", ""),
            "path": alert.get("path", ""),
            "method": alert.get("method", ""),
            "categories": categories,
            "blocked": bool(alert.get("blocked")),
            "request_id": alert.get("request_id", ""),
        },
    )
