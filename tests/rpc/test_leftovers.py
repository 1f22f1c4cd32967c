"""Files that an engine left behind, and what somebody may have put in their place."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from dpi_dual import config
from dpi_dual.rpc import leftovers, offline


def test_what_is_ours_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"n": 1, "x": NaN, "y": 1e999, "z": 1.5}')
    assert leftovers.snapshot(str(tmp_path), "a.json") == {"n": 1, "x": None, "y": None, "z": 1.5}
    (tmp_path / "b.json").write_text('{"n": 1}\n[]\n{"n": 2}\n')
    assert leftovers.lines(tmp_path / "b.json") == [{"n": 2}, {"n": 1}]
    assert leftovers.counts({"a": 5, "b": -1, "c": True, "d": "7"}, "a", "b", "c", "d", "e") == {
        "a": 5,
        **dict.fromkeys("bcde", 0),
    }


def test_a_link_a_pipe_and_nonsense_are_not(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("{}")
    (tmp_path / "link.json").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "list.json").write_text("[1]")
    for name in ("link.json", "pipe.json", "deep.json", "list.json", "absent.json"):
        assert leftovers.snapshot(str(tmp_path), name) == {}
        assert leftovers.lines(tmp_path / name) == []


def test_another_user_s_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"n": 1}')
    if os.geteuid() != 0:  # we cannot give a file away, and all that are not root's are ours
        return
    os.chown(tmp_path / "a.json", 12345, 12345)
    assert leftovers.snapshot(str(tmp_path), "a.json") == {}


def test_no_answer_is_larger_than_rpcd_bears(tmp_path: Path, monkeypatch) -> None:
    stats = tmp_path / "stats"
    stats.mkdir()
    (stats / "dpi-flows.json").write_text(json.dumps({"protocols": {str(n): "x" * 100 for n in range(20_000)}}))
    known = config.defaults()
    settings = replace(known, settings=replace(known.settings, stats_dir=str(stats)))
    monkeypatch.setattr(config, "load", lambda: settings)
    answer = offline.answer("dpi.status", "flows", b"{}", FileNotFoundError(2, "no"))
    assert len(answer) < offline.ANSWER_BYTES
    assert json.loads(answer)["code"] == "too_large"
