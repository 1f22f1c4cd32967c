"""The deep tier with the real libmodsecurity and the real Core Rule Set."""

from __future__ import annotations

from urllib.parse import quote_plus

import pytest

from dpi_dual.waf import core_rules
from dpi_dual.waf.core_rules import CoreRuleSet, CrsHit, CrsUnavailableError, rules_directory, weighed
from dpi_dual.waf.crs import BuiltinDeepRules, DeepRules, deep_rules
from dpi_dual.waf.exclusions import Exclusion
from dpi_dual.waf.request import parse
from dpi_dual.waf.verdict import ALERT_THRESHOLD
from tests.waf.samples import load, request_of

BROWSER = {"Host": "a.example", "User-Agent": "Mozilla/5.0", "Accept": "*/*"}


@pytest.fixture(scope="module")
def deep() -> DeepRules:
    pytest.importorskip("libmodsecurity", reason="the PyPI package libmodsecurity is not installed")
    try:
        return DeepRules()
    except CrsUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def crs(deep: DeepRules) -> CoreRuleSet:
    return CoreRuleSet()


@pytest.mark.parametrize(
    ("path", "headers", "body", "rule", "category", "place"),
    [
        ("/?id=1'+union+select+1,2--", {}, "", "942100", "sqli", "ARGS:id"),
        ("/?q=%3Cscript%3Ealert(1)%3C/script%3E", {}, "", "941110", "xss", "ARGS:q"),
        ("/?f=../../../etc/passwd", {}, "", "930120", "lfi", "ARGS:f"),
        (
            "/",
            {"Content-Type": "application/json"},
            '{"a": "<script>alert(1)</script>"}',
            "941110",
            "xss",
            "ARGS:json.a",
        ),
        ("/", {"Content-Type": "application/x-www-form-urlencoded"}, "a=<?php+phpinfo();", "933100", "php", "ARGS:a"),
        ("/", {"User-Agent": "sqlmap/1.7"}, "", "913100", "scanner", "REQUEST_HEADERS:user-agent"),
    ],
)
def test_core_rules_match_with_category_and_place(crs: CoreRuleSet, path, headers, body, rule, category, place):
    hits = [weighed(hit) for hit in crs.hits(parse("POST" if body else "GET", path, BROWSER | headers, body))]
    found = [hit for hit in hits if hit.rule == rule]
    assert found, hits
    assert found[0].category == category
    assert found[0].place.lower() == place.lower()


def test_verdict_is_the_deep_tiers(deep: DeepRules):
    verdict = deep.judge(parse("GET", "/?id=1'+union+select+1,2--", BROWSER))
    assert verdict.tier == "deep"
    assert verdict.block
    assert {hit.rule for hit in verdict.rules} >= {"942100", "sqli-quote-union"}


def test_form_rules_never_alert_alone(deep: DeepRules):
    assert not deep.judge(parse("GET", "/")).alert
    assert not deep.judge(parse("GET", "/", {"Host": "192.0.2.1"})).alert


def test_exclusions_reach_both_kinds_of_rule(deep: DeepRules):
    request = parse("GET", "/?id=1'+union+select+1,2--", BROWSER)
    quiet = DeepRules(exclusions=[Exclusion("sqli", "a.example", "/", "id")]).judge(request)
    assert not quiet.alert


def test_requests_do_not_leak_into_each_other(crs: CoreRuleSet):
    bad, good = parse("GET", "/?id=1'+union+select+1,2--", BROWSER), parse("GET", "/?id=1", BROWSER)
    first = crs.hits(bad)
    assert not [hit for hit in crs.hits(good) if hit.place == "ARGS:id"]
    assert crs.hits(bad) == first


@pytest.mark.parametrize("body", ["\udcff\ud800", "\0" * 10, "a" * 2_000_000, '{"a":' * 1000, "<a>" * 1000])
def test_hostile_bodies(deep: DeepRules, body: str):
    for kind in (
        "application/json",
        "text/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ):
        deep.judge(parse("POST", "/\0?\udcff=%ff%00", BROWSER | {"Content-Type": kind, "X-A": "\0\udc80"}, body))


def test_accuracy_does_not_fall(deep: DeepRules):
    found = {"attack": [], "benign": []}
    for record in load("tuning"):
        found[record["label"]].append(deep.judge(request_of(record)).alert)
    assert sum(found["attack"]) / len(found["attack"]) >= 0.92
    assert sum(found["benign"]) / len(found["benign"]) <= 0.06


def test_libinjection_fingerprints_are_weighed():
    def score(fingerprint: str) -> int:
        return weighed(CrsHit(942100, 1, 2, "", "ARGS:q", fingerprint)).score

    assert score("1UE1") > score("s&s") > score("f(1)")
    assert score("nc") < ALERT_THRESHOLD < score("sc"), "a dash behind a word is no comment"


def test_stricter_rules_support_where_their_level_was_not_asked_for():
    strict = CrsHit(942120, 2, 2, "", "ARGS:q", "in (")
    assert weighed(strict).score < ALERT_THRESHOLD // 2 < weighed(strict, 2).score < ALERT_THRESHOLD


def test_one_thing_seen_by_many_stricter_rules_is_no_alert(deep: DeepRules):
    markup = '<div class="post"><h1>Hello</h1><p style="color: red; font-weight: bold">It is <em>great</em>.</p></div>'
    form = BROWSER | {"Content-Type": "application/x-www-form-urlencoded"}
    for body in ("text=" + quote_plus(markup), "id=2+and+3"):
        assert not deep.judge(parse("POST", "/save", form, body)).alert
    assert DeepRules(2).judge(parse("GET", "/?id=2+and+3", BROWSER)).alert


def test_a_tag_seen_by_several_rules_is_one_tag(deep: DeepRules):
    link = '<p>See also</p> <link rel="alternate" title="Feed" href="feed.xml" />'
    form = BROWSER | {"Content-Type": "application/x-www-form-urlencoded"}
    assert not deep.judge(parse("POST", "/save", form, "text=" + quote_plus(link))).alert
    script = link.replace("alternate", "x onload=prompt()")
    assert deep.judge(parse("POST", "/save", form, "text=" + quote_plus(script))).alert


def test_a_directory_without_rules_is_named(tmp_path):
    with pytest.raises(CrsUnavailableError, match="holds no Core Rule Set"):
        rules_directory(str(tmp_path))


def test_rules_below_a_release_directory_are_found(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "REQUEST-901-INITIALIZATION.conf").touch()
    assert rules_directory(str(tmp_path)) == tmp_path / "rules"


def test_auto_falls_back_to_the_builtin_rules(monkeypatch, tmp_path):
    monkeypatch.setattr(core_rules, "DEBIAN_RULES", tmp_path)
    rules = deep_rules("auto")
    assert isinstance(rules, BuiltinDeepRules)
    verdict = rules.judge(parse("GET", "/?id=1'+union+select+1,2--"))
    assert verdict.alert and verdict.tier == "deep"
    with pytest.raises(CrsUnavailableError, match="modsecurity-crs"):
        deep_rules("crs")


def test_a_broken_rule_file_is_named(tmp_path, deep: DeepRules):
    (tmp_path / "REQUEST-901-INITIALIZATION.conf").write_text("SecNonsense on\n")
    with pytest.raises(CrsUnavailableError, match="REQUEST-901"):
        CoreRuleSet(str(tmp_path))
