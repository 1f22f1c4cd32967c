"""`python -m bench`: what it says, what it writes, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import bench.__main__ as main
from bench.row import NotHere, Row

ROOT = Path(__file__).resolve().parents[2]
KEPT = Row("kept", 1, "ms", 2, "≤ 2", True, 7, "nothing done")
MISSED = Row("missed", 3, "ms", None, "≤ 2", False)


def test_the_list_names_every_measurement() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert set(lines) == {*main.MEASUREMENTS, *main.ON_REQUEST, "curves"}
    assert all(len(said) > 20 for said in lines.values())


def test_the_table_has_value_baseline_repeats_and_verdict() -> None:
    head, kept, missed = main.table([KEPT, MISSED]).splitlines()
    assert head.split() == ["what", "median", "baseline", "unit", "budget", "repeats", "the", "baseline", "is"]
    assert kept.split() == ["kept", "1", "2", "ms", "≤", "2", "7", "ok", "nothing", "done"]
    assert missed.split() == ["missed", "3", "ms", "≤", "2", "1", "MISSED"]


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ([KEPT], 0, "written to"),
        ([KEPT, MISSED], 1, "budget missed: missed is 3 ms, the budget is ≤ 2"),
        (NotHere("mitmproxy is not installed"), 2, "not taken: idle: mitmproxy is not installed"),
    ],
)
def test_how_it_ends(
    found: list[Row] | NotHere,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measure() -> list[Row]:
        if isinstance(found, NotHere):
            raise found
        return found

    monkeypatch.setattr("bench.idle.measure", measure)
    monkeypatch.setattr(main, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(sys, "argv", ["bench", "--row", "idle"])
    assert main.main() == status
    assert said in capsys.readouterr().err
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["name"] for row in results["rows"]] == (
        [] if isinstance(found, NotHere) else [row.name for row in found]
    )
    assert {"cpu", "cores", "kernel", "python", "load_1min"} <= set(results["machine"])


def test_an_unknown_curve_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--curves", "flaws"])
    assert main.main() == 2
    assert "there is no curve flaws; there are flows, addresses, events" in capsys.readouterr().err
