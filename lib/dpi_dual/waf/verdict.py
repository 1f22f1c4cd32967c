"""What was found in a request, and what it adds up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: The categories of DESIGN's WAF section; `rate_limit` and `anomaly` come from behaviour, not from one request.
_CATEGORIES_TEXT = """
xss sqli lfi rce ssrf path_traversal scanner rfi xxe log4shell shellshock nosqli ssti ldap crlf php java
protocol rate_limit anomaly
"""
CATEGORIES = frozenset(_CATEGORIES_TEXT.split())

ALERT_THRESHOLD = 30
BLOCK_THRESHOLD = 50

MAX_MATCHED = 80
MAX_HITS = 50


@dataclass(frozen=True, slots=True)
class Hit:
    """One rule that matched at one place."""

    rule: str
    category: str
    place: str
    """As the Core Rule Set names it: `ARGS:id`, `REQUEST_HEADERS:User-Agent`, `REQUEST_FILENAME`."""
    matched: str
    """What matched, short and printable."""
    score: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one request by one tier."""

    score: int
    """0 to 100."""
    categories: tuple[str, ...]
    """The gravest first; empty below the alert threshold of a single rule too."""
    rules: tuple[Hit, ...]
    alert: bool
    block: bool
    tier: str

    def as_dict(self) -> dict[str, Any]:
        """As `waf-check` writes it."""
        return {
            "score": self.score,
            "categories": list(self.categories),
            "rules": [
                {
                    "rule": hit.rule,
                    "category": hit.category,
                    "place": hit.place,
                    "matched": hit.matched,
                    "score": hit.score,
                }
                for hit in self.rules
            ],
            "alert": self.alert,
            "block": self.block,
            "tier": self.tier,
        }


def cleaned(text: str) -> str:
    """`text` fit for a log: one line, printable, short."""
    cut = text[: MAX_MATCHED + 1]
    if not cut.isprintable():
        cut = "".join(char if char.isprintable() else "." for char in cut)
    return cut if len(cut) <= MAX_MATCHED else cut[: MAX_MATCHED - 1] + "…"


def combined_score(hits: Iterable[Hit], alert_threshold: int = ALERT_THRESHOLD) -> int:
    """Independent evidence adds up towards 100 and never over it.

    A rule counts once however often it matched. A rule too weak to raise an alert by itself counts only beside others
    at the same place: a long ordinary form has many places, and a weak sign in each of them proves nothing.
    """
    strong: dict[str, int] = {}
    weak: dict[str, dict[str, int]] = {}
    for hit in hits:
        if hit.score >= alert_threshold:
            strong[hit.rule] = max(hit.score, strong.get(hit.rule, 0))
        else:
            rules = weak.setdefault(hit.place, {})
            rules[hit.rule] = max(hit.score, rules.get(hit.rule, 0))
    doubt = 1.0
    for score in strong.values():
        doubt *= 1 - score / 100
    least = 1.0
    for rules in weak.values():
        here = 1.0
        for score in rules.values():
            here *= 1 - score / 100
        least = min(least, here)
    return round(100 * (1 - doubt * least))


def verdict(
    hits: Iterable[Hit],
    tier: str,
    alert_threshold: int = ALERT_THRESHOLD,
    block_threshold: int = BLOCK_THRESHOLD,
) -> Verdict:
    """The verdict that `hits` amount to."""
    ordered = sorted(hits, key=lambda hit: -hit.score)
    score = combined_score(ordered, alert_threshold)
    alert = score >= alert_threshold
    categories = tuple(dict.fromkeys(hit.category for hit in ordered)) if alert else ()
    return Verdict(score, categories, tuple(ordered[:MAX_HITS]), alert, alert and score >= block_threshold, tier)
