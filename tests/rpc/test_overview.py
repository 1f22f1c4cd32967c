"""The Overview's one answer: the same figures as the long answers, small however busy the engine, told in steps."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bench.overview import ALERTS, busy_engine
from dpi_dual.rpc.bounded import MOST_BYTES
from lab.engine import RunningEngine


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with busy_engine() as running:
        yield running


def overview(engine: RunningEngine, **params: Any) -> dict[str, Any]:
    answer = engine.call("dpi.status", "overview", **params)
    assert "error" not in answer, answer
    return answer


@pytest.mark.parametrize("span", ["10m", "24h"])
def test_it_is_never_more_than_a_poll_may_weigh(engine: RunningEngine, span: str) -> None:
    answer = overview(engine, range=span)
    assert len(json.dumps(answer, separators=(",", ":"))) <= MOST_BYTES
    assert len(answer["threats"]) >= 5
    assert answer["problems"]
    assert answer["problems_total"] > len(answer["problems"])
    assert len(answer["series"]["points"]) >= (20 if span == "10m" else 85)
    assert answer["scorecard"]["offenders"]


def _short(answer: dict[str, Any]) -> dict[str, Any]:
    """Figures of the Overview's answer …"""
    card = answer["scorecard"]
    return {
        "live": answer["tap"]["flows_live"],
        "requests": answer["mitm"]["requests_total"],
        "correlated": answer["correlation"]["threats_correlated"],
        "lan": [answer["lan"][key] for key in ("active_clients", "unique_destinations", "detected_protocols")],
        "bytes": [answer["lan"][key] for key in ("bytes_in", "bytes_out")],
        "card": [card[key] for key in ("level", "events", "open", "banned")],
        "trend": sum(card["trend"]),
        "newest": answer["threats"][0]["id"],
        "problems": answer["problems_total"],
    }


def _long(engine: RunningEngine) -> dict[str, Any]:
    """… and the same of the others."""
    status = engine.call("dpi.status", "status")
    lan = engine.call("dpi.lan", "status")
    card = engine.call("dpi.correlator", "scorecard", period="day")
    return {
        "live": status["tap_stream"]["flows_live"],
        "requests": status["mitm_stream"]["requests_total"],
        "correlated": status["correlation"]["threats_correlated"],
        "lan": [status["lan_passive"][key] for key in ("active_clients", "unique_destinations", "detected_protocols")],
        "bytes": [lan[key] for key in ("bytes_in", "bytes_out")],
        "card": [card[key] for key in ("level", "events", "open", "banned")],
        "trend": sum(step["events"] for step in card["trend"]),
        "newest": engine.call("dpi.correlator", "timeline", limit=1)["threats"][0]["id"],
        "problems": len(engine.call("dpi.status", "health")["problems"]),
    }


def test_the_figures_are_those_of_the_long_answers(engine: RunningEngine) -> None:
    deadline = time.monotonic() + 60
    # Flows and clients may grow old between two questions.
    while (short := _short(overview(engine))) != (long := _long(engine)):
        assert time.monotonic() < deadline, f"{short} is not {long}"
    assert short["correlated"] == ALERTS


def test_states_say_what_runs_and_what_waits(engine: RunningEngine) -> None:
    answer = overview(engine)
    assert answer["engine"] == "running"
    states = {part: answer[part]["state"] for part in ("mitm", "tap", "lan", "correlation")}
    assert states == {"mitm": "running", "tap": "waiting", "lan": "running", "correlation": "running"}


def test_the_next_poll_brings_only_the_steps_that_may_have_changed(engine: RunningEngine) -> None:
    first = overview(engine, range="24h")
    points = first["series"]["points"]
    following = overview(engine, range="24h", since=points[-2][0])["series"]
    assert following["columns"] == first["series"]["columns"]
    assert following["points"][0] == points[-2]
    assert len(following["points"]) <= 4
    assert overview(engine, range="10m", since=time.time() + 1000)["series"]["points"] == []


def test_a_whole_day_is_there_and_each_step_is_whole(engine: RunningEngine) -> None:
    series = overview(engine, range="24h")["series"]
    starts = [point[0] for point in series["points"]]
    assert all(at % series["interval_s"] == 0 for at in starts)
    assert series["points"][0][1:] == series["points"][1][1:], "the first step is a sum over all of its time"
    assert series["until_at"] >= starts[-1]


@pytest.mark.parametrize("params", [{"range": "1h"}, {"since": -1}, {"since": "x"}, {"range": 10}])
def test_wrong_questions_are_refused(engine: RunningEngine, params: dict[str, Any]) -> None:
    assert engine.call("dpi.status", "overview", **params)["code"] == "bad_parameter"
