"""The plugins as rpcd runs them: real processes, with an engine, without one, and with one that misbehaves."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dpi_dual.rpc.signatures import methods, schema

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = schema()


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """An environment whose engine and settings are in a directory of the test's own."""
    (tmp_path / "config").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "config" / "dpi-dual").write_text(
        f"config global 'settings'\n\toption stats_dir '{tmp_path}/stats'\n"
        "config tap 'tap'\n\toption mirror_mode 'hardware'\n\toption interface 'lo'\n"
    )
    return {
        **os.environ,
        "DPI_DUAL_CONFIG_DIR": str(tmp_path / "config"),
        "DPI_DUAL_RUN_DIR": str(tmp_path / "run"),
        "DPI_DUAL_INIT": str(tmp_path / "init"),
    }


def call(place: dict[str, str], obj: str, *argv: str, given: bytes = b"{}") -> bytes:
    command = [str(ROOT / "rpcd" / obj), *argv]
    return subprocess.run(command, input=given, capture_output=True, env=place, check=False, timeout=30).stdout


def answer(place: dict[str, str], obj: str, method: str, given: bytes = b"{}") -> dict[str, Any]:
    decoded = json.loads(call(place, obj, "call", method, given=given))
    assert isinstance(decoded, dict)
    return decoded


class Peer:
    """A socket in the engine's place that keeps what it was sent and answers as told."""

    def __init__(self, path: Path, reply: bytes) -> None:
        self.requests: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._reply = reply
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.requests.append(connection.recv(100_000))
                connection.sendall(self._reply)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


@pytest.fixture
def engine(place: dict[str, str]) -> Iterator[Peer]:
    peer = Peer(Path(place["DPI_DUAL_RUN_DIR"]) / "engine.sock", b'{"fine":true}\n')
    yield peer
    peer.close()


@pytest.mark.parametrize("obj", SCHEMA["objects"])
def test_list_answers_at_once_without_engine_or_settings(obj: str) -> None:
    listed = json.loads(call({}, obj, "list"))
    assert set(listed) == set(SCHEMA["objects"][obj])


def test_a_call_hands_its_input_to_the_engine_and_the_answer_back(place: dict[str, str], engine: Peer) -> None:
    assert call(place, "dpi.lan", "call", "clients", given=b'{"limit":2}') == b'{"fine":true}\n'
    assert engine.requests == [b'["dpi.lan","clients",{"limit":2}]\n']


def test_no_input_means_no_parameters(place: dict[str, str], engine: Peer) -> None:
    call(place, "dpi.status", "call", "status", given=b"")
    assert engine.requests == [b'["dpi.status","status",{}]\n']


def test_input_cannot_smuggle_a_second_request(place: dict[str, str], engine: Peer) -> None:
    call(place, "dpi.status", "call", "status", given=b'{}]\n["dpi.status","mirror_stop",{}')
    assert len(engine.requests) == 1
    assert engine.requests[0].count(b"\n") == 1


@pytest.mark.parametrize("reply", [b"", b'{"half":'])
def test_an_engine_that_hangs_up_is_an_honest_answer(place: dict[str, str], reply: bytes) -> None:
    peer = Peer(Path(place["DPI_DUAL_RUN_DIR"]) / "engine.sock", reply)
    try:
        got = answer(place, "dpi.lan", "history")
    finally:
        peer.close()
    assert got["code"] == "engine_down"
    assert got["engine"] == "down"


def test_an_engine_that_hangs_is_not_called_down(place: dict[str, str]) -> None:
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(Path(place["DPI_DUAL_RUN_DIR"]) / "engine.sock"))
        hung.listen(0)
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(hung.getsockname())
        try:
            assert answer(place, "dpi.status", "health")["code"] == "timeout"
            assert answer(place, "dpi.status", "mirror_start")["code"] == "timeout"
            Path(place["DPI_DUAL_INIT"]).write_text("#!/bin/sh\n")
            Path(place["DPI_DUAL_INIT"]).chmod(0o755)
            assert answer(place, "dpi.status", "start")["running"]
        finally:
            waiting.close()


