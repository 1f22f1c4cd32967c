"""The time series: sums of differences in equal steps, 24 h of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from dpi_dual.engine.series import (
    COLUMNS,
    EARLIEST_AT,
    KEEP_S,
    OVERVIEW_BYTES,
    OVERVIEW_POINTS,
    POINTS,
    STEP_S,
    Series,
)

NOON = 1_800_000_000.0


class Source:
    def __init__(self) -> None:
        self.figures = (0,) * len(COLUMNS)

    def __call__(self) -> tuple[int, ...]:
        return self.figures


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def _series(db: sqlite3.Connection) -> tuple[Series, Source]:
    source = Source()
    return Series(db, source), source


def _feed(series: Series, source: Source, steps: int, start: float = NOON) -> float:
    for step in range(steps):
        source.figures = tuple(10 * step * (column + 1) for column in range(len(COLUMNS)))
        series.sample(start + STEP_S * step)
    return start + STEP_S * (steps - 1)


def test_points_are_what_was_added_in_each_step(db: sqlite3.Connection) -> None:
    series, source = _series(db)
    end = _feed(series, source, 4)
    answer = series.points("10m", end)
    assert answer["interval_s"] == STEP_S
    assert answer["columns"] == ["at", *COLUMNS]
    assert answer["points"] == [[NOON + STEP_S * step, 10, 20, 30, 40, 50] for step in range(3)]


def test_a_counter_that_was_reset_counts_from_zero(db: sqlite3.Connection) -> None:
    series, source = _series(db)
    for step, value in enumerate((100, 150, 30)):
        source.figures = (value,) * len(COLUMNS)
        series.sample(NOON + STEP_S * step)
    points = series.points("10m", NOON + 2 * STEP_S)["points"]
    assert isinstance(points, list)
    assert [point[1] for point in points] == [50, 30]


def test_a_day_is_summed_into_a_bounded_number_of_points_and_no_byte_is_lost(db: sqlite3.Connection) -> None:
    series, source = _series(db)
    end = _feed(series, source, KEEP_S // STEP_S + 500)
    assert db.execute("SELECT COUNT(*) FROM series").fetchone()[0] <= KEEP_S // STEP_S + 1
    answer = series.points("24h", end)
    points = answer["points"]
    assert isinstance(points, list)
    assert len(points) <= POINTS + 1
    assert sum(point[1] for point in points) == 10 * KEEP_S // STEP_S


def test_rows_survive_a_restart(db: sqlite3.Connection) -> None:
    series, source = _series(db)
    end = _feed(series, source, 3)
    assert Series(db, source).points("10m", end) == series.points("10m", end)


def test_a_clock_before_ntp_writes_nothing_and_one_ahead_is_undone(db: sqlite3.Connection) -> None:
    series, source = _series(db)
    _feed(series, source, 3, start=1000.0)
    assert db.execute("SELECT COUNT(*) FROM series").fetchone()[0] == 0
    _feed(series, source, 3, start=NOON + 10 * KEEP_S)
    series.sample(NOON)
    assert db.execute("SELECT MAX(at) FROM series").fetchone()[0] == NOON
    assert EARLIEST_AT < NOON


def test_a_database_that_fails_is_a_problem_until_it_works_again(db: sqlite3.Connection) -> None:
    series, source = _series(db)
    db.execute("ALTER TABLE series RENAME TO away")
    _feed(series, source, 2)
    assert [problem.code for problem in series.problems()] == ["series_failed"]
    db.execute("ALTER TABLE away RENAME TO series")
    _feed(series, source, 2, NOON + 1000)
    assert series.problems() == []


def _recent(series: Series, span: str, now: float, since: float = 0.0) -> dict[str, Any]:
    return series.recent(span, now, since)


def test_polls_get_whole_steps_and_then_only_what_is_new(db: sqlite3.Connection) -> None:
    series, source = _series(db)
    start = NOON // 900 * 900
    end = _feed(series, source, KEEP_S // STEP_S + 45, start)
    whole = _recent(series, "24h", end)
    points = whole["points"]
    assert len(points) == OVERVIEW_POINTS
    assert whole["until_at"] == end
    assert {tuple(point[1:]) for point in points[:-1]} == {(900, 2700, 3600, 4500)}
    assert points[-1][0] + 900 > end
    following = _recent(series, "24h", end, since=points[-1][0])
    assert following["points"] == points[-1:]


def test_polls_stay_light_when_figures_are_beyond_any_link(db: sqlite3.Connection) -> None:
    series, _ = _series(db)
    for step in range(60):
        db.execute("INSERT INTO series VALUES (?, ?, ?, ?, ?, ?)", (int(NOON) + 10 * step, *(10**17,) * 5))
    answer = _recent(series, "10m", NOON + 600)
    assert len(json.dumps(answer["points"], separators=(",", ":"))) <= OVERVIEW_BYTES
    assert answer["points"][-1][0] == NOON + 580


def test_a_poll_of_an_empty_series_is_an_answer(db: sqlite3.Connection) -> None:
    series, _ = _series(db)
    assert _recent(series, "10m", NOON) == {
        "range": "10m",
        "interval_s": 10,
        "until_at": 0,
        "columns": ["at", "tap_bytes", "lan_bytes", "mitm_requests", "mitm_threats"],
        "points": [],
    }
