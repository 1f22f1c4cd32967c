"""The published services answer as their visitors expect."""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Iterator

import pytest

from lab.attacks import ATTACKS, SERIES, Sent
from lab.origin import CLOUD, SHOP, SITES, _Handler, _Server
from lab.visitors import ORDINARY


@pytest.fixture(scope="module")
def connection() -> Iterator[http.client.HTTPConnection]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        yield connection
        connection.close()
        server.shutdown()
        thread.join()


def ask(connection: http.client.HTTPConnection, sent: Sent) -> tuple[int, bytes]:
    connection.request(sent.method, sent.path, sent.body or None, {"Host": sent.host, **sent.headers})
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize("kind", ORDINARY)
def test_people_get_what_they_ask_for(connection: http.client.HTTPConnection, kind: str) -> None:
    dice = random.Random(4)
    for _ in range(10):
        for sent in ORDINARY[kind](dice):
            assert ask(connection, sent)[0] in (200, 201, 303), sent


def test_attacks_do_no_harm_and_are_not_echoed(connection: http.client.HTTPConnection) -> None:
    for kind, attacks in ATTACKS.items():
        for sent in attacks:
            status, body = ask(connection, sent)
            assert status < 500, (kind, sent)
            assert b"<script" not in body and b"<img" not in body and b"<svg" not in body


def test_guesses_are_refused_and_swept_places_are_not_there(connection: http.client.HTTPConnection) -> None:
    for kind, status in (("login_guesses", 401), ("path_sweep", 404)):
        assert {ask(connection, sent)[0] for sent in SERIES[kind][0](random.Random(1))} == {status}
    assert ask(connection, Sent(CLOUD, "/api/v1/notes"))[0] == 401


def test_a_body_in_pieces_and_an_unknown_host(connection: http.client.HTTPConnection) -> None:
    pieces = [b"abc", b"de"]
    connection.request("PUT", "/upload", iter(pieces), {"Host": CLOUD}, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (201, b'{"received": 5}\n')
    assert ask(connection, Sent("other.example.org", "/"))[0] == 404
    assert ask(connection, Sent(SHOP, "/", "HEAD")) == (200, b"")
    assert set(SITES) == {SHOP, CLOUD, "wiki.example.org"}
