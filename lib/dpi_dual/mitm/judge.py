"""The WAF's two tiers made ready for a policy, and the candidates that replay tries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dpi_dual.mitm.policy import Policy
from dpi_dual.settings import Exclusion
from dpi_dual.waf.core_rules import CrsUnavailableError
from dpi_dual.waf.crs import BuiltinDeepRules, DeepRules, Rules
from dpi_dual.waf.quick import QuickRules
from dpi_dual.waf.signatures import Signature
from dpi_dual.waf.verdict import CATEGORIES, Hit, Verdict, combined_score

STRICT = 3
MAX_CANDIDATES = 50
MAX_PATTERN = 512
MAX_HITS = 50


class CandidateError(ValueError):
    """A candidate exclusion or rule that cannot be tried; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What replay tries beside the rules that are live."""

    exclusions: tuple[Exclusion, ...] = ()
    rules: tuple[Signature, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.exclusions or self.rules)


def quick_rules(policy: Policy, paranoia: int = 0, candidates: Candidates = Candidates()) -> QuickRules:
    """The quick tier; `paranoia` 0: as the policy says."""
    return QuickRules(
        paranoia or policy.mitm.paranoia,
        (*policy.exclusion, *candidates.exclusions),
        policy.mitm.alert_threshold,
        policy.mitm.block_threshold,
        candidates.rules,
    )


@dataclass(frozen=True, slots=True)
class Deep:
    """The deep tier as it could be had: `tier` is crs or builtin, `problem` why it is not what was asked for."""

    rules: Rules
    tier: str
    problem: str = ""


def deep_rules(policy: Policy, paranoia: int = 0, candidates: Candidates = Candidates()) -> Deep:
    """CRS when it is wanted and there, else the built-in rules one level stricter than the live path's.

    Candidate rules are tried in the quick tier, which replay always runs beside this one.
    """
    mitm = policy.mitm
    level = paranoia or mitm.paranoia
    exclusions = (*policy.exclusion, *candidates.exclusions)
    problem = ""
    if mitm.waf_engine != "builtin":
        try:
            crs = DeepRules(level, mitm.crs_dir, exclusions, mitm.alert_threshold, mitm.block_threshold)
            return Deep(crs, "crs")
        except CrsUnavailableError as error:
            if mitm.waf_engine == "crs":
                problem = f"the Core Rule Set cannot be used ({error}); the built-in rules stand in"
    builtin = BuiltinDeepRules(level, exclusions, mitm.alert_threshold, mitm.block_threshold)
    return Deep(builtin, "builtin", problem)


def merged(verdicts: Sequence[Verdict], more: Iterable[Hit] = (), block_threshold: int = 50) -> Verdict:
    """What several tiers found, as one: the highest score, each hit once."""
    hits: dict[tuple[str, str], Hit] = {}
    for verdict in verdicts:
        for hit in verdict.rules:
            hits.setdefault((hit.rule, hit.place), hit)
    extra = list(more)
    for hit in extra:
        hits.setdefault((hit.rule, hit.place), hit)
    score = max([*(verdict.score for verdict in verdicts), combined_score(extra)])
    ordered = sorted(hits.values(), key=lambda hit: -hit.score)
    alert = any(verdict.alert for verdict in verdicts)
    raised = [category for verdict in verdicts if verdict.alert for category in verdict.categories]
    tier = "+".join(dict.fromkeys(verdict.tier for verdict in verdicts if verdict.alert)) or verdicts[-1].tier
    return Verdict(
        score,
        tuple(dict.fromkeys(raised)),
        tuple(ordered[:MAX_HITS]),
        alert,
        alert and score >= block_threshold,
        tier,
    )


# --- candidates ------------------------------------------------------------------------------------------------


def candidates_of(exclusions: Any, rules: Any) -> Candidates:
    """Candidates as they come from a call; raises CandidateError."""
    return Candidates(
        tuple(_exclusion(entry) for entry in _list(exclusions, "exclusions")),
        tuple(_rule(entry) for entry in _list(rules, "rules")),
    )


def _list(given: Any, name: str) -> list[Any]:
    if given is None:
        return []
    if not isinstance(given, list) or len(given) > MAX_CANDIDATES:
        raise CandidateError(f"{name} must be a list of at most {MAX_CANDIDATES}")
    return given


def _texts(entry: Any, what: str, known: Sequence[str]) -> dict[str, str]:
    if not isinstance(entry, dict):
        raise CandidateError(f"{what} must be an object")
    for name, value in entry.items():
        if name not in known:
            raise CandidateError(f"{what} has no {str(name)[:64]!r}; it has {', '.join(known)}")
        if not isinstance(value, str) or len(value) > MAX_PATTERN:
            raise CandidateError(f"{what}.{name} must be a text of at most {MAX_PATTERN} characters")
    return {name: str(entry.get(name, "")) for name in known}


def _exclusion(entry: Any) -> Exclusion:
    values = _texts(entry, "an exclusion", ("rule", "host", "path", "param"))
    if not any(values.values()):
        raise CandidateError("an exclusion needs at least a rule")
    return Exclusion(section="candidate", **values)


def _rule(entry: Any) -> Signature:
    given = dict(entry) if isinstance(entry, dict) else entry
    score = given.pop("score", 50) if isinstance(given, dict) else 50
    if type(score) is not int or not 1 <= score <= 100:
        raise CandidateError("a rule's score must be an integer from 1 to 100")
    values = _texts(given, "a rule", ("id", "category", "pattern", "place", "description"))
    if not values["id"] or not values["pattern"]:
        raise CandidateError("a rule needs an id and a pattern")
    category = values["category"] or "protocol"
    if category not in CATEGORIES:
        raise CandidateError(f"there is no category {category[:64]!r}; there are {', '.join(sorted(CATEGORIES))}")
    kinds = _PLACES.get(values["place"] or "values")
    if kinds is None:
        raise CandidateError(f"a rule's place is one of {', '.join(_PLACES)}")
    try:
        re.compile(values["pattern"])
    except (re.error, RecursionError, OverflowError) as error:
        raise CandidateError(f"the pattern of {values['id'][:64]} is no regular expression: {error}") from None
    return Signature(
        id=values["id"][:64],
        category=category,
        score=score,
        paranoia=1,
        kinds=kinds,
        headers=frozenset(),
        view="text",
        needs=(),
        source=values["pattern"],
        quiet=True,
        description=values["description"],
    )


_PLACES: dict[str, frozenset[str]] = {
    "values": frozenset({"args", "names", "cookies", "headers", "segment", "query", "files", "body", "path"}),
    "args": frozenset({"args", "names"}),
    "path": frozenset({"path", "segment"}),
    "query": frozenset({"query"}),
    "headers": frozenset({"headers"}),
    "body": frozenset({"body", "xml"}),
}
