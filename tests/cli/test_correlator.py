"""`dpi-correlator` and the threats of `dpi-dualctl`, with an engine behind them: both forms that people know."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest

from lab.engine import RunningEngine, running_engine
from tests.cli import programs

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as running:
        yield running


@pytest.fixture
def run(engine: RunningEngine) -> Run:
    kept = {key: value for key, value in engine.environment.items() if key not in ("COLUMNS", "LINES")}
    return lambda program, *argv: programs.run(kept, program, *argv)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    assert all(line.isprintable() and len(line) <= 80 for line in done.stdout.split("\n"))
    return done.stdout


def test_correlate_by_hand_and_find_it_again(run: Run) -> None:
    said = _said(run("dpi-correlator", "correlate", "192.168.1.100", "waf_alert", "suspicious_request", "75"))
    assert "waf_alert by 192.168.1.100" in said
    assert "75 (high)" in said
    assert "suspicious_request" in _said(run("dpi-correlator", "search", "192.168.1.100", "50"))
    assert "reputation 15" in _said(run("dpi-correlator", "reputation", "192.168.1.100"))
    assert "never: it is a client of the LAN" in _said(run("dpi-correlator", "context", "192.168.1.100"))
    assert "1 threat" in _said(run("dpi-correlator", "stats"))
    assert "192.168.1.100" in _said(run("dpi-dualctl", "threats", "20"))
    assert "192.168.1.100" in _said(run("dpi-dualctl", "timeline", "--type", "waf_alert"))
    assert json.loads(run("dpi-correlator", "once").stdout)["threats"] == 1


def test_whitelist_tune_and_decay(run: Run) -> None:
    assert "203.0.113.0/24" in _said(run("dpi-correlator", "whitelist", "add", "203.0.113.0/24"))
    assert "203.0.113.0/24" in _said(run("dpi-correlator", "whitelist"))
    refused = run("dpi-correlator", "ban", "203.0.113.9")
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "never banned" in refused.stderr
    assert "empty" in _said(run("dpi-correlator", "whitelist", "remove", "203.0.113.0/24"))
    assert "high" in _said(run("dpi-correlator", "tune", "--sensitivity", "high"))
    assert "at a reputation of 90" in _said(run("dpi-correlator", "auto-ban", "--enabled", "--threshold", "90"))
    assert "lowered by 5 points" in _said(run("dpi-correlator", "decay"))


@pytest.mark.parametrize(
    "words", ["timeline", "scorecard", "notifications", "tuning", "reputation", "threats", "whitelist"]
)
def test_the_others(run: Run, words: str) -> None:
    assert _said(run("dpi-correlator", words))


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["correlate", "1.2.3.4;reboot", "waf_alert"], "is not an IPv4 or IPv6 address"),
        (["unban", "198.51.100.7"], "dpi-dualctl crowdsec setup"),
        (["bans"], "dpi-dualctl crowdsec setup"),
        (["context", "fe80::1%eth0"], "zone id"),
        (["acknowledge", "4711"], "no record 4711"),
    ],
)
def test_refusals_are_errors(run: Run, argv: list[str], complaint: str) -> None:
    done = run("dpi-correlator", *argv)
    assert (done.returncode, done.stdout) == (4, "")
    assert complaint in done.stderr


def test_a_missing_argument_is_named(run: Run) -> None:
    done = run("dpi-correlator", "correlate", "198.51.100.7")
    assert done.returncode == 2
    assert "event_type" in done.stderr.lower()
