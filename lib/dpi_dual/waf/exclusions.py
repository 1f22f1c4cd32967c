"""Exclusions: one rule silenced where it is a false positive, by host, path and parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from dpi_dual.waf.request import Request
from dpi_dual.waf.verdict import Hit


class Section(Protocol):
    """What a section of type `exclusion` has; an empty option matches everything."""

    @property
    def rule(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def param(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Exclusion:
    """`*` and `?` are wildcards in every part. `rule` may also be a category; `param` is a name or a whole place."""

    rule: str
    host: str = ""
    path: str = ""
    param: str = ""


def _pattern(wildcard: str, ignore_case: bool = False) -> re.Pattern[str]:
    # Runs of `*` become one: each `.*` more would make a long text that does not match slower by a power.
    parts = (
        ".*" if part.startswith("*") else "." if part == "?" else re.escape(part)
        for part in re.findall(r"\*+|\?|[^*?]+", wildcard)
    )
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if ignore_case else 0))


_MAX_WILDCARDS = 8


class Exclusions:
    """The exclusions, compiled; `remaining` is what they leave of a request's hits."""

    def __init__(self, sections: Iterable[Section] = ()) -> None:
        self._compiled: list[tuple[re.Pattern[str] | None, ...]] = []
        for section in sections:
            parts = (section.rule, section.host, section.path, section.param)
            if not any(parts) or any(part.count("*") > _MAX_WILDCARDS for part in parts):
                # Nothing at all would silence everything: that is `enabled 0`, not an exclusion.
                continue
            self._compiled.append(
                tuple(_pattern(part, index in (0, 1)) if part else None for index, part in enumerate(parts))
            )

    def __bool__(self) -> bool:
        return bool(self._compiled)

    def remaining(self, hits: list[Hit], request: Request) -> list[Hit]:
        """`hits` without what is excluded at this host and path."""
        if not self._compiled or not hits:
            return hits
        host = request.host.rpartition("@")[2]
        host = host.rpartition(":")[0] if re.search(r":\d{1,5}\Z", host) else host
        path = request.path[:4096]
        here = [
            (rule, param)
            for rule, for_host, for_path, param in self._compiled
            if (for_host is None or for_host.fullmatch(host)) and (for_path is None or for_path.fullmatch(path))
        ]
        return [hit for hit in hits if not any(_silences(rule, param, hit) for rule, param in here)] if here else hits


def _silences(rule: re.Pattern[str] | None, param: re.Pattern[str] | None, hit: Hit) -> bool:
    if rule is not None and not rule.fullmatch(hit.rule) and not rule.fullmatch(hit.category):
        return False
    return param is None or bool(param.fullmatch(hit.place) or param.fullmatch(hit.place.partition(":")[2]))
