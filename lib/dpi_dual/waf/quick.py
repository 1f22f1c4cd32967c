"""The quick tier: signatures and small parsers over every value of a request, cheap enough for the live path."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dpi_dual.waf import protocol, sqli, xss
from dpi_dual.waf.exclusions import Exclusions, Section
from dpi_dual.waf.normalise import base64_decoded
from dpi_dual.waf.request import COLLECTIONS, Field, Request, is_formal
from dpi_dual.waf.signatures import Prefilter, Signature, signatures
from dpi_dual.waf.values import Value
from dpi_dual.waf.verdict import ALERT_THRESHOLD, BLOCK_THRESHOLD, Hit, Verdict, cleaned, verdict

#: Phrases of every browser's name that read as SQL.
_BROWSER_WORDS = re.compile(r"\blike (?:gecko|mac os x)\b")
_SQL_IN_HEADER = re.compile(
    r"['\"]|\bselect\b|sleep|waitfor|\b(?:or|and)\s\S{1,20}\s?[=<>]|\bwhere\s|\bunion\s|[\d(]\s?=\s?[\d(]|\border\s+by\s|\|\|"
)

#: A value of these characters alone can only match the few rules that are marked `quiet`, or read as SQL.
_QUIET = re.compile(r"[A-Za-z0-9_.\- ]*\Z")

#: Kinds in which neither SQL nor markup is looked for: another field has the same text in a better form.
_NO_LANGUAGE = frozenset({"formal", "path", "target", "raw_query", "xml", "file_content"})

#: Kinds whose values repeat from request to request: what was found in one is remembered.
_REPEATING = frozenset({"headers", "formal", "path"})
_MEMORY = 1_024
_MEMORABLE = 512

_KINDS = tuple(COLLECTIONS)

#: Readings as SQL: as it stands, behind each quote that would end a string, and both.
_LETTERS = ("sql", "sql_quoted", "sql_all")

#: Headers that every browser sends: their own grammar, never base64 as a whole.
_COMMON_HEADERS = frozenset({"host", "user-agent", "referer", "origin", "content-type", "accept-language"})
#: A part of a path that may be base64 as a whole.
_ENCODED_SEGMENT = re.compile(r"(?<![^/])[A-Za-z0-9+_\-]{11,}={0,2}(?![^/])")

#: The shortest text in base64 that can hide an attack, and the least score of one that is believed there;
#: of an address, for programs keep those so, more.
_ENCODABLE, _PLAIN, _PLAIN_ADDRESS = 11, 40, 45
#: A percent sign encoded itself, or bytes that are no UTF-8: parsing the query has undone or replaced them.
_TWICE = re.compile(r"%(?:25|[cC][01]|[eE]0%[89]|[fF][08cC]|[uU]|[^0-9a-fA-F])")


class QuickRules:
    """The rules of one paranoia level, ready to judge; a verdict depends on nothing but the request."""

    def __init__(
        self,
        paranoia: int = 1,
        exclusions: Iterable[Section] = (),
        alert_threshold: int = ALERT_THRESHOLD,
        block_threshold: int = BLOCK_THRESHOLD,
        extra: Iterable[Signature] = (),
    ) -> None:
        rules = [rule for rule in (*signatures(), *extra) if rule.paranoia <= paranoia]
        self._paranoia = paranoia
        self._letters = tuple((rule, frozenset(rule.needs)) for rule in rules if rule.view in _LETTERS)
        self._markup = {rule.id: rule for rule in rules if rule.view == "xss"}
        text = [rule for rule in rules if rule.view not in (*_LETTERS, "xss")]
        self._by_kind = {
            kind: Prefilter(
                tuple(rule for rule in text if kind in rule.kinds or (rule.headers and kind in ("headers", "formal")))
            )
            for kind in _KINDS
        }
        self._quiet = Prefilter(tuple(rule for rule in text if rule.quiet))
        self._exclusions = Exclusions(exclusions)
        self._thresholds = alert_threshold, block_threshold
        self._remembered: dict[Field, tuple[Hit, ...]] = {}

    def judge(self, request: Request) -> Verdict:
        """The verdict on one request."""
        return verdict(self.hits(request), "quick", *self._thresholds)

    def hits(self, request: Request) -> list[Hit]:
        """Every rule that matched, without what is excluded."""
        found = protocol.hits(request, self._paranoia)
        quiet: list[Field] = []
        for field in request.fields:
            kind, name, text = field
            if kind in _REPEATING:
                formal = kind == "headers" and is_formal(name)
                found += self._repeating(Field("formal", name, text) if formal else field)
                if kind == "path" and len(text) > _ENCODABLE:
                    for segment in _ENCODED_SEGMENT.findall(text[:_MEMORABLE]):
                        self._hidden(Field("segment", "", segment), found)
                elif kind == "headers" and not formal and len(text) >= _ENCODABLE and name not in _COMMON_HEADERS:
                    self._hidden(field, found)
            else:
                if _QUIET.match(text):
                    quiet.append(field)
                else:
                    self._look(field, found)
                if len(text) >= _ENCODABLE and kind in ("args", "cookies"):
                    self._hidden(field, found)
        if quiet:
            self._look_at_quiet(quiet, found)
        if "%" in request.raw_path:
            path, _, query = request.raw_path.partition("?")
            self._look(Field("target", "", path[:8_192]), found)
            if "%" in query and _TWICE.search(query):
                self._look(Field("raw_query", "", query[:8_192]), found)
        return self._exclusions.remaining(found, request)

    def _repeating(self, field: Field) -> tuple[Hit, ...]:
        known = self._remembered.get(field)
        if known is None:
            found: list[Hit] = []
            self._look(field, found)
            known = tuple(found)
            if len(field.value) <= _MEMORABLE:
                if len(self._remembered) >= _MEMORY:
                    self._remembered.clear()
                self._remembered[field] = known
        return known

    def _hidden(self, field: Field, found: list[Hit]) -> None:
        hidden = base64_decoded(field.value)
        if hidden:
            inside: list[Hit] = []
            self._look(Field(field.kind, field.name, hidden), inside)
            # Programs keep their own state like this, markup and addresses included: only what is plain counts.
            found += inside if self._paranoia > 1 else [hit for hit in inside if _is_plain(hit)]

    def _look_at_quiet(self, fields: list[Field], found: list[Hit]) -> None:
        joined = "\n".join([field.value for field in fields]).lower()
        rules = self._quiet.candidates(joined)
        language = sqli.worth_a_look(joined)
        if not rules and not language:
            return
        for field in fields:
            value = Value(field)
            for rule in self._quiet.candidates(value.text) if rules else ():
                _try(rule, value, found)
            if language and sqli.worth_a_look(value.text):
                self._sql(value, found)

    def _look(self, field: Field, found: list[Hit]) -> None:
        value = Value(field)
        kind = field.kind
        text = value.text
        if kind == "headers" and field.name == "user-agent":
            value.text = text = _BROWSER_WORDS.sub("", text)
        variants = value.variants()
        for rule in self._by_kind[kind].candidates("\n".join([text, *variants]) if variants else text):
            _try(rule, value, found)
        if kind in _NO_LANGUAGE:
            return
        known = kind == "headers" and field.name in _COMMON_HEADERS
        if sqli.worth_a_look(text) and (not known or _SQL_IN_HEADER.search(text)):
            self._sql(value, found)
        if xss.worth_a_look(text):
            self._xss(value, found)

    def _sql(self, value: Value, found: list[Hit]) -> None:
        kind, name, _ = value.field
        present = {letters: frozenset(letters) for letters in value.view("sql_all")}
        for rule, needs in self._letters:
            if not rule.looks_at(kind, name):
                continue
            for letters in value.view(rule.view):
                if not needs.isdisjoint(present[letters]) and rule.pattern.search(letters):
                    found.append(Hit(rule.id, rule.category, value.field.place, cleaned(value.text), rule.score))
                    break

    def _xss(self, value: Value, found: list[Hit]) -> None:
        seen: set[str] = set()
        for rule_id, matched in xss.detect(value.text):
            rule = self._markup.get(rule_id)
            if rule and rule_id not in seen and rule.looks_at(value.field.kind, value.field.name):
                seen.add(rule_id)
                found.append(Hit(rule_id, "xss", value.field.place, cleaned(matched), rule.score))


def _is_plain(hit: Hit) -> bool:
    return hit.score >= (_PLAIN_ADDRESS if hit.category in ("ssrf", "rfi") else _PLAIN)


def _try(rule: Signature, value: Value, found: list[Hit]) -> None:
    kind, name, _ = value.field
    if (rule.params or kind not in rule.kinds) and not rule.looks_at(kind, name):
        return
    for text in value.view(rule.view) if rule.view != "text" else (value.text,):
        match = rule.pattern.search(text)
        if match:
            found.append(Hit(rule.id, rule.category, value.field.place, cleaned(match[0]), rule.score))
            return
