"""The state file: kept over a kill, restored from flash after a power cut, set aside when damaged."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dpi_dual.engine.state import State


def _open(tmp_path: Path, interval_s: float = 900) -> State:
    return State(str(tmp_path / "ram"), str(tmp_path / "flash"), interval_s)


def _put(state: State, value: int) -> None:
    state.db.execute("CREATE TABLE IF NOT EXISTS t (v)")
    state.db.execute("INSERT INTO t VALUES (?)", (value,))


def _values(state: State) -> list[int]:
    return [row[0] for row in state.db.execute("SELECT v FROM t ORDER BY v")]


def _power_cut(tmp_path: Path) -> None:
    for file in (tmp_path / "ram").iterdir():
        file.unlink()


def test_a_clean_stop_and_a_power_cut_lose_nothing(tmp_path: Path) -> None:
    state = _open(tmp_path)
    _put(state, 1)
    state.close()
    _power_cut(tmp_path)
    state = _open(tmp_path)
    assert _values(state) == [1]
    assert state.problems() == []
    state.close()


def test_a_power_cut_costs_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    state = _open(tmp_path)
    _put(state, 1)
    state.checkpoint()
    _put(state, 2)
    state.db.close()
    _power_cut(tmp_path)
    state = _open(tmp_path)
    assert _values(state) == [1]
    state.close()


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; sys.path.insert(0, 'lib')\n"
        "from dpi_dual.engine.state import State\n"
        "s = State(sys.argv[1] + '/ram', sys.argv[1] + '/flash', 900)\n"
        "s.db.execute('CREATE TABLE t (v)')\n"
        "for i in range(100): s.db.execute('INSERT INTO t VALUES (?)', (i,))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    state = _open(tmp_path)
    assert _values(state) == list(range(100))
    state.close()


def test_a_damaged_file_in_ram_gives_way_to_the_copy_on_flash(tmp_path: Path) -> None:
    state = _open(tmp_path)
    _put(state, 1)
    state.close()
    live = tmp_path / "ram" / "state.db"
    live.write_bytes(b"SQLite format 3\0" + os.urandom(8192))
    state = _open(tmp_path)
    assert _values(state) == [1]
    assert [problem.code for problem in state.problems()] == ["state_damaged"]
    assert (tmp_path / "ram" / "state.db.damaged").exists()
    state.close()


def test_both_damaged_start_anew_and_say_so(tmp_path: Path) -> None:
    state = _open(tmp_path)
    _put(state, 1)
    state.close()
    for place in ("ram", "flash"):
        (tmp_path / place / "state.db").write_bytes(b"garbage" * 1000)
    state = _open(tmp_path)
    _put(state, 7)
    assert _values(state) == [7]
    assert state.problems()
    state.close()


def test_the_copy_is_whole_even_while_the_state_is_in_use(tmp_path: Path) -> None:
    state = _open(tmp_path)
    _put(state, 1)
    state.db.execute("BEGIN")
    state.db.execute("INSERT INTO t VALUES (2)")
    state.checkpoint()
    copy = sqlite3.connect(tmp_path / "flash" / "state.db")
    assert copy.execute("SELECT v FROM t").fetchall() == [(1,)]
    copy.close()
    state.db.execute("COMMIT")
    state.close()


def test_nothing_new_is_not_written_to_flash(tmp_path: Path) -> None:
    state = _open(tmp_path)
    _put(state, 1)
    state.checkpoint()
    state.checkpoint()
    assert state.counters() == {"checkpoints": 1}
    state.close()


def test_the_interval_copies_by_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        state = _open(tmp_path, 0.02)
        _put(state, 1)
        task = asyncio.ensure_future(state.run())
        while not (tmp_path / "flash" / "state.db").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        state.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_an_unusable_flash_is_a_problem_and_not_an_end(tmp_path: Path) -> None:
    (tmp_path / "flash").write_text("a file where the directory should be")
    state = _open(tmp_path)
    _put(state, 1)
    state.checkpoint()
    assert [problem.code for problem in state.problems()] == ["checkpoint_failed"]
    (tmp_path / "flash").unlink()
    state.checkpoint()
    assert state.problems() == []
    state.close()


def test_an_unusable_stats_dir_leaves_history_in_memory(tmp_path: Path) -> None:
    (tmp_path / "ram").symlink_to(tmp_path)
    state = _open(tmp_path)
    _put(state, 1)
    assert [problem.code for problem in state.problems()] == ["state_unavailable"]
    state.close()


def test_a_full_disk_at_the_start_is_a_problem_and_harms_nothing(tmp_path: Path) -> None:
    state = _open(tmp_path)
    _put(state, 1)
    state.close()
    before = (tmp_path / "ram" / "state.db").read_bytes()

    def full(path: Path) -> bool:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dpi_dual.engine.state._is_sound", full)
        state = _open(tmp_path)
    assert [problem.code for problem in state.problems()] == ["state_unavailable"]
    _put(state, 2)
    assert not state.db.in_transaction  # parts share it: one statement's transaction would stop another's
    state.close()
    assert (tmp_path / "ram" / "state.db").read_bytes() == before
    state = _open(tmp_path)
    assert _values(state) == [1]
    state.close()


# An engine that was killed: its files stand as it left them, open.
_KILLED = (
    "if not (child := os.fork()):\n"
    "    state = State(ram, sys.argv[1] + '/flash', 900)\n"
    "    os.kill(os.getpid(), 9)\n"
    "os.waitpid(child, 0)"
)


@pytest.mark.root
@pytest.mark.parametrize("before", ["", _KILLED])
def test_no_room_for_a_first_file_or_for_more_tables(tmp_path: Path, before: str) -> None:
    script = (
        "import os, sys; sys.path.insert(0, 'lib')\n"
        "from dpi_dual.engine.state import State\n"
        "ram = sys.argv[1] + '/ram'\n"
        f"{before}\n"
        "with open(ram + '/filler', 'wb', buffering=0) as filler:\n"
        "    try:\n"
        "        while True: filler.write(bytes(4096))\n"
        "    except OSError: pass\n"
        "state = State(ram, sys.argv[1] + '/flash', 900)\n"
        "print([problem.code for problem in state.problems()])\n"
        "state.close()\n"
    )
    (tmp_path / "ram").mkdir(0o750)
    mounted = 'mount -t tmpfs -o size=1m,mode=750 tmpfs "$2/ram" && exec "$0" -c "$1" "$2"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, sys.executable, script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "['state_unavailable']\n", done.stderr


def test_a_file_deleted_under_us_is_still_saved(tmp_path: Path) -> None:
    state = _open(tmp_path)
    _put(state, 1)
    state.checkpoint()
    _put(state, 2)
    _power_cut(tmp_path)
    state.close()
    state = _open(tmp_path)
    assert _values(state) == [1, 2]
    state.close()


def test_a_new_state_dir_gets_its_copy_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        state = _open(tmp_path)
        _put(state, 1)
        state.checkpoint()
        state.reconfigure(str(tmp_path / "ram"), str(tmp_path / "usb"), 900)
        task = asyncio.ensure_future(state.run())
        while not (tmp_path / "usb" / "state.db").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        state.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_a_new_stats_dir_counts_from_the_next_start_and_leaves_nothing_stale(tmp_path: Path) -> None:
    state = _open(tmp_path)
    _put(state, 1)
    state.reconfigure(str(tmp_path / "ram2"), str(tmp_path / "flash"), 900)
    assert [problem.code for problem in state.problems()] == ["state_moves_later"]
    state.close()
    assert not (tmp_path / "ram" / "state.db").exists()
    state = State(str(tmp_path / "ram2"), str(tmp_path / "flash"), 900)
    assert _values(state) == [1]
    assert state.problems() == []
    state.close()
