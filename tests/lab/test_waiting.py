"""Waiting: what came true is answered, errors of a start pass, and what never comes is named with what was seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from lab.waiting import NeverError, eventually, eventually_async, seconds_until


def tries(*outcomes: object) -> Callable[[], object]:
    """A condition that gives these one after another; errors among them are raised."""
    left: Iterator[object] = iter(outcomes)

    def condition() -> object:
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return condition


def test_what_came_true_is_answered() -> None:
    assert eventually("rows", tries(None, [], ["row"])) == ["row"]
    assert asyncio.run(eventually_async("rows", tries(0, 7))) == 7


def test_errors_of_a_start_pass_and_others_do_not() -> None:
    assert eventually("an answer", tries(ConnectionRefusedError(), KeyError("engine"), "running")) == "running"
    with pytest.raises(ZeroDivisionError):
        eventually("an answer", tries(ZeroDivisionError(), "running"))
    assert eventually("an answer", tries(ZeroDivisionError(), "running"), not_yet=(ZeroDivisionError,)) == "running"


def test_what_never_comes_is_named_with_what_was_seen_last() -> None:
    with pytest.raises(NeverError, match=r"not within 0 s: three clients \(\[\]\)"):
        eventually("three clients", lambda: [], 0)
    with pytest.raises(NeverError, match="ConnectionRefusedError"):
        eventually("an answer", tries(*[ConnectionRefusedError()] * 1000), 0)


def test_the_time_it_took_is_told() -> None:
    assert seconds_until("now", lambda: True) >= 0
