"""How hits add up."""

from __future__ import annotations

from dpi_dual.waf.verdict import Hit, cleaned, combined_score, verdict


def hit(rule: str, score: int, place: str = "ARGS:a", category: str = "sqli") -> Hit:
    return Hit(rule, category, place, "x", score)


def test_independent_rules_add_up_and_never_pass_100():
    assert combined_score([hit("a", 40), hit("b", 40)]) == 64
    assert combined_score([hit(str(number), 60) for number in range(50)]) == 100


def test_one_rule_counts_once():
    assert combined_score([hit("a", 40), hit("a", 40, "ARGS:b")]) == 40


def test_weak_rules_help_each_other_only_at_one_place():
    assert combined_score([hit("a", 20), hit("b", 20)]) == 36
    assert combined_score([hit("a", 20), hit("b", 20, "ARGS:b")]) == 20


def test_verdict_orders_and_names_categories():
    found = verdict([hit("a", 31, category="xss"), hit("b", 60)], "quick")
    assert found.categories == ("sqli", "xss")
    assert found.alert and found.block
    assert not verdict([hit("a", 29)], "quick").alert
    assert verdict([hit("a", 29)], "quick").categories == ()


def test_matched_text_is_fit_for_a_log():
    assert cleaned("a\n\x1b[31m" + "b" * 200).isprintable()
    assert len(cleaned("b" * 200)) == 80
