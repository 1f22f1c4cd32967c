"""Each rule: one request it catches, a near miss it leaves alone, and a pattern that cannot be made slow."""

from __future__ import annotations

import json
import random
import re
import signal
import string
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dpi_dual.waf import protocol
from dpi_dual.waf.quick import QuickRules
from dpi_dual.waf.request import parse
from dpi_dual.waf.signatures import Prefilter, Signature, signatures
from dpi_dual.waf.values import _VIEWS
from dpi_dual.waf.verdict import CATEGORIES
from tests.waf.samples import load, request_of

#: Of the SQL reader's letters, each as often as it takes for rules to match by chance.
ALPHABET = "111sssnnvfXXUSSFWHO===&&&!arryLIPTTCEk(()),;.cw"
LETTERS = ("sql", "sql_quoted", "sql_all")
RULES = {signature.id: signature for signature in signatures()}
PAIRS = {pair["rule"]: pair for pair in load("rules")}


@pytest.fixture(scope="module")
def strictest() -> QuickRules:
    return QuickRules(4)


def test_every_rule_has_its_pair():
    assert PAIRS.keys() == RULES.keys() | protocol.RULES.keys()
    assert len(RULES) == len(signatures()), "two rules have one id"


@pytest.mark.parametrize("rule", sorted(PAIRS))
def test_catches_and_leaves_alone(strictest: QuickRules, rule: str):
    pair = PAIRS[rule]
    caught = [hit for hit in strictest.hits(request_of(pair["catch"])) if hit.rule == rule]
    assert caught
    assert caught[0].place and len(caught[0].matched) <= 80 and caught[0].matched.isprintable()
    assert rule not in {hit.rule for hit in strictest.hits(request_of(pair["pass"]))}


@pytest.mark.parametrize("signature", signatures(), ids=lambda signature: signature.id)
def test_is_well_formed(signature: Signature):
    assert signature.category in CATEGORIES
    assert 1 <= signature.score <= 100
    assert 1 <= signature.paranoia <= 4
    assert signature.view == "xss" or signature.view in _VIEWS
    assert signature.description
    assert signature.kinds or signature.headers
    assert bool(signature.source) != (signature.view == "xss")


def test_prefilter_finds_the_same_by_both_ways():
    rules = tuple(signature for signature in signatures() if signature.needs)
    prefilter = Prefilter(rules)
    text = "x' union select 1 from information_schema.tables; cat /etc/passwd <script>"
    short = {rule.id for rule in prefilter.candidates(text)}
    long = {rule.id for rule in prefilter.candidates(text + " " * 500)}
    assert short == {rule.id for rule in rules if any(need.lower() in text for need in rule.needs)}
    assert short <= long


@pytest.mark.parametrize("signature", [rule for rule in signatures() if rule.view in LETTERS], ids=lambda rule: rule.id)
def test_letters_that_a_rule_needs_are_in_all_it_matches(signature: Signature):
    assert signature.needs
    chosen = random.Random(signature.id)
    for _ in range(3_000):
        letters = chosen.choice(("", "Q", "1", "Q)", "1)")) + "".join(chosen.choices(ALPHABET, k=chosen.randint(1, 12)))
        if signature.pattern.search(letters):
            assert set(signature.needs) & set(letters), letters


# --- time ------------------------------------------------------------------------------------------------------

#: No repeat may be longer, so that a pattern's work at one place is bounded whatever follows.
LONGEST_REPEAT = 200
_UNBOUNDED = re._constants.MAXREPEAT  # type: ignore[attr-defined]


def _repeats(parsed: Any, inside: int = 1) -> Iterator[tuple[int, int]]:
    """(longest, product of the repeats around it) of each repeat that can give back what it took."""
    for operation, argument in parsed:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, body = argument
            variable = high != low
            if variable:
                yield high, inside
            yield from _repeats(body, inside * (int(high) if variable and high != _UNBOUNDED else 1))
        elif name == "SUBPATTERN":
            yield from _repeats(argument[3], inside)
        elif name == "BRANCH":
            for branch in argument[1]:
                yield from _repeats(branch, inside)
        elif name in ("ASSERT", "ASSERT_NOT"):
            yield from _repeats(argument[1], inside)
        elif name in ("ATOMIC_GROUP", "POSSESSIVE_REPEAT"):
            continue


@pytest.mark.parametrize("signature", [rule for rule in signatures() if rule.source], ids=lambda rule: rule.id)
def test_no_repeat_is_endless_or_nested_deep(signature: Signature):
    parsed = re._parser.parse(signature.source)  # type: ignore[attr-defined]
    for longest, around in _repeats(parsed):
        assert longest != _UNBOUNDED, "an endless repeat"
        assert longest <= LONGEST_REPEAT
        assert longest == 1 or longest * around <= 8_000, "repeats within repeats"


@contextmanager
def watchdog(seconds: int) -> Iterator[None]:
    """Fires only on a blow-up: hundreds of times what the slowest machine needs."""

    def bark(*_: object) -> None:
        raise AssertionError("the pattern was made slow")

    before = signal.signal(signal.SIGALRM, bark)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


LENGTH = 65_536


def _worst(signature: Signature) -> Iterator[str]:
    """Texts of 64 KiB that start to match again and again: from the needed words, and single letters."""
    letters = signature.view in LETTERS
    needs = [need if letters else need.lower() for need in signature.needs[:6]] or ["a"]
    for need in needs:
        for filler in ("", " ", "a", "(", "1", "/", "'", "=", "."):
            yield ((need + filler) * (LENGTH // len(need + filler) + 1))[:LENGTH]
        yield need + " " * (LENGTH - len(need))
        yield need + "a" * (LENGTH - len(need)) + "!"
    for letter in set(signature.source[:400]) & set(string.printable):
        yield letter.lower() * LENGTH


@pytest.mark.parametrize("signature", [rule for rule in signatures() if rule.source], ids=lambda rule: rule.id)
def test_worst_input_does_not_hang_it(signature: Signature):
    # The letters of the SQL reader never get longer than this.
    bound = 1_500 if signature.view in LETTERS else LENGTH
    with watchdog(120):
        for text in _worst(signature):
            signature.pattern.search(text[:bound])


@pytest.mark.parametrize(
    "character",
    [
        "'",
        '"',
        "`",
        "<",
        "a ",
        "or 1=1 ",
        "/*",
        "&",
        "%",
        "\\",
        "$",
        "<a on",
        "../",
        "(",
        "{{",
        "\n",
        "--",
        "x=<",
        "<a x=",
        "on=",
    ],
)
@pytest.mark.parametrize("kind", ["query", "form", "json", "xml", "header", "cookie", "path"])
def test_worst_requests_do_not_hang_the_tier(character: str, kind: str):
    text = (character * LENGTH)[:LENGTH]
    request = {
        "query": lambda: parse("GET", "/?q=" + text),
        "form": lambda: parse("POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, "q=" + text),
        "json": lambda: parse("POST", "/", {"Content-Type": "application/json"}, json.dumps({"q": text})),
        "xml": lambda: parse("POST", "/", {"Content-Type": "text/xml"}, "<a>" + text + "</a>"),
        "header": lambda: parse("GET", "/", {"User-Agent": text, "Referer": text}),
        "cookie": lambda: parse("GET", "/", {"Cookie": "a=" + text}),
        "path": lambda: parse("GET", "/" + text),
    }[kind]()
    with watchdog(120):
        QuickRules(2).judge(request)
