"""The control socket: one line in, one line out, whatever a peer sends."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dpi_dual.engine import control


async def _echo(obj: str, method: str, params: object) -> dict[str, object]:
    return {"object": obj, "method": method, "params": params}


async def _with_server(
    path: Path, talk: Callable[[str], Awaitable[object]], dispatch: control.Dispatch = _echo
) -> tuple[object, control.ControlServer]:
    server = control.ControlServer(str(path), dispatch)
    task = asyncio.ensure_future(server.run())
    while not path.exists():
        await asyncio.sleep(0.001)
    try:
        return await talk(str(path)), server
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _exchange(path: str, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def _ask(tmp_path: Path, data: bytes, dispatch: control.Dispatch = _echo) -> list[dict[str, object]]:
    answer, _ = asyncio.run(_with_server(tmp_path / "s", lambda path: _exchange(path, data), dispatch))
    assert isinstance(answer, bytes)
    return [json.loads(line) for line in answer.splitlines()]


def test_a_line_is_answered_with_a_line(tmp_path: Path) -> None:
    assert _ask(tmp_path, b'["dpi.status","flows",{"limit":2}]\n') == [
        {"object": "dpi.status", "method": "flows", "params": {"limit": 2}}
    ]


def test_a_connection_takes_several_requests(tmp_path: Path) -> None:
    answers = _ask(tmp_path, b'["a","b",{}]\n["c","d",{}]\n')
    assert [answer["object"] for answer in answers] == ["a", "c"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json\n", "bad_json"),
        (b'["dpi.status","flows",{"limit":\n', "bad_json"),
        (b'["dpi.status","flows",{}],["dpi.status","stop",{}]\n', "bad_json"),
        (b'["dpi.status","flows",{},{}]\n', "bad_request"),
        (b'{"object":"dpi.status"}\n', "bad_request"),
        (b'[1,"flows",{}]\n', "bad_request"),
        (b"\xff\xfe\n", "bad_json"),
        (b"[" * 60000 + b"\n", "bad_json"),
        (b"x" * (control.REQUEST_BYTES + 10) + b"\n", "too_long"),
    ],
)
def test_nonsense_is_refused_by_name(tmp_path: Path, line: bytes, code: str) -> None:
    answers = _ask(tmp_path, line)
    assert answers[0]["code"] == code
    assert answers[0]["error"]


def test_an_answer_too_large_for_ubus_says_how_to_ask_for_less(tmp_path: Path) -> None:
    async def huge(obj: str, method: str, params: object) -> dict[str, object]:
        return {"rows": ["x" * 1000] * 300}

    answer = _ask(tmp_path, b'["a","b",{}]\n', huge)[0]
    assert answer["code"] == "too_large"
    assert "limit" in str(answer["error"])


def test_wire_text_leaves_as_ascii() -> None:
    line = control.encode({"host": "\ud800 \x00 é \x1b[31m"})
    assert line.isascii()
    assert b"\x00" not in line
    assert line.count(b"\n") == 1


def test_too_many_calls_at_once_are_turned_away_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CONNECTIONS", 2)
    under_way = asyncio.Semaphore(0)

    async def slow(obj: str, method: str, params: object) -> dict[str, object]:
        under_way.release()
        return await asyncio.Future()

    async def talk(path: str) -> bytes:
        held = [await asyncio.open_unix_connection(path) for _ in range(2)]
        for _, writer in held:
            writer.write(b'["a","b",{}]\n')
            await under_way.acquire()
        third = await _exchange(path, b"")
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        return third

    answer, server = asyncio.run(_with_server(tmp_path / "s", talk, slow))
    assert answer == b""
    assert server.counters()["control_refused"] == 1


def test_connections_that_are_merely_held_open_lock_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CONNECTIONS", 2)

    async def talk(path: str) -> tuple[bytes, bytes]:
        (oldest, first), (_, second) = [await asyncio.open_unix_connection(path) for _ in range(2)]
        answer = await _exchange(path, b'["a","b",{}]\n')
        end = await oldest.read()
        for writer in (first, second):
            writer.close()
            await writer.wait_closed()
        return answer, end

    answers, server = asyncio.run(_with_server(tmp_path / "s", talk))
    assert isinstance(answers, tuple)
    assert json.loads(answers[0])["method"] == "b"
    assert answers[1] == b""
    assert server.counters()["control_idle_dropped"] == 1


@pytest.mark.parametrize("value", [float("nan"), b"bytes", object()])
def test_an_answer_that_is_not_json_is_our_fault_and_said_so(tmp_path: Path, value: object) -> None:
    async def broken(obj: str, method: str, params: object) -> dict[str, object]:
        return {"value": value}

    first, second = _ask(tmp_path, b'["a","b",{}]\n["a","b",{}]\n', broken)
    assert first["code"] == second["code"] == "internal"


def test_the_socket_is_private_and_goes_with_the_server(tmp_path: Path) -> None:
    async def mode(path: str) -> int:
        return stat.S_IMODE(Path(path).stat().st_mode)

    found, _ = asyncio.run(_with_server(tmp_path / "s", mode))
    assert found == 0o660
    assert not (tmp_path / "s").exists()


def test_a_socket_left_by_a_killed_engine_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "s").touch()

    async def talk(path: str) -> bytes:
        for _ in range(100):
            if Path(path).is_socket():
                break
            await asyncio.sleep(0.01)
        return await _exchange(path, b'["a","b",{}]\n')

    answer, _ = asyncio.run(_with_server(tmp_path / "s", talk))
    assert isinstance(answer, bytes)
    assert json.loads(answer)["object"] == "a"


def test_a_removed_socket_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LOOK_S", 0.01)

    async def scenario() -> None:
        server = control.ControlServer(str(tmp_path / "s"), _echo)
        task = asyncio.ensure_future(server.run())
        while not (tmp_path / "s").exists():
            await asyncio.sleep(0.001)
        (tmp_path / "s").unlink()
        with pytest.raises(FileNotFoundError, match="somebody removed"):
            await task

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_a_stop_does_not_wait_for_peers_and_hangs_up_on_them(tmp_path: Path) -> None:
    async def scenario() -> bytes:
        server = control.ControlServer(str(tmp_path / "s"), _echo)
        task = asyncio.ensure_future(server.run())
        while not (tmp_path / "s").exists():
            await asyncio.sleep(0.001)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b'["a","b",{}]\n')
        await reader.readline()
        task.cancel()
        await asyncio.wait([task])
        rest = await reader.read()
        writer.close()
        await writer.wait_closed()
        return rest

    assert asyncio.run(asyncio.wait_for(scenario(), 10)) == b""
