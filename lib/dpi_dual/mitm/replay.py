"""Replay: stored requests judged again, by stricter, current or candidate rules, and what that changes."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dpi_dual.mitm import event
from dpi_dual.mitm.analysis import Analysis
from dpi_dual.mitm.judge import (
    STRICT,
    CandidateError,
    Candidates,
    candidates_of,
    deep_rules,
    merged,
    quick_rules,
)
from dpi_dual.mitm.record import Record
from dpi_dual.mitm.redact import is_redacted
from dpi_dual.mitm.ring import Entry
from dpi_dual.waf.crs import Rules
from dpi_dual.waf.request import Request
from dpi_dual.waf.verdict import Verdict

DEFAULT_LIMIT, MAX_LIMIT = 200, 1000
MAX_SHOWN = 100
MAX_RESENT = 20
#: ubus answers must come sooner than LuCI's 20 s.
BUDGET_S = 12.0
#: A pattern that somebody tries may be slow; so long for one request is too slow.
PATTERN_S = 1.0

#: RFC 9110 section 9.2.1. PUT and DELETE are idempotent too, but sent again later they undo what came since.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class SlowPattern(RuntimeError):  # noqa: N818 - it says what is the case
    """A candidate pattern took longer than a live request could wait."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raises SlowPattern inside; `re` looks for signals while it matches. Main thread only."""

    def stop(number: int, frame: object) -> None:
        raise SlowPattern

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(slots=True)
class Report:
    """What a replay found."""

    requests: int = 0
    unreadable: int = 0
    newly_alerting: int = 0
    no_longer_alerting: int = 0
    changed: list[dict[str, Any]] = field(default_factory=list)
    changed_total: int = 0
    truncated: bool = False

    def add(self, entry: Entry, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Notes a request if it is judged otherwise than before."""
        if before == after:
            return
        self.changed_total += 1
        self.newly_alerting += after["alert"] and not before["alert"]
        self.no_longer_alerting += before["alert"] and not after["alert"]
        if len(self.changed) < MAX_SHOWN:
            known = {"id", "at", "client_ip", "method", "host", "path", "status", "blocked"}
            shown = {name: value for name, value in entry.summary().items() if name in known}
            shown["host"], shown["path"] = event.printable(entry.host, 255), event.printable(entry.path, 256)
            appeared = [rule for rule in after["rules"] if rule not in before["rules"]]
            gone = [rule for rule in before["rules"] if rule not in after["rules"]]
            self.changed.append({**shown, "before": before, "after": after, "appeared": appeared, "gone": gone})

    def answer(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "unreadable": self.unreadable,
            "newly_alerting": self.newly_alerting,
            "no_longer_alerting": self.no_longer_alerting,
            "changed_total": self.changed_total,
            "changed": self.changed,
            "truncated": self.truncated,
        }


def _shown(verdict: Verdict) -> dict[str, Any]:
    rules = [f"{hit.rule} {event.printable(hit.place, 96)}" for hit in verdict.rules[: event.MAX_RULES]]
    return {
        "score": verdict.score,
        "alert": verdict.alert,
        "block": verdict.block,
        "categories": list(verdict.categories),
        "rules": sorted(rules),
    }


def _judge(tiers: list[Rules], request: Request, block_threshold: int) -> Verdict:
    return merged([tier.judge(request) for tier in tiers], block_threshold=block_threshold)


def _stored(entry: Entry, record: Record, block_threshold: int) -> dict[str, Any]:
    """What was found when the request came, without what cannot be found again because it was blanked."""
    rules = [rule for rule in entry.rules if not is_redacted(rule.partition(" ")[2], record.redacted)]
    return {
        "score": entry.score,
        "alert": entry.alert,
        "block": entry.alert and entry.score >= block_threshold,
        "categories": list(entry.categories),
        "rules": sorted(event.printable(rule, 160) for rule in rules),
    }


def chosen(analysis: Analysis, params: dict[str, Any]) -> list[Entry]:
    """The entries that a call is about: one request id, one address, or all; newest first."""
    identity = params.get("id")
    if identity:
        entry = analysis.ring.get(str(identity).partition("-")[0])
        return [entry] if entry is not None else []
    limit = params.get("limit")
    limit = min(max(limit, 1), MAX_LIMIT) if type(limit) is int else DEFAULT_LIMIT
    since = params.get("since", 0.0)
    found = analysis.ring.newest(str(params.get("ip") or ""), float(since) if isinstance(since, int | float) else 0.0)
    return [entry for entry, _ in zip(found, range(limit), strict=False)]


async def replay(analysis: Analysis, params: dict[str, Any]) -> dict[str, Any]:
    """Judges stored requests again; raises CandidateError.

    With candidates: the live rules against the live rules and the candidates. Without: what was found when the
    request came against the current rules at paranoia 3.
    """
    candidates = candidates_of(params.get("exclusions"), params.get("rules"))
    policy = analysis.policy
    if candidates:
        before_tiers: list[Rules] = [quick_rules(policy), analysis.deep.rules]
        after_tiers: list[Rules] = [quick_rules(policy, 0, candidates), deep_rules(policy, 0, candidates).rules]
    else:
        before_tiers = []
        after_tiers = [quick_rules(policy, STRICT), deep_rules(policy, STRICT).rules]
    entries = chosen(analysis, params)
    report = Report()
    until = time.monotonic() + BUDGET_S
    for entry in entries:
        if time.monotonic() > until:
            report.truncated = True
            break
        _one(analysis, entry, before_tiers, after_tiers, candidates, report)
        await asyncio.sleep(0)  # copies go on arriving
    paranoia = policy.mitm.paranoia if candidates else STRICT
    return {**report.answer(), "paranoia": paranoia, "tier": analysis.deep.tier}


def _one(
    analysis: Analysis,
    entry: Entry,
    before_tiers: list[Rules],
    after_tiers: list[Rules],
    candidates: Candidates,
    report: Report,
) -> None:
    record = analysis.ring.record(entry)
    if record is None:
        report.unreadable += 1
        return
    report.requests += 1
    request = record.request()
    threshold = analysis.policy.mitm.block_threshold
    try:
        if candidates.rules:
            with _time_limit(PATTERN_S):
                after = _judge(after_tiers, request, threshold)
        else:
            after = _judge(after_tiers, request, threshold)
    except SlowPattern:
        raise CandidateError(
            f"a candidate pattern took more than {PATTERN_S:g} s on request {entry.id}; on the live path it would "
            "be a way to stop the proxy"
        ) from None
    if before_tiers:
        before = _shown(_judge(before_tiers, request, threshold))
    else:
        before = _stored(entry, record, threshold)
        if after.score != entry.strict_score:
            analysis.ring.update(entry, time.time(), strict_score=after.score)
    report.add(entry, before, _shown(after))


def resendable(record: Record | None, force: bool) -> str:
    """Why a request cannot be sent again; empty if it can."""
    if record is None:
        return "it is not in the buffer any more"
    if record.method == "WEBSOCKET":
        return "it is a message of a WebSocket"
    if record.method not in SAFE_METHODS and not force:
        return f"{record.method} is not safe to repeat (force sends it all the same)"
    if record.cut:
        return "only a part of it was kept"
    return ""
