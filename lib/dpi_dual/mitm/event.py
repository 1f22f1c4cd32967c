"""What leaves Buffer B for the engine: method, host, path, rule and place; never a value, a header or a body."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dpi_dual.mitm.behaviour import Finding
from dpi_dual.mitm.ring import Entry
from dpi_dual.waf.verdict import Verdict

MAX_RULES = 10
MAX_PATH = 512


def timestamp(at: float) -> str:
    """ISO-8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def printable(text: str, most: int) -> str:
    """One line of at most `most` characters that no terminal or page takes for more than text."""
    return "".join(char if char.isprintable() else "." for char in text[:most])


def _base(entry: Entry) -> dict[str, Any]:
    return {
        "request_id": entry.id,
        "timestamp": timestamp(entry.at),
        "at": round(entry.at, 3),
        "client_ip": entry.client_ip,
        "client_port": entry.client_port,
        "host": printable(entry.host, 255),
        "path": printable(entry.path, MAX_PATH),
        "method": printable(entry.method, 32),
    }


def of_verdict(entry: Entry, verdict: Verdict, score: int) -> dict[str, Any]:
    """A request that a tier found something in; its id is the request's, which the block page shows."""
    categories = list(verdict.categories)
    kind = "waf_block" if entry.blocked else "scanner" if categories[:1] == ["scanner"] else "waf_alert"
    rules = [
        {"rule": hit.rule, "category": hit.category, "place": printable(hit.place, 96), "score": hit.score}
        for hit in verdict.rules[:MAX_RULES]
    ]
    return {
        **_base(entry),
        "id": entry.id,
        "event": kind,
        "threat_score": score,
        "categories": categories,
        "blocked": entry.blocked,
        "rule": rules[0]["rule"] if rules else "",
        "place": rules[0]["place"] if rules else "",
        "tier": verdict.tier,
        "rules": rules,
    }


def of_finding(entry: Entry, finding: Finding) -> dict[str, Any]:
    """What a client did over time; the request is the one by which it was noticed."""
    return {
        **_base(entry),
        "id": f"{entry.id}-{finding.rule.removeprefix('behaviour-')}",
        "event": finding.kind,
        "threat_score": finding.score,
        "categories": [finding.kind],
        "blocked": False,
        "rule": finding.rule,
        "place": "",
        "tier": "behaviour",
        "rules": [{"rule": finding.rule, "category": finding.kind, "place": "", "score": finding.score}],
    }


def of_anomaly(entry: Entry, score: int) -> dict[str, Any]:
    """A request far from what is ordinary where it went; never a reason to block."""
    return {
        **_base(entry),
        "id": f"{entry.id}-anomaly",
        "event": "waf_alert",
        "threat_score": score,
        "categories": ["anomaly"],
        "blocked": False,
        "rule": "behaviour-anomaly",
        "place": "",
        "tier": "behaviour",
        "rules": [{"rule": "behaviour-anomaly", "category": "anomaly", "place": "", "score": score}],
    }
