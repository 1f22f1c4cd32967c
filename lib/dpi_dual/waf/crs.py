"""The deep tier: the Core Rule Set and the quick rules at a higher paranoia level, weighed together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from dpi_dual.waf.core_rules import CoreRuleSet, CrsUnavailableError, weighed
from dpi_dual.waf.exclusions import Exclusions, Section
from dpi_dual.waf.quick import QuickRules
from dpi_dual.waf.request import Request
from dpi_dual.waf.signatures import Signature, signatures
from dpi_dual.waf.verdict import ALERT_THRESHOLD, BLOCK_THRESHOLD, Hit, Verdict, verdict


class Rules(Protocol):
    """What either tier is to its caller."""

    def judge(self, request: Request) -> Verdict: ...


#: What a rule from above the asked paranoia level adds at most: it supports others and does not alert alone.
_SUPPORT = 20


def _supported(hits: list[Hit], strict: frozenset[str]) -> list[Hit]:
    """`hits` with what says one thing twice counted once: the strongest of a place is what counts.

    That is so of the stricter rules, which are mere support, and of weak signs of markup: that there is a tag.
    """
    capped = [replace(hit, score=min(hit.score, _SUPPORT)) if hit.rule in strict else hit for hit in hits]
    best: dict[tuple[str, bool], Hit] = {}
    for hit in capped:
        for key in _groups(hit, strict):
            if key not in best or hit.score > best[key].score:
                best[key] = hit
    return [hit if all(best[key] is hit for key in _groups(hit, strict)) else replace(hit, score=0) for hit in capped]


def _groups(hit: Hit, strict: frozenset[str]) -> list[tuple[str, bool]]:
    """Of which signs that repeat each other this is one."""
    found = [(hit.place.lower(), True)] if hit.rule in strict else []
    if hit.category == "xss" and hit.score < ALERT_THRESHOLD:
        found.append((hit.place.lower(), False))
    return found


class BuiltinDeepRules:
    """The deep tier where no Core Rule Set is: the quick rules, one paranoia level higher."""

    def __init__(
        self,
        paranoia: int = 1,
        exclusions: Iterable[Section] = (),
        alert_threshold: int = ALERT_THRESHOLD,
        block_threshold: int = BLOCK_THRESHOLD,
    ) -> None:
        self._quick = QuickRules(paranoia + 1, exclusions)
        self._strict = frozenset(rule.id for rule in signatures() if rule.paranoia > paranoia)
        self._thresholds = alert_threshold, block_threshold

    def judge(self, request: Request) -> Verdict:
        """The verdict on one request."""
        return verdict(_supported(self._quick.hits(request), self._strict), "deep", *self._thresholds)


class DeepRules:
    """The Core Rule Set beside the quick rules; raises `CrsUnavailableError` where it is not installed."""

    def __init__(
        self,
        paranoia: int = 1,
        crs_dir: str = "",
        exclusions: Iterable[Section] = (),
        alert_threshold: int = ALERT_THRESHOLD,
        block_threshold: int = BLOCK_THRESHOLD,
        extra: Iterable[Signature] = (),
    ) -> None:
        sections = tuple(exclusions)
        self._paranoia = paranoia
        # One level more than asked for: what the stricter rules say counts only beside other evidence.
        self._crs = CoreRuleSet(crs_dir, paranoia + 1)
        self._strict = frozenset(rule.id for rule in signatures() if rule.paranoia > paranoia)
        self._quick = QuickRules(paranoia + 1, sections, extra=extra)
        self._exclusions = Exclusions(sections)
        self._thresholds = alert_threshold, block_threshold

    def judge(self, request: Request) -> Verdict:
        """The verdict on one request."""
        core = self._crs.hits(request)
        strict = self._strict.union(str(hit.rule) for hit in core if hit.paranoia > self._paranoia)
        hits = self._exclusions.remaining([weighed(hit, self._paranoia) for hit in core], request)
        hits += self._quick.hits(request)
        return verdict(_supported(hits, strict), "deep", *self._thresholds)


def deep_rules(
    engine: str = "auto",
    crs_dir: str = "",
    paranoia: int = 1,
    exclusions: Iterable[Section] = (),
    alert_threshold: int = ALERT_THRESHOLD,
    block_threshold: int = BLOCK_THRESHOLD,
) -> Rules:
    """The deep tier as UCI's `waf_engine` asks for it: `auto` takes the Core Rule Set where it is installed."""
    sections = tuple(exclusions)
    if engine != "builtin":
        try:
            return DeepRules(paranoia, crs_dir, sections, alert_threshold, block_threshold)
        except CrsUnavailableError:
            if engine == "crs":
                raise
    return BuiltinDeepRules(paranoia, sections, alert_threshold, block_threshold)
