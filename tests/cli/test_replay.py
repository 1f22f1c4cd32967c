"""`dpi-dualctl replay`: files of candidates, and how an answer is shown."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from dpi_dual.cli import replay
from dpi_dual.cli.command import View
from dpi_dual.cli.terminal import Style
from dpi_dual.errors import QueryError

EXCLUSION = {"rule": "942100", "param": "q"}
RULE = {"id": "own-1", "pattern": "x"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"exclusions": [EXCLUSION]}, {"exclusions": [EXCLUSION]}),
        ({"exclusions": [EXCLUSION], "rules": []}, {"exclusions": [EXCLUSION]}),
        ([EXCLUSION, RULE], {"exclusions": [EXCLUSION], "rules": [RULE]}),
    ],
)
def test_a_file_of_candidates(tmp_path: Path, content: object, expected: object) -> None:
    path = tmp_path / "try.json"
    path.write_text(json.dumps(content))
    assert replay.candidates(path) == expected


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '"x"', '{"rule": []}', "[" * 5000, '{"rules": ["' + "x" * 70_000 + '"]}']
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "try.json"
    path.write_text(content)
    with pytest.raises(QueryError) as refused:
        replay.candidates(path)
    assert refused.value.code == "bad_file"
    with pytest.raises(QueryError, match="cannot be read"):
        replay.candidates(tmp_path / "none.json")


def test_options() -> None:
    parser = argparse.ArgumentParser()
    (command,) = replay.COMMANDS
    command.options(parser)
    with pytest.raises(QueryError, match="--active"):
        command.act(parser.parse_args(["192.0.2.1", "--force"]))


def test_what_is_shown() -> None:
    row = {"id": "ab12", "client_ip": "192.0.2.1", "method": "GET", "host": "h", "path": "/p", "appeared": ["r ARGS:q"]}
    verdicts = {"before": {"score": 0}, "after": {"score": 55, "alert": True, "block": True}, "gone": []}
    sent = [
        {"id": "ab12", "method": "GET", "host": "h", "path": "/p", "before": {"status": 200}, "after": {"status": 500}},
        {"id": "ab13", "method": "PUT", "host": "h", "path": "/p", "skipped": "not safe"},
    ]
    sent[0]["differs"] = ["status"]
    answer = {"requests": 2, "newly_alerting": 1, "changed_total": 1, "changed": [{**row, **verdicts}], "active": sent}
    text = "\n".join(replay.show_replay({**answer, "truncated": True, "too_slow": 1}, View(0, Style(False), 0.0)))
    for part in ("1 newly alerting", "passes 0", "blocks 55", "+r ARGS:q", "status 200 → 500", "not sent: not safe"):
        assert part in text
