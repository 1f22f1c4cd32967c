"""The lab's attacks: one for every category that the WAF has, each found, and people who browse left in peace."""

from __future__ import annotations

import random

import pytest

from dpi_dual.waf.quick import QuickRules
from dpi_dual.waf.request import parse
from dpi_dual.waf.verdict import CATEGORIES, Verdict
from lab.attacks import ATTACKS, SERIES, Sent, forged
from lab.visitors import ORDINARY

#: What no single request of anybody shows.
BEHAVIOUR = {"rate_limit", "anomaly"}


def judged(sent: Sent) -> Verdict:
    headers = [("Host", sent.host), ("User-Agent", "Mozilla/5.0 Firefox/128.0"), *sent.headers.items()]
    return QuickRules().judge(parse(sent.method, sent.path, headers, sent.body))


def test_every_category_has_its_attacks() -> None:
    assert set(ATTACKS) == CATEGORIES - BEHAVIOUR
    assert {category for _, category in SERIES.values()} == {"brute_force", "scanner", "rate_limit"}


@pytest.mark.parametrize("category", ATTACKS)
def test_each_attack_is_found_as_what_it_is(category: str) -> None:
    for sent in ATTACKS[category]:
        verdict = judged(sent)
        assert verdict.alert, sent
    assert any(judged(sent).categories[0] == category for sent in ATTACKS[category])


@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_requests_are_left_alone(kind: str) -> None:
    dice = random.Random(5)
    for _ in range(20):
        for sent in ORDINARY[kind](dice):
            assert not judged(sent).alert, (sent, judged(sent))


@pytest.mark.parametrize("kind", SERIES)
def test_no_request_of_a_series_is_an_attack_by_itself(kind: str) -> None:
    sent = list(SERIES[kind][0](random.Random(1)))
    assert 10 < len(sent) <= 600
    assert not any(judged(one).alert for one in sent[:30])


def test_lies_are_told_about_somebody_else() -> None:
    dice = random.Random(2)
    lies = [forged(dice) for _ in range(50)]
    assert {name for headers in lies for name in headers} >= {"X-Forwarded-For", "X-Real-IP", "Forwarded"}
