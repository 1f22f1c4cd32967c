"""Candidate rules and exclusions that cannot be tried."""

from __future__ import annotations

import pytest

from dpi_dual.mitm.judge import CandidateError, candidates_of


@pytest.mark.parametrize(
    ("exclusions", "rules"),
    [
        ("x", None),
        ([{}], None),
        ([{"rule": 1}], None),
        ([{"rule": "a", "other": "b"}], None),
        (None, [{"id": "a", "pattern": "x", "category": "nonsense"}]),
        (None, [{"id": "a", "pattern": "x", "place": "nowhere"}]),
        (None, [{"id": "a", "pattern": "x", "score": 101}]),
        (None, [{"id": "a", "pattern": "x", "score": True}]),
        (None, [{"id": "a", "pattern": "x" * 1000}]),
        (None, [{"id": "a", "pattern": "x"}] * 51),
    ],
)
def test_candidates_that_cannot_be_tried(exclusions: object, rules: object) -> None:
    with pytest.raises(CandidateError):
        candidates_of(exclusions, rules)
