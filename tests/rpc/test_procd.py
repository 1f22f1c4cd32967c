"""procd's word on the service, as answered without an engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dpi_dual import uci
from dpi_dual.rpc import procd

RESPAWN = {"threshold": 3600, "timeout": 5, "retry": 0}


def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, status: int = 0) -> None:
    """`ubus` answers with this, whatever it is asked."""
    (tmp_path / "answer").write_text(text)
    command = tmp_path / "ubus"
    command.write_text(f"#!/bin/sh\ncat '{tmp_path}/answer'\nexit {status}\n")
    command.chmod(0o755)
    monkeypatch.setattr(uci, "UBUS", str(command))


def instance(**given: Any) -> str:
    return json.dumps({"dpi-dual": {"instances": {"engine": given}}})


@pytest.mark.parametrize(
    ("answer", "enabled", "state", "words"),
    [
        ("{}", True, "stopped", "stopped"),
        ("{}", False, "disabled", "switched off"),
        ('{"dpi-dual": {}}', True, "stopped", "stopped"),
        ('{"dpi-dual": {"instances": {"mitmdump": {"running": true}}}}', True, "stopped", "stopped"),
        (instance(running=True, pid=7, respawn=RESPAWN), True, "starting", "does not answer"),
        (instance(running=True, pid=7), True, "stopping", "being stopped"),
        (instance(running=False, exit_code=137, respawn=RESPAWN), True, "respawning", "signal 9); procd starts it"),
        (instance(running=False, exit_code=1, respawn=RESPAWN), True, "respawning", "status 1"),
        (instance(running=False, exit_code=1), True, "stopped", "status 1"),
        ("[]", True, "stopped", ""),
        ("no JSON", True, "unknown", "procd does not say"),
    ],
)
def test_states(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, enabled: bool, state: str, words: str
) -> None:
    said(monkeypatch, tmp_path, answer)
    found = procd.state(enabled)
    assert found["state"] == state and words in found["text"]


def test_a_procd_that_fails_or_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said(monkeypatch, tmp_path, "", status=7)
    assert procd.state(True)["state"] == "unknown"
    monkeypatch.setattr(uci, "UBUS", str(tmp_path / "nowhere"))
    assert procd.state(True)["state"] == "unmanaged"
