"""The lab's note about itself, and the clearing away of a lab that crashed: only what is proved to be its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lab import record
from lab.waiting import PATIENCE_S


def sleeper(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


def test_one_lab_a_checkout(tmp_path: Path) -> None:
    held = record.lock(tmp_path)
    record.write({"pid": 7, "url": "http://127.0.0.1:1"}, tmp_path / "lab.json")
    with pytest.raises(record.AlreadyRunningError, match=r"process 7, http://127\.0\.0\.1:1"):
        record.lock(tmp_path)
    os.close(held)
    os.close(record.lock(tmp_path))


def test_the_record_is_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    record.write({"password": "x"}, path)
    record.write({"password": "y"}, path)
    assert record.read(path) == {"password": "y"}
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{ not json")
    assert record.read(path) == {}
    path.write_text("[1]")
    assert record.read(path) == {}


def test_what_a_crashed_lab_left_is_cleared_away_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    directory = Path(tempfile.mkdtemp(prefix=record.PREFIX))
    (directory / "engine.log").touch()
    ours = sleeper({record.RUN_VARIABLE: "abc"})
    not_ours = sleeper({record.RUN_VARIABLE: "abcd", "OTHER": f"{record.RUN_VARIABLE}=abc"})
    try:
        record.write({"run": "abc", "directory": str(directory)}, path)
        said = record.clear_stale(path)
        assert ours.wait(timeout=PATIENCE_S) == -15
        assert not_ours.poll() is None
        assert not directory.exists()
        assert not path.exists()
        assert len(said) == 2
        assert f"ended process {ours.pid} of the last run" in said[0]
    finally:
        for process in (ours, not_ours):
            process.kill()
            process.wait()


def test_a_directory_that_is_not_the_labs_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    precious = tmp_path / "precious"
    precious.mkdir()
    record.write({"run": "abc", "directory": str(precious)}, path)
    assert record.clear_stale(path) == []
    assert precious.is_dir()
    assert record.clear_stale(path) == []


def test_a_process_that_ignores_being_asked_is_killed() -> None:
    text = "import signal,time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        record.end([process.pid, 2**22 - 1], patience_s=0.2)
        assert process.wait(timeout=PATIENCE_S) == -9
