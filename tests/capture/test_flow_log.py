"""Finished flows on disk: one file a minute, old ones gone, a full disk survived."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from dpi_dual.capture import flow_log
from dpi_dual.capture.flow_log import FlowLog
from dpi_dual.model import Flow
from tests.capture.streams import Clock

NOON = 1_700_049_600.0  # 2023-11-15 12:00 UTC


def ended(key: str = "k") -> Flow:
    flow = Flow("lan", "br-lan", key, 1.0, 2.0, local_ip="192.0.2.1", other_ip="198.51.100.1", hostname="ü\n.example")
    flow.ended_at, flow.end_reason = 2.0, "closed"
    return flow


def lines(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for file in sorted(directory.iterdir()) for line in file.read_text().splitlines()]


def test_one_file_a_minute(tmp_path: Path) -> None:
    clock = Clock(NOON)
    log = FlowLog(str(tmp_path / "flows"), 300, clock)
    for _ in range(3):
        log.flow_ended(ended())
        log.write()
        clock.now += 30
    files = sorted((tmp_path / "flows").iterdir())
    assert [file.name for file in files] == ["flows-20231115T1200Z.jsonl", "flows-20231115T1201Z.jsonl"]
    assert [len(file.read_text().splitlines()) for file in files] == [2, 1]
    assert all(file.stat().st_mode & 0o777 == 0o640 for file in files)
    assert lines(tmp_path / "flows")[0]["end_reason"] == "closed"
    assert log.counters()["flow_log_written"] == 3


def test_old_files_are_deleted_and_others_are_not_touched(tmp_path: Path) -> None:
    clock = Clock(NOON)
    log = FlowLog(str(tmp_path), 120, clock)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "flows-20231115T1159Z.jsonl.bak").write_text("mine")
    for _ in range(10):
        log.flow_ended(ended())
        log.write()
        clock.now += 60
    left = sorted(file.name for file in tmp_path.iterdir())
    assert left == [
        "flows-20231115T1159Z.jsonl.bak",
        "flows-20231115T1207Z.jsonl",
        "flows-20231115T1208Z.jsonl",
        "flows-20231115T1209Z.jsonl",
        "notes.txt",
    ]
    clock.now += 600
    log.write()
    assert len(list(tmp_path.iterdir())) == 2


def test_the_directory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_log, "MAX_BYTES", 3000)
    clock = Clock(NOON)
    log = FlowLog(str(tmp_path), 10_000, clock)
    for _ in range(20):
        log.flow_ended(ended())
        log.write()
        clock.now += 60
    log.write()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 3000
    assert log.counters()["flow_log_deleted_early"] > 10


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    log = FlowLog(str(tmp_path), 300)
    for number in range(flow_log.MAX_PENDING + 10):
        log.flow_ended(ended(str(number)))
    log.close()
    assert len(lines(tmp_path)) == flow_log.MAX_PENDING
    assert log.counters()["flow_log_dropped"] == 10


def test_a_full_disk_is_survived_and_told(tmp_path: Path, mocker: MockerFixture) -> None:
    log = FlowLog(str(tmp_path), 300)
    log.flow_ended(ended("before"))
    log.write()
    real = os.write

    def half(file: int, data: bytes) -> int:
        if len(data) < 300:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[:-200])

    mocker.patch("os.write", half)
    log.flow_ended(ended("lost"))
    log.write()
    (problem,) = log.problems()
    assert "No space left" in problem.message
    assert log.counters()["flow_log_dropped"] == 1
    mocker.stopall()
    log.flow_ended(ended("after"))
    log.write()
    assert log.problems() == []
    assert len(lines(tmp_path)) == 2


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    clock = Clock(NOON)
    target = tmp_path / "passwd"
    target.write_text("root")
    flows = tmp_path / "flows"
    flows.mkdir()
    (flows / "flows-20231115T1200Z.jsonl").symlink_to(target)
    log = FlowLog(str(flows), 300, clock)
    log.flow_ended(ended())
    log.write()
    assert target.read_text() == "root"
    assert log.problems()


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = FlowLog(str(tmp_path / "file" / "flows"), 300)
    log.flow_ended(ended())
    log.close()
    assert log.problems()[0].code == "flow_log_failing"


def test_another_place(tmp_path: Path) -> None:
    log = FlowLog(str(tmp_path / "a"), 300)
    log.flow_ended(ended())
    log.reconfigure(str(tmp_path / "b"), 300)
    log.flow_ended(ended())
    log.write()
    assert list((tmp_path / "a").iterdir()) == []
    assert len(lines(tmp_path / "b")) == 1


def test_running_writes_what_is_left_when_it_stops(tmp_path: Path) -> None:
    async def play() -> None:
        log = FlowLog(str(tmp_path), 300)
        task = asyncio.ensure_future(log.run())
        for number in range(1000):
            log.flow_ended(ended(str(number)))
        while log.counters()["flow_log_written"] < 1000:
            await asyncio.sleep(0.01)
        log.flow_ended(ended("last"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(play())
    assert len(lines(tmp_path)) == 1001


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "flows-20201115T1200Z.jsonl").write_text("theirs")
    (tmp_path / "flows").symlink_to(tmp_path / "elsewhere")
    log = FlowLog(str(tmp_path / "flows"), 300, Clock(NOON))
    log.flow_ended(ended())
    log.write()
    assert [file.name for file in (tmp_path / "elsewhere").iterdir()] == ["flows-20201115T1200Z.jsonl"]
    assert log.counters()["flow_log_dropped"] == 1
    assert [problem.code for problem in log.problems()] == ["flow_log_failing"]
