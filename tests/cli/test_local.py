"""Commands without a call behind them: found, explained, refused and shown like the others."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import programs

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    env = programs.place(tmp_path)
    return lambda *argv: programs.run(env, "dpi-dualctl", *argv)


def test_help(run: Run) -> None:
    assert "haproxy apply " in run("--help").stdout
    done = run("haproxy", "apply", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: dpi-dualctl haproxy apply ")
    assert "examples:" in done.stdout
    assert "exit codes:" in done.stdout
    assert run("help", "haproxy", "apply").stdout == done.stdout


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["haproxy"], "'haproxy' needs one of: render, check, apply, status"),
        (["haproxy", "aply"], "'haproxy' needs one of: render, check, apply, status"),
        (["haproxy", "apply", "--froce"], "--froce is not known here; did you mean --force?"),
        (["haproxy", "render", "\x1b[2J"], "\\x1b[2J is not known here"),
    ],
)
def test_wrong_usage(run: Run, argv: list[str], complaint: str) -> None:
    done = run(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr


def test_an_error_is_a_sentence_or_an_answer(run: Run) -> None:
    # The place has no backend section.
    plain = run("haproxy", "render")
    assert (plain.returncode, plain.stdout) == (4, "")
    assert plain.stderr.startswith("dpi-dualctl haproxy render: dpi-dual.backend: no section of this type")
    told = run("haproxy", "render", "--json")
    assert (told.returncode, told.stderr) == (4, "")
    assert json.loads(told.stdout)["code"] == "bad_settings"
