"""HTTP that is wrong, and too much of it: answered, bounded, survived."""

from __future__ import annotations

import socket
import time

import pytest

from lab.waiting import PATIENCE_S
from tests.lab.conftest import Gateway
from tests.lab.gateway.echo import ACL, ECHO, RunGateway


def _exchange(port: int, *pieces: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        answer = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass  # it had heard enough
        return answer


@pytest.mark.parametrize(
    ("request_bytes", "status_line"),
    [
        (b"BREW /ubus HTTP/1.1\r\n\r\n", b"HTTP/1.0 400"),
        (b"GET /\r\n\r\n", b"HTTP/1.0 400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n[]", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: -2\r\n\r\n[]", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n[]", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n[]", b"HTTP/1.0 501"),
        (b"POST /ubus HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 400"),
        (b"POST /ubus HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]xx0\r\n\r\n", b"HTTP/1.1 400"),
        (b"POST /ubus HTTP/1.1\r\nX y: 1\r\n\r\n", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nX: a\x00b\r\n\r\n", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nX: " + b"y" * 20000 + b"\r\n\r\n", b"HTTP/1.0 431"),
        (b"POST /ubus HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"HTTP/1.0 431"),
        (b"GET /../../etc/passwd HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 404"),
        (b"POST /ubus%00/x HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]", b"HTTP/1.1 200"),
        (b"GET /cgi-bin/dpi-dual/status%00 HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 4"),
        (b"GET /ubusx HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 404"),
        (b"GET /ubus HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 404"),
        (b"PUT /ubus HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
        (b"OPTIONS /ubus HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200"),
        (b"POST /ubus HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]", b"HTTP/1.0 200"),
        (
            b"POST /ubus HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"1\r\n[\r\n1;x=y\r\n]\r\n0\r\n\r\n",
            b"HTTP/1.1 200",
        ),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000, b"HTTP/1.1 200"),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: 50\r\n\r\n[]", b""),
        (b"", b""),
    ],
)
def test_http_that_is_wrong_is_answered_and_survived(
    request_bytes: bytes, status_line: bytes, shared_gateway: Gateway
) -> None:
    answer = _exchange(shared_gateway.port, request_bytes)
    assert answer.startswith(status_line) if status_line else answer == b""
    assert shared_gateway.post([]) == []


@pytest.fixture
def shared_gateway(run_gateway: RunGateway) -> Gateway:
    return run_gateway({"echo": ECHO}, ACL)


def test_many_connections_at_once_are_bounded_and_let_go(shared_gateway: Gateway) -> None:
    connections = [socket.create_connection(("127.0.0.1", shared_gateway.port)) for _ in range(150)]
    try:
        deadline = time.monotonic() + PATIENCE_S
        refused = 0
        while not refused and time.monotonic() < deadline:
            for connection in connections:
                connection.setblocking(False)
                try:
                    refused += connection.recv(1) == b""
                except BlockingIOError:
                    continue
        assert refused
    finally:
        for connection in connections:
            connection.close()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            assert shared_gateway.post([]) == []
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail("no connection is accepted after all the others were closed")


def test_requests_follow_each_other_on_one_connection(shared_gateway: Gateway) -> None:
    one = b"POST /ubus HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]"
    last = b"POST /ubus HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]"
    answer = _exchange(shared_gateway.port, one + one, last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.count(b"Connection: Keep-Alive") == 2
