"""Figures of an analyser that may lie: bounded, and counted on from one analyser to the next."""

from __future__ import annotations

from typing import Any

import pytest

from dpi_dual.mitm.analyser_figures import AnalyserFigures


def said(**figures: Any) -> dict[str, Any]:
    return {"figures": figures}


def test_totals_go_on_with_another_analyser_and_other_numbers_do_not() -> None:
    figures = AnalyserFigures()
    figures.met("one")
    figures.take(said(entries=3, requests_total=40))
    figures.met("one")
    assert (figures.count("entries"), figures.total("requests_total")) == (3, 40)
    figures.met("two")
    assert (figures.count("entries"), figures.total("requests_total")) == (0, 40)
    figures.take(said(entries=1, requests_total=2))
    assert (figures.count("entries"), figures.total("requests_total")) == (1, 42)


@pytest.mark.parametrize("lie", [-1, 1 << 53, True, 1.5, "7", None, [7], {"n": 7}])
def test_a_number_that_is_none_is_zero(lie: object) -> None:
    figures = AnalyserFigures()
    figures.take({**said(entries=lie, top_hosts={"shop": lie}), "counters": {"dropped": lie}})
    assert figures.count("entries") == 0
    assert figures.counts("top_hosts") == {"shop": 0}
    assert figures.counters == {"mitm_dropped": 0}


def test_what_is_too_much_is_left_out() -> None:
    figures = AnalyserFigures()
    many = {f"name{number}": number for number in range(1000)}
    figures.take(
        {
            **said(threat_distribution=many, top_hosts=many, tier="<b>", anomaly_model=["river"]),
            "counters": {**many, "not a name": 1},
            "problems": [{"code": "c" * 1000, "message": "m\x1b[31m" * 1000}] * 1000,
        }
    )
    assert len(figures.counts("threat_distribution")) == 32
    assert len(figures.counts("top_hosts")) == 10
    assert len(figures.counters) == 64
    assert (figures.word("tier"), figures.word("anomaly_model")) == ("builtin", "statistic")
    assert len(figures.problems) == 8
    code, message = figures.problems[0]
    assert len(code) == 64 and len(message) <= 300 and message.isprintable()


@pytest.mark.parametrize("wrong", [None, 1, "text", [], [1, None, "x"]])
def test_counters_and_problems_of_another_type_are_none(wrong: object) -> None:
    figures = AnalyserFigures()
    figures.take({**said(), "counters": wrong, "problems": wrong})
    assert (figures.counters, figures.problems) == ({}, [])


def test_what_was_wrong_with_it_goes_with_it() -> None:
    figures = AnalyserFigures()
    figures.take({**said(requests_total=5), "problems": [{"code": "mitm_disk", "message": "full"}]})
    assert figures.problems == [("mitm_disk", "full")]
    figures.left()
    assert (figures.problems, figures.total("requests_total")) == ([], 5)
