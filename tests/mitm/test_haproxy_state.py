"""What is read from HAProxy's statistics, and what becomes of it; HAProxy itself is in the integration tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.mitm.haproxy_state import (
    MAX_ANSWER,
    HaproxyState,
    HaproxyWatch,
    StateError,
    parse,
    problems_of,
    read_state,
)

HEAD = "# pxname,svname,stot,status,lastchg,check_status,check_code,"


def answer(mitm: str = "UP", inspected: object = 5, bypassed: object = 2, fail_open: bool = True) -> str:
    rows = [HEAD, f"dpi-dual-inspect,mitm,{inspected},{mitm},30,L7OK,200,"]
    if fail_open:
        rows.append(f"dpi-dual-inspect,bypass,{bypassed},no check,30,,,")
    return "\n".join([*rows, "", ""])


def test_parse() -> None:
    assert parse(answer()) == HaproxyState(True, "L7OK/200", 30, True, 5, 2)
    assert parse(answer("DOWN", fail_open=False)) == HaproxyState(False, "L7OK/200", 30, False, 5, 0)
    assert parse(answer("UP 1/2")).mitm_up  # failing, but not given up
    assert not parse(answer("DOWN 1/2")).mitm_up


def test_figures_that_are_none() -> None:
    state = parse(answer(inspected="-3", bypassed="9" * 40))
    assert (state.inspected, state.bypassed) == (0, 0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no statistics"),
        ("Unknown command.\n", "no statistics: 'Unknown command"),
        ("No such proxy.\n", "no statistics"),
        (HEAD + "\nother,mitm,1,UP,3,,,\n", "not ours"),
    ],
)
def test_answers_that_are_none(text: str, complaint: str) -> None:
    with pytest.raises(StateError, match=complaint):
        parse(text)


@given(st.text())
def test_parse_raises_nothing_else(text: str) -> None:
    for given_text in (text, HEAD + "\n" + text):
        try:
            parse(given_text)
        except StateError:
            pass


def test_problems() -> None:
    assert problems_of(parse(answer())) == []
    (bypassed,) = problems_of(parse(answer("DOWN")))
    assert (bypassed.code, bypassed.severity, bypassed.details["requests"]) == ("mitm_bypassed", "error", 2)
    (down,) = problems_of(parse(answer("DOWN", fail_open=False)))
    assert (down.code, down.severity) == ("mitm_down", "error")


class Speaker:
    """Answers on a unix socket with what it was last told to say."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.says = answer()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"show stat dpi-dual-inspect 4 -1\n"
        writer.write(self.says.encode())
        try:
            await writer.drain()
        except ConnectionError:
            pass
        writer.close()


def test_watch(tmp_path: Path) -> None:
    async def story() -> None:
        speaker = Speaker(tmp_path / "s")
        now = [100.0]
        watch = HaproxyWatch(speaker.path, lambda: now[0])
        assert watch.problems() == []
        await watch.look()
        now[0] += 7
        (unreachable,) = watch.problems()
        assert unreachable.code == "haproxy_unreachable"
        assert "(for 7 s)" in unreachable.message

        async with await asyncio.start_unix_server(speaker.serve, speaker.path):
            counted = []
            for said in (
                answer(inspected=5, bypassed=2),
                answer(inspected=9, bypassed=2),
                answer("DOWN", inspected=9, bypassed=4),
                answer(inspected=3, bypassed=0),  # reloaded
            ):
                speaker.says = said
                await watch.look()
                counted.append(tuple(watch.counters().values()))
            assert counted == [(0, 0, 0), (4, 0, 0), (4, 2, 1), (7, 2, 1)]
            assert watch.problems() == []
            speaker.says = "x" * (3 * MAX_ANSWER)
            await watch.look()
            assert [problem.code for problem in watch.problems()] == ["haproxy_unreachable"]

    asyncio.run(story())


def test_a_silent_haproxy_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpi_dual.mitm.haproxy_state.TIMEOUT_S", 0.05)

    async def ask() -> None:
        done = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await done.wait()
            writer.close()

        async with await asyncio.start_unix_server(say_nothing, tmp_path / "s"):
            with pytest.raises(StateError, match="does not answer"):
                await read_state(str(tmp_path / "s"))
            done.set()

    asyncio.run(ask())
