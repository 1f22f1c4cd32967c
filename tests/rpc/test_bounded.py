"""What the Overview cuts to size: never more than its share, whatever the names; never other than a beginning."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dpi_dual.engine.series import OVERVIEW_BYTES
from dpi_dual.rpc.bounded import (
    DISTRIBUTION_BYTES,
    MOST_BYTES,
    NAMES,
    OFFENDER_BYTES,
    PROBLEM_BYTES,
    PROBLEMS,
    THREAT_BYTES,
    THREATS,
    TYPE_BYTES,
    cut,
    distribution,
    largest,
    scorecard,
    shown_problems,
    threats,
    weight,
    within,
)

WIDE = "\U0001d518"
FIXED = 1500
"""Bytes of all that has a fixed size: states, figures, names of keys."""


@given(st.text(), st.integers(8, 200))
def test_a_cut_text_fits_and_is_the_beginning_of_the_whole(text: str, most: int) -> None:
    short = cut(text, most)
    assert weight(short) - 2 <= most
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))


def test_what_fits_is_left_alone() -> None:
    assert cut("netify.youtube", 32) == "netify.youtube"
    assert cut("x" * 32, 32) == "x" * 32
    assert cut("x" * 33, 32) == "x" * 26 + "…"


@given(st.lists(st.text(max_size=20)), st.integers(0, 9), st.integers(0, 200))
def test_rows_within_a_room_are_the_first_ones(rows: list[str], most: int, room: int) -> None:
    kept = within(rows, most, room)
    assert rows[: len(kept)] == kept
    assert len(kept) <= most
    assert sum(weight(row) + 1 for row in kept) <= room


def test_the_largest_come_first() -> None:
    assert largest({"b": 1, "a": 1, "c": 5}, 2, 100) == {"c": 5, "a": 1}


figures = st.integers(0, 10**15)
names = st.dictionaries(st.text(max_size=80) | st.just(WIDE * 50), st.tuples(figures, figures), max_size=20)


@settings(max_examples=50)
@given(names, names)
def test_a_distribution_keeps_its_share_and_the_whole_is_told(
    protocols: dict[str, tuple[int, int]], applications: dict[str, tuple[int, int]]
) -> None:
    made = distribution(protocols, applications)
    assert made["bytes"] == sum(size for size, _ in protocols.values())
    for rows in (made["protocols"], made["applications"]):
        assert len(rows) <= NAMES
        assert weight(rows) <= DISTRIBUTION_BYTES + 2
        assert [row["bytes"] for row in rows] == sorted((row["bytes"] for row in rows), reverse=True)


def _record(text: str, **more: Any) -> dict[str, Any]:
    return {
        "id": 2**31,
        "ip": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "event_type": "a" * 32,
        "threat_score": 100,
        "reputation_score": 100.0,
        "crowdsec_status": "unbanned",
        "state": "crowdsec_ban",
        "count": 2**31,
        "last_at": 1_795_333_112.426,
        "kind": "client",
        "actor": "02:00:5e:00:01:64",
        "reason": text,
        **more,
    }


def test_the_worst_of_everything_is_not_too_much_together() -> None:
    text = WIDE * 500
    problem = {"code": "c" * 60, "severity": "warning", "message": text, "hint": text, "details": {"x": text}}
    parts: list[Any] = [
        shown_problems([problem] * 100),
        threats([_record(text)] * 100),
        [distribution({WIDE * (40 + n): (10**15, 10**9) for n in range(60)}, {}) for _ in range(4)],
        scorecard(
            {
                "level": "critical",
                "events": 10**9,
                "open": 2000,
                "banned": 2000,
                "types": {f"{text}{n}": 10**9 for n in range(40)},
                "categories": {f"{text}{n}": 10**9 for n in range(40)},
                "offenders": [{"actor": text, "ip": "f" * 39, "score": 100.0, "threats": 2000, "last_event": "e" * 32}]
                * 10,
                "step_s": 3600,
                "trend": [{"at": 3600 * n, "events": 10**6} for n in range(40)],
            }
        ),
    ]
    assert len(parts[0]) <= PROBLEMS
    assert len(parts[1]) <= THREATS
    assert weight(parts) + OVERVIEW_BYTES + FIXED <= MOST_BYTES
    shares = PROBLEM_BYTES + THREAT_BYTES + 4 * DISTRIBUTION_BYTES + OFFENDER_BYTES + 2 * TYPE_BYTES
    assert shares + OVERVIEW_BYTES + FIXED <= MOST_BYTES


def test_a_problem_is_shown_without_what_only_programs_read() -> None:
    (shown,) = shown_problems([{"code": "c", "severity": "error", "message": "m", "details": {"a": 1}}])
    assert shown == {"code": "c", "severity": "error", "message": "m", "hint": ""}


def test_a_client_is_named_by_its_mac_and_a_remote_address_by_itself() -> None:
    client, remote = threats([_record("why"), _record("why", kind="remote", actor="192.0.2.1")])
    assert client["actor"] == "02:00:5e:00:01:64"
    assert "actor" not in remote


def test_a_record_of_an_older_version_is_left_out() -> None:
    assert threats([{"id": 1, "ip": "192.0.2.1"}]) == []


def test_the_answer_is_plain_json() -> None:
    assert json.loads(json.dumps(threats([_record("\x00\u202e")])))
