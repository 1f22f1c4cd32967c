"""Snapshot files: whole or not at all, private, and a failure is seen in health."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpi_dual.engine.snapshots import Snapshots


def test_a_snapshot_is_json_of_mode_0640_in_a_directory_of_mode_0750(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Snapshots(str(tmp_path / "secubox")).write("dpi-flows.json", {"mode": "passive_tap", "name": "é"})
    finally:
        os.umask(old)
    file = tmp_path / "secubox" / "dpi-flows.json"
    assert json.loads(file.read_text()) == {"mode": "passive_tap", "name": "é"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o750


@pytest.mark.parametrize("texts", [[], ['{"a":1}'], ['{"a":1}', "[]", '"é"']])
def test_an_iterator_of_texts_becomes_an_array(tmp_path: Path, texts: list[str]) -> None:
    written = [json.dumps(json.loads(text)) for text in texts]
    Snapshots(str(tmp_path)).write("a.json", iter(written))
    assert json.loads((tmp_path / "a.json").read_text()) == [json.loads(text) for text in texts]


def test_parts_that_end_early_leave_the_old_file(tmp_path: Path) -> None:
    def broken() -> Iterator[str]:
        yield "1"
        raise sqlite3.OperationalError("disk I/O error")

    snapshots = Snapshots(str(tmp_path))
    snapshots.write("a.json", [7])
    with pytest.raises(sqlite3.OperationalError):
        snapshots.write("a.json", broken())
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a.json": "[7]\n"}


def test_a_link_in_our_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "stats").symlink_to(tmp_path / "elsewhere")
    snapshots = Snapshots(str(tmp_path / "stats"))
    snapshots.write("a.json", {})
    assert not list((tmp_path / "elsewhere").iterdir())
    snapshots.write("b.json", {})
    (problem,) = snapshots.problems()
    assert problem.code == "snapshot_failed"
    assert "a.json, b.json cannot be written (a link or a file is in the place of the directory)" in problem.message
    assert snapshots.counters() == {"snapshots_written": 0, "snapshots_failed": 2}


def test_a_link_planted_as_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "stats").mkdir()
    (tmp_path / "stats" / ".a.json.new").symlink_to(victim)
    snapshots = Snapshots(str(tmp_path / "stats"))
    snapshots.write("a.json", {"x": 1})
    assert victim.read_text() == "precious"


@pytest.mark.root
def test_a_full_disk_keeps_the_old_file_and_is_named(tmp_path: Path, make_host) -> None:  # type: ignore[no-untyped-def]
    host = make_host("router")
    script = (
        "import sys; sys.path.insert(0, 'lib')\n"
        "from dpi_dual.engine.snapshots import Snapshots\n"
        "s = Snapshots(sys.argv[1] + '/s')\n"
        "s.write('a.json', {'v': 1}); s.write('a.json', {'v': 'x' * 300000})\n"
        "print(s.problems()[0].message); print(open(sys.argv[1] + '/s/a.json').read())\n"
        "import os; print(sorted(os.listdir(sys.argv[1] + '/s')))\n"
        "s.write('a.json', {'v': 2}); print(s.problems())\n"
    )
    host.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path))
    out = host.run("/usr/bin/python3", "-c", script, str(tmp_path)).stdout.splitlines()
    assert "No space left" in out[0]
    assert json.loads(out[1]) == {"v": 1}
    assert "['a.json']" in out
    assert out[-1] == "[]"


def test_another_directory_leaves_no_stale_file_behind(tmp_path: Path) -> None:
    snapshots = Snapshots(str(tmp_path / "a"))
    snapshots.write("x.json", {})
    (tmp_path / "a" / "of-somebody-else").touch()
    snapshots.reconfigure(str(tmp_path / "b"))
    snapshots.write("x.json", {})
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["of-somebody-else"]
    assert [entry.name for entry in (tmp_path / "b").iterdir()] == ["x.json"]
