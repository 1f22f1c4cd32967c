"""The signatures: data in `signatures.json`, and for each the cheap test that saves its pattern most of the work."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

#: Fields whose text an application would use as it comes.
_VALUES = frozenset({"args", "names", "cookies", "cookie_names", "headers", "segment", "query", "files", "body"})
_PREFIX = "headers:"


@dataclass(frozen=True)
class Signature:
    """One entry of `signatures.json`."""

    id: str
    category: str
    score: int
    paranoia: int
    kinds: frozenset[str]
    """Field kinds that the rule looks at."""
    headers: frozenset[str]
    """Single headers that it looks at, in lower case."""
    view: str
    """Which reading of the value: see `values.Value`, `sqli` and `xss`."""
    needs: tuple[str, ...]
    """One of these is in every text that the pattern can match; none: the detector's own test decides."""
    source: str
    """The pattern; empty where a detector in code decides."""
    quiet: bool
    """Can match text of nothing but letters, digits, blanks, dots, hyphens and underscores."""
    description: str
    params: frozenset[str] = frozenset()
    """Names of the parameters that it is for, in lower case; empty: any."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Compiled when first needed: most rules never are in the life of a short command."""
        return re.compile(self.source)

    def looks_at(self, kind: str, name: str) -> bool:
        """Whether a field of this kind and name is one of the targets."""
        if self.params and name.rpartition(".")[2].lower() not in self.params:
            return False
        return kind in self.kinds or (kind in ("headers", "formal") and name in self.headers)


def _signature(entry: dict[str, Any], macros: dict[str, str]) -> Signature:
    source = entry["pattern"]
    for name, text in macros.items():
        source = source.replace("%{" + name + "}", text)
    kinds: set[str] = set()
    headers: set[str] = set()
    for target in entry["targets"]:
        if target == "values":
            kinds |= _VALUES
        elif target.startswith(_PREFIX):
            headers.add(target.removeprefix(_PREFIX))
        else:
            kinds.add(target)
    return Signature(
        entry["id"],
        entry["category"],
        entry["score"],
        entry["paranoia"],
        frozenset(kinds),
        frozenset(headers),
        entry["view"],
        tuple(entry["needs"]),
        source,
        entry.get("quiet", False),
        entry["description"],
        frozenset(entry.get("params", ())),
    )


@cache
def signatures() -> tuple[Signature, ...]:
    """All of them, every paranoia level."""
    document = json.loads(Path(__file__).with_name("signatures.json").read_text("utf-8"))
    return tuple(_signature(entry, document["macros"]) for entry in document["signatures"])


class Prefilter:
    """Which signatures a text can match at all, from substrings that each needs."""

    def __init__(self, rules: tuple[Signature, ...]) -> None:
        self._rules = rules
        self._always = [index for index, rule in enumerate(rules) if not rule.needs]
        by_literal: dict[str, list[int]] = {}
        for index, rule in enumerate(rules):
            for literal in rule.needs:
                by_literal.setdefault(literal.lower(), []).append(index)
        literals = tuple((literal, tuple(indexes)) for literal, indexes in by_literal.items())
        self._short = tuple(entry for entry in literals if len(entry[0]) < _START)
        starts: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
        for entry in literals:
            if len(entry[0]) >= _START:
                starts.setdefault(entry[0][:_START], []).append(entry)
        self._starts = {start: tuple(entries) for start, entries in starts.items()}

    def candidates(self, text: str) -> list[Signature]:
        """Those worth trying on `text`, which is in lower case."""
        found = set(self._always)
        for literal, indexes in self._short:
            if literal in text:
                found.update(indexes)
        # The beginnings of all words of a text cost less than a search for each literal.
        starts = self._starts
        for start in starts.keys() & {text[at : at + _START] for at in range(len(text) - _START + 1)}:
            for literal, indexes in starts[start]:
                if literal in text:
                    found.update(indexes)
        return [self._rules[index] for index in sorted(found)]


_START = 3
