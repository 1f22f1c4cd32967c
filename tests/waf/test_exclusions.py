"""One rule is silenced at one host, path and parameter, and nothing else is."""

from __future__ import annotations

import pytest

from dpi_dual.waf.exclusions import Exclusion
from dpi_dual.waf.quick import QuickRules
from dpi_dual.waf.request import parse


def rules_hit(
    exclusion: Exclusion, host: str = "blog.example", path: str = "/edit?text=%3Cscript%3Ealert(1)"
) -> set[str]:
    return {hit.rule for hit in QuickRules(exclusions=[exclusion]).judge(parse("GET", path, {"Host": host})).rules}


@pytest.mark.parametrize(
    "exclusion",
    [
        Exclusion("xss-script-tag"),
        Exclusion("xss-script-*"),
        Exclusion("xss"),
        Exclusion("xss-script-tag", "blog.example"),
        Exclusion("xss-script-tag", "*.example", "/ed*", "text"),
        Exclusion("xss-script-tag", "BLOG.example", "/edit", "ARGS:text"),
    ],
)
def test_silences(exclusion: Exclusion):
    assert "xss-script-tag" not in rules_hit(exclusion)


@pytest.mark.parametrize(
    "exclusion",
    [
        Exclusion("sqli"),
        Exclusion("xss-script-tag", "shop.example"),
        Exclusion("xss-script-tag", "", "/edit/*"),
        Exclusion("xss-script-tag", "", "", "title"),
        Exclusion("xss.script.tag"),
        Exclusion("", "", "", ""),
        Exclusion("*" + "a*" * 20),
    ],
)
def test_leaves_the_rest(exclusion: Exclusion):
    assert "xss-script-tag" in rules_hit(exclusion)


def test_port_is_no_part_of_the_host():
    assert "xss-script-tag" not in rules_hit(Exclusion("xss", "blog.example"), "blog.example:8443")
    assert "xss-script-tag" not in rules_hit(Exclusion("xss", "[2001:db8::1]"), "[2001:db8::1]:80")


def test_a_parameter_may_be_silenced_for_all_rules():
    assert rules_hit(Exclusion("", "", "", "text")) == set()
