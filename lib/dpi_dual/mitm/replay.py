"""Replay: stored requests judged again, by stricter, current or candidate rules, and what that changes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from dpi_dual.mitm import event
from dpi_dual.mitm.analysis import Analysis
from dpi_dual.mitm.deep import DeepWorker, GoneError, TooSlowError
from dpi_dual.mitm.judge import STRICT, CandidateError, candidates_of
from dpi_dual.mitm.policy import Policy
from dpi_dual.mitm.record import WEBSOCKET, Record
from dpi_dual.mitm.redact import is_redacted
from dpi_dual.mitm.ring import Entry
from dpi_dual.waf.verdict import Verdict

DEFAULT_LIMIT, MAX_LIMIT = 200, 1000
MAX_SHOWN = 100
MAX_RESENT = 20
#: ubus answers must come sooner than LuCI's 20 s.
BUDGET_S = 8.0

#: RFC 9110 section 9.2.1. PUT and DELETE are idempotent too, but sent again later they undo what came since.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(slots=True)
class Report:
    """What a replay found."""

    requests: int = 0
    unreadable: int = 0
    too_slow: int = 0
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
            "too_slow": self.too_slow,
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


def _stored(entry: Entry, record: Record, policy: Policy) -> dict[str, Any]:
    """What was found when the request came, without what cannot be found again because it was blanked."""
    rules = [rule for rule in entry.rules if not is_redacted(rule.partition(" ")[2], record.redacted)]
    return {
        "score": entry.score,
        "alert": entry.alert,
        "block": entry.alert and entry.score >= policy.mitm.block_threshold,
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
    since = since if isinstance(since, int | float) else 0.0
    found = analysis.ring.newest(str(params.get("ip") or ""), since)
    return [entry for entry, _ in zip(found, range(limit), strict=False)]


async def replay(analysis: Analysis, params: dict[str, Any]) -> dict[str, Any]:
    """Judges stored requests again; raises CandidateError.

    With candidates: the live rules against the live rules and the candidates. Without: what was found when the
    request came against the current rules at paranoia 3.
    """
    candidates = candidates_of(params.get("exclusions"), params.get("rules"))
    policy = analysis.policy
    entries = chosen(analysis, params)
    report = Report()
    until = time.monotonic() + BUDGET_S
    paranoia = 0 if candidates else STRICT
    async with (
        DeepWorker(policy, paranoia, params.get("exclusions"), params.get("rules"), quick=True) as after,
        DeepWorker(policy, quick=True) as before,
    ):
        for entry in entries:
            if time.monotonic() > until:
                report.truncated = True
                break
            record = analysis.ring.record(entry)
            if record is None:
                report.unreadable += 1
                continue
            try:
                new = await after.judge(record)
                old = _shown(await before.judge(record)) if candidates else _stored(entry, record, policy)
            except TooSlowError as error:
                if candidates.rules:
                    raise CandidateError(
                        f"request {entry.id} took {error}; on the live path such a pattern would stop the proxy"
                    ) from None
                report.too_slow += 1
                continue
            except GoneError as error:
                raise CandidateError(f"the rules cannot be tried: {error}") from None
            report.requests += 1
            if not candidates and new.score != entry.strict_score:
                analysis.ring.update(entry, time.time(), strict_score=new.score)
            report.add(entry, old, _shown(new))
    return {**report.answer(), "paranoia": paranoia or policy.mitm.paranoia, "tier": after.tier}


def resendable(record: Record | None, force: bool) -> str:
    """Why a request cannot be sent again; empty if it can."""
    if record is None:
        return "it is not in the buffer any more"
    if record.method == WEBSOCKET:
        return "it is a message of a WebSocket"
    if record.blocked and not force:
        return "it was refused as an attack (force sends it all the same)"
    if record.method not in SAFE_METHODS and not force:
        return f"{record.method} is not safe to repeat (force sends it all the same)"
    if record.cut:
        return "only a part of it was kept"
    return ""
