"""The `modify` sections: headers set and removed, bodies rewritten, in requests or responses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from dpi_dual.settings import Modify

#: Larger bodies pass unchanged: they are streamed.
MAX_BODY = 1024 * 1024

_NOT_IN_A_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Headers(Protocol):
    """As mitmproxy has them."""

    def __setitem__(self, name: str, value: str) -> None: ...
    def pop(self, name: str, default: None) -> object: ...


@dataclass(frozen=True, slots=True)
class _Rule:
    host: str
    below: bool
    path: str
    action: str
    name: str
    match: re.Pattern[bytes] | None
    value: str

    def applies(self, host: str, path: str) -> bool:
        if self.path and not path.startswith(self.path):
            return False
        return not self.host or host == self.host or (self.below and host.endswith("." + self.host))


class Modifications:
    """The rules of one phase, compiled."""

    def __init__(self, sections: Iterable[Modify], phase: str) -> None:
        self._rules: list[_Rule] = []
        for section in sections:
            if section.phase != phase:
                continue
            try:
                match = re.compile(section.match.encode()) if section.match else None
            except (re.error, RecursionError, OverflowError):
                continue
            host = section.host.lower()
            self._rules.append(
                _Rule(
                    host.removeprefix("*."),
                    host.startswith("*."),
                    section.path,
                    section.action,
                    section.name,
                    match,
                    _NOT_IN_A_HEADER.sub(" ", section.value) if section.action == "set_header" else section.value,
                )
            )

    def __bool__(self) -> bool:
        return bool(self._rules)

    def of(self, host: str, path: str) -> list[_Rule]:
        """Those for a request."""
        return [rule for rule in self._rules if rule.applies(host, path)]


def rewrites_body(rules: Iterable[_Rule]) -> bool:
    """Whether the whole body is needed."""
    return any(rule.action == "replace_body" for rule in rules)


def change_headers(rules: Iterable[_Rule], headers: Headers) -> None:
    """Sets and removes."""
    for rule in rules:
        if rule.action == "set_header" and rule.name:
            headers[rule.name] = rule.value
        elif rule.action == "remove_header" and rule.name:
            headers.pop(rule.name, None)


def change_body(rules: Iterable[_Rule], body: bytes) -> bytes:
    """Replaces what each rule matches, or the whole body where it names no pattern."""
    for rule in rules:
        if rule.action == "replace_body":
            value = rule.value.encode()
            # Doubled backslashes: the value is text, not a template with groups.
            body = value if rule.match is None else rule.match.sub(value.replace(b"\\", b"\\\\"), body)
    return body
