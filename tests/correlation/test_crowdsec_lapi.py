"""One HTTP request at a time: every form of answer, and whatever else may listen on that port."""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpi_dual.correlation import crowdsec, crowdsec_session, lapi
from dpi_dual.correlation.crowdsec import CrowdSec, CrowdsecError
from dpi_dual.correlation.lapi import Endpoint, LapiError
from dpi_dual.settings import Crowdsec, CrowdsecSecrets

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def says(*pieces: bytes) -> Serve:
    """A server that reads a request's head and answers with these pieces, then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return serve


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the client has enough


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """A server on the port that it gives; its connections are closed at the end."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await serve(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client closed first
        finally:
            writer.transport.abort()
            connections.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task in connections:
            task.cancel()
        if connections:
            await asyncio.wait(connections)


async def ask(serve: Serve, most: int = lapi.MAX_BODY, idle_s: float = 10.0) -> tuple[int, bytes]:
    async with serving(serve) as port:
        endpoint = Endpoint("127.0.0.1", port)
        async with lapi.request(endpoint, "GET", "/v1/x", {"X-Api-Key": "k"}, idle_s=idle_s) as answer:
            return answer.status, await answer.read(most)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        ((OK + b"Content-Length: 5\r\n\r\nhello",), 200, b"hello"),
        ((OK + b"content-length:5\r\n\r\nhe", b"llo"), 200, b"hello"),
        ((OK + b"Content-Length: 5\r\n\r\nhello and more",), 200, b"hello"),
        ((OK + b"\r\nup to ", b"the end"), 200, b"up to the end"),
        (
            (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", b"lo\r\n1;x=y\r\n!\r\n0\r\nA: b\r\n\r\n"),
            200,
            b"hello!",
        ),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",), 200, b""),
        ((b"HTTP/1.0 404 Not Found\r\n\r\n",), 404, b""),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), 204, b""),
        ((b"HTTP/1.1 401\r\nContent-Length: 2\r\n\r\n{}",), 401, b"{}"),
    ],
)
def test_answers_are_read_in_every_form(pieces: tuple[bytes, ...], status: int, body: bytes) -> None:
    assert asyncio.run(ask(says(*pieces))) == (status, body)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "unreachable"),
        (b"SSH-2.0-dropbear\r\n\r\n", "bad_answer"),
        (b"HTTP/1.1 two hundred\r\n\r\n", "bad_answer"),
        (b"HTTP/1.1 \xb2\xb3\xb9 x\r\n\r\n", "bad_answer"),
        (OK + b"X: " + b"x" * 40_000, "bad_answer"),
        (OK + b"Content-Length: 50\r\n\r\nshort", "unreachable"),
        (OK + b"Content-Length: -1\r\n\r\n", "bad_answer"),
        (OK + b"Content-Length: 9999999999999999999999\r\n\r\n", "bad_answer"),
        (OK + b"Content-Length: 3000\r\n\r\n" + b"x" * 3000, "bad_answer"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n", "bad_answer"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n", "bad_answer"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n", "bad_answer"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "unreachable"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 40_000, "bad_answer"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + (b"x" * 1024 + b"\r\n400\r\n") * 2, "bad_answer"),
    ],
)
def test_anything_else_is_an_error_with_a_name(answer: bytes, code: str) -> None:
    with pytest.raises(LapiError) as bad:
        asyncio.run(ask(says(answer), most=2000))
    assert bad.value.code == code and bad.value.sent


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"]))
def test_no_bytes_whatsoever_raise_anything_else(noise: bytes, before: bytes) -> None:
    try:
        asyncio.run(ask(says(before + noise), most=2000))
    except LapiError:
        pass


def test_one_that_is_silent_is_given_up() -> None:
    with pytest.raises(LapiError) as slow:
        asyncio.run(ask(_silent, idle_s=0.05))
    assert slow.value.code == "timeout" and slow.value.sent


def test_nobody_there_means_nothing_was_sent() -> None:
    async def knock() -> None:
        async with lapi.request(Endpoint("127.0.0.1", 1), "GET", "/", {}):
            pass

    with pytest.raises(LapiError, match="Connection refused") as nobody:
        asyncio.run(knock())
    assert nobody.value.code == "unreachable" and not nobody.value.sent


def test_a_key_cannot_add_a_header() -> None:
    async def knock() -> None:
        async with lapi.request(Endpoint("127.0.0.1", 1), "GET", "/", {"X-Api-Key": "k\r\nX-Other: 1"}):
            pass

    with pytest.raises(LapiError, match="X-Api-Key") as refused:
        asyncio.run(knock())
    assert "X-Other" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "endpoint", "local"),
    [
        ("http://127.0.0.1:8080", Endpoint("127.0.0.1", 8080), True),
        ("http://127.0.0.1:8080/", Endpoint("127.0.0.1", 8080), True),
        ("HTTP://localhost", Endpoint("localhost", 80), True),
        ("http://[::1]:8080/lapi/", Endpoint("::1", 8080, "/lapi"), True),
        ("http://[2001:db8::1]", Endpoint("2001:db8::1", 80), False),
        ("http://nas.lan:8080", Endpoint("nas.lan", 8080), False),
    ],
)
def test_addresses(url: str, endpoint: Endpoint, local: bool) -> None:
    assert Endpoint.parse(url) == endpoint
    assert endpoint.is_loopback == local


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "ftp://x",
        "http://user@host",
        "http://x:0",
        "http://x:99999",
        "http://x:²",
        "http://x y",
        "http://x/?q",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(LapiError) as bad:
        Endpoint.parse(url)
    assert bad.value.code == "bad_url"


def test_queries_are_escaped() -> None:
    assert lapi.query("/v1/x", ip="2001:db8::/64", text="a&b=ü") == "/v1/x?ip=2001%3Adb8%3A%3A%2F64&text=a%26b%3D%C3%BC"


# --- a local API that this machine cannot offer: newer, slow, behind TLS


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
        async with serving(_silent) as port:
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
