"""A session with a local API that is newer, slow, wrong or elsewhere."""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from collections.abc import Awaitable, Callable

import pytest

from dpi_dual.correlation import crowdsec, crowdsec_session
from dpi_dual.correlation.crowdsec import CrowdSec, CrowdsecError
from dpi_dual.settings import Crowdsec, CrowdsecSecrets
from tests.correlation.serving import OK, serving, silent


def subject(url: str) -> CrowdSec:
    db = sqlite3.connect(":memory:", isolation_level=None)
    made = CrowdSec(Crowdsec(url, "router", "profile"), CrowdsecSecrets("password", "key"), db)
    weakref.finalize(made, db.close)
    return made


async def with_answers(answers: dict[str, bytes], then: Callable[[CrowdSec], Awaitable[None]]) -> None:
    """`answers`: the beginning of a request line → the body; anything else is 404."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        body = next((body for start, body in answers.items() if line.startswith(start)), None)
        if body is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        else:
            writer.write(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async with serving(serve) as port:
        await then(subject(f"http://127.0.0.1:{port}"))


LOGIN = {"POST /v1/watchers/login": b'{"code":200,"expire":"2000-01-01T00:00:00Z","token":"t"}'}


def test_an_address_on_an_allow_list_of_a_newer_server_is_not_banned() -> None:
    async def then(crowdsec: CrowdSec) -> None:
        assert await crowdsec.allowlisted("203.0.113.1") == "203.0.113.0/24 from office"
        with pytest.raises(CrowdsecError, match="office") as refused:
            await crowdsec.ban("203.0.113.1", 60, "x")
        assert refused.value.code == "allowlisted"

    allowed = b'{"allowlisted": true, "reason": "203.0.113.0/24 from office"}'
    asyncio.run(with_answers({**LOGIN, "GET /v1/allowlists/check/203.0.113.1": allowed}, then))


@pytest.mark.parametrize("said", [b"[]", b"null", b"[1]", b'["x"]', b"{", b'[["1"]]', b'["' + b"1" * 5000 + b'"]'])
def test_a_ban_is_never_believed_without_a_decision(said: bytes) -> None:
    async def then(crowdsec: CrowdSec) -> None:
        with pytest.raises(CrowdsecError):
            await crowdsec.ban("203.0.113.1", 60, "x")

    asyncio.run(with_answers({**LOGIN, "POST /v1/alerts": said}, then))


@pytest.mark.parametrize(
    "decision",
    [
        "null",
        "{}",
        '{"id":1,"type":"ban","scope":"Ip","value":"203.0.113.1","duration":"-1s"}',
        '{"id":1,"type":"ban","scope":"Ip","value":"203.0.113.2","duration":"1h"}',
        '{"id":1,"type":"ban","scope":"Ip","value":"203.0.113.1","duration":"1h","simulated":true}',
    ],
)
def test_a_decision_that_is_not_in_force_is_no_ban(decision: str) -> None:
    async def then(crowdsec: CrowdSec) -> None:
        with pytest.raises(CrowdsecError) as refused:
            await crowdsec.ban("203.0.113.1", 60, "x")
        assert refused.value.code == "not_banned"

    alert = f'{{"id":7,"decisions":[{decision}]}}'.encode()
    asyncio.run(with_answers({**LOGIN, "POST /v1/alerts": b'["7"]', "GET /v1/alerts/7": alert}, then))


def test_a_slow_local_api_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowdsec, "CALL_S", 0.1)

    async def scenario() -> None:
        async with serving(silent) as port:
            slow = subject(f"http://127.0.0.1:{port}")
            with pytest.raises(CrowdsecError) as refused:
                await slow.ban("203.0.113.1", 60, "x")
            assert refused.value.code == "timeout"

    asyncio.run(scenario())


def test_one_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowdsec_session, "STREAM_S", 0.2)

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\n[")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def scenario() -> None:
        async with serving(trickle) as port:
            slow = subject(f"http://127.0.0.1:{port}")
            with pytest.raises(CrowdsecError) as refused:
                await slow.bans()
            assert refused.value.code == "crowdsec_unreachable"

    asyncio.run(scenario())


def test_https_is_refused_with_what_to_do_instead() -> None:
    crowdsec = subject("https://127.0.0.1:8080")
    with pytest.raises(CrowdsecError, match="https") as refused:
        asyncio.run(crowdsec.ban("203.0.113.1", 60, "x"))
    assert refused.value.code == "crowdsec_https"
    (problem,) = crowdsec.problems()
    assert problem.code == "crowdsec_https_unsupported" and "tunnel" in problem.hint
    assert crowdsec.status()["state"] == "unsupported"


def test_a_remote_local_api_in_clear_text_is_mentioned() -> None:
    (problem,) = subject("http://nas.lan:8080").problems()
    assert (problem.code, problem.severity) == ("crowdsec_clear_text", "info")
