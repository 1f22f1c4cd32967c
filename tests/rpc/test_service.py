"""`start`, `stop`, `restart`: done means that the engine's process is as it should be."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dpi_dual import config_edit
from dpi_dual.rpc import service
from dpi_dual.rpc.service import UNKNOWN, _is_done
from lab.engine import running_engine
from lab.waiting import eventually


@pytest.mark.parametrize(
    ("action", "before", "now", "done"),
    [
        ("start", 0, 0, False),
        ("start", 0, 7, True),
        ("start", 7, 7, True),
        ("stop", 7, 7, False),
        ("stop", 7, 0, True),
        ("restart", 7, 7, False),
        ("restart", 7, 0, False),
        ("restart", 7, 8, True),
        ("restart", 0, 8, True),
        ("restart", UNKNOWN, 8, True),
    ],
)
def test_when_an_action_is_done(action: str, before: int, now: int, done: bool) -> None:
    assert _is_done(action, before, now) is done


def test_the_kernel_names_the_process_that_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "engine.sock")
    monkeypatch.setattr(service, "ENGINE_SOCKET", path)
    assert service.engine_process() == 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        assert service.engine_process() == os.getpid()
    assert service.engine_process() == 0


def test_an_engine_that_runs_is_told_to_read_its_settings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "ENGINE_SOCKET", "/nonexistent/engine.sock")
    assert not service.reload_engine()
    with running_engine() as engine:
        monkeypatch.setattr(service, "ENGINE_SOCKET", str(engine.directory / "run" / "engine.sock"))
        config_edit.write({"correlation": {"window": 77}}, str(engine.directory / "config"), notify=False)
        assert service.reload_engine()
        eventually("the settings are taken", lambda: engine.call("dpi.correlator", "tuning")["window"] == 77)


def test_what_the_init_script_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "init"
    script.write_text("#!/bin/sh\necho 'dpi-dual: enabled is 0' >&2\n")
    script.chmod(0o755)
    monkeypatch.setattr(service, "INIT_SCRIPT", str(script))
    monkeypatch.setattr(service, "ENGINE_SOCKET", str(tmp_path / "engine.sock"))
    monkeypatch.setattr(service, "PATIENCE_S", 3)
    answer = service._act("start")
    assert answer["code"] == "init_without_effect"
    assert "does not run yet (dpi-dual: enabled is 0); see" in str(answer["error"])