def test_nonsense_for_the_init_script_is_refused(place: dict[str, str]) -> None:
    assert answer(place, "dpi.status", "stop", b"[" * 60_000)["code"] == "bad_json"


def _without_engine() -> list[tuple[str, str]]:
    needs = {"client", "search", "get_ip_context", "get_ip_reputation", "search_correlations"}
    return [
        (obj, name)
        for obj, entries in methods().items()
        for name, method in entries.items()
        if method.access == "read" and name not in needs
    ]


@pytest.mark.parametrize(("obj", "name"), _without_engine())
def test_every_question_is_answered_without_an_engine(place: dict[str, str], obj: str, name: str) -> None:
    got = answer(place, obj, name)
    assert got["engine"] == "down"
    if "error" in got:
        assert got["code"] == "engine_down"
        return
    target, verb = methods()[obj][name].target
    returns = SCHEMA["objects"][target][verb]["returns"]
    Draft202012Validator({**returns, "$defs": SCHEMA["$defs"]}).validate(got)


def test_health_without_an_engine_says_what_to_do(place: dict[str, str]) -> None:
    got = answer(place, "dpi.status", "health")
    assert not got["ok"]
    assert got["problems"][0]["code"] == "engine_down"
    assert "dpi-dualctl start" in got["problems"][0]["hint"]


def test_the_last_snapshot_is_shown_and_hostile_ones_are_not_believed(place: dict[str, str], tmp_path: Path) -> None:
    stats = tmp_path / "stats"
    stats.mkdir()
    (stats / "lan-clients.json").write_text('{"timestamp":"T","clients":[{"mac":"a"},{"mac":"b"}]}')
    got = answer(place, "dpi.lan", "clients", b'{"limit":1}')
    assert got["clients"] == [{"mac": "a"}]
    assert got["total"] == 2
    (stats / "lan-clients.json").write_text("[1,2")
    assert answer(place, "dpi.lan", "clients")["clients"] == []


def test_wrong_calls_are_refused_without_an_engine_too(place: dict[str, str]) -> None:
    assert answer(place, "dpi.lan", "clients", b'{"limt":2}')["code"] == "bad_parameter"
    assert answer(place, "dpi.lan", "clients", b'{"limit":')["code"] == "bad_json"


def test_start_without_an_init_script_says_so(place: dict[str, str]) -> None:
    got = answer(place, "dpi.status", "start")
    assert got["code"] == "no_init_script"
    assert str(place["DPI_DUAL_INIT"]) in got["error"]


def test_stop_reports_what_the_init_script_did(place: dict[str, str]) -> None:
    script = Path(place["DPI_DUAL_INIT"])
    script.write_text('#!/bin/sh\necho "$1" >>"$0.log"\n')
    script.chmod(0o755)
    assert answer(place, "dpi.status", "stop") == {"ok": True, "running": False, "action": "stop"}
    assert Path(f"{script}.log").read_text() == "stop\n"
    script.write_text("#!/bin/sh\necho 'no netifyd' >&2\nexit 7\n")
    got = answer(place, "dpi.status", "stop")
    assert got["code"] == "init_failed"
    assert "no netifyd" in got["error"]


def test_a_wrong_invocation_says_how() -> None:
    done = subprocess.run([sys.executable, ROOT / "rpcd" / "dpi.status"], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"usage" in done.stderr


def test_the_plugins_import_next_to_nothing() -> None:
    script = (
        "import sys; sys.path.insert(0, 'lib'); before = set(sys.modules)\n"
        "import dpi_dual.rpc.plugin\n"
        "print(*sorted(m for m in set(sys.modules) - before if not m.startswith('dpi_dual')))"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() in ([], ["_socket"])
