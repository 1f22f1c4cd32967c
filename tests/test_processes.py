"""Processes beside the engine: what they say, and that none outlives its time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from dpi_dual.processes import own_program, run_process
from lab.waiting import eventually


def test_what_a_process_says_is_told() -> None:
    program = "import sys; print(sys.stdin.read().upper()); print('oh', file=sys.stderr); sys.exit(3)"
    assert asyncio.run(run_process([sys.executable, "-c", program], b"text", 60)) == (3, b"TEXT\n", b"oh\n")


def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    program = f"import os, pathlib, time; pathlib.Path({str(place)!r}).write_text(str(os.getpid())); time.sleep(600)"

    async def impatient() -> None:
        work = asyncio.ensure_future(run_process([sys.executable, "-c", program], b"", 600))
        while not (place.exists() and place.read_text()):
            await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(impatient())
    with pytest.raises(TimeoutError):
        asyncio.run(run_process([sys.executable, "-c", "import time; time.sleep(600)"], b"", 0.01))
    eventually("it is gone", lambda: not Path(f"/proc/{place.read_text()}").exists())


def test_a_program_of_ours_finds_this_library_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "dpi_dual").mkdir()
    (tmp_path / "dpi_dual" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    command = own_program("dpi_dual.http_post_process")
    job = '{"url": "ftp://192.0.2.1/", "headers": {}, "bodies": ["x"], "timeout_s": 5}'
    surroundings = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, input=job, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "not an http or https address" in done.stdout
