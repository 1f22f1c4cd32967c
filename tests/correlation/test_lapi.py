"""HTTP to the local API: answers in every form, anything else an error with a name, addresses."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpi_dual.correlation import lapi
from dpi_dual.correlation.lapi import Endpoint, LapiError
from tests.correlation.serving import OK, Serve, serving, silent


def says(*pieces: bytes) -> Serve:
    """A server that reads a request's head and answers with these pieces, then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return serve


async def ask(serve: Serve, most: int = lapi.MAX_BODY, idle_s: float = 10.0) -> tuple[int, bytes]:
    async with serving(serve) as port:
        endpoint = Endpoint("127.0.0.1", port)
        async with lapi.request(endpoint, "GET", "/v1/x", {"X-Api-Key": "k"}, idle_s=idle_s) as answer:
            return answer.status, await answer.read(most)


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


def test_one_that_issilent_is_given_up() -> None:
    with pytest.raises(LapiError) as slow:
        asyncio.run(ask(silent, idle_s=0.05))
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
