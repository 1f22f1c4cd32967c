"""HAProxy itself, with our configuration, before mitmproxy that works, dies, hangs and comes back."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from dpi_dual.mitm.client import HEALTH_PATH, PORT_HEADER
from dpi_dual.mitm.haproxy_state import HaproxyWatch
from lab.waiting import eventually
from tests.integration.published import HOST, MITMDUMP, Published

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None, reason="haproxy is not installed"),
]


def _open(kind: str, fail_open: bool = True) -> Iterator[Published]:
    if kind == "mitmdump" and not MITMDUMP.exists():
        pytest.skip("mitmproxy is not installed in this environment")
    folder = Path(tempfile.mkdtemp(prefix="dpi-"))
    service = Published(folder, kind, fail_open)
    try:
        service.start()
        yield service
    finally:
        service.close()
        shutil.rmtree(folder)


@pytest.fixture(params=["stand-in", "mitmdump"])
def published(request: pytest.FixtureRequest) -> Iterator[Published]:
    yield from _open(request.param)


@pytest.fixture
def closed() -> Iterator[Published]:
    yield from _open("stand-in", fail_open=False)


@pytest.fixture(scope="module")
def steady() -> Iterator[Published]:
    yield from _open("stand-in")


def test_the_client_is_who_haproxy_sees(published: Published) -> None:
    forged = {"X_Forwarded_For": "203.0.113.9", "X_Forwarded_Proto": "gopher", "X_Real_IP": "203.0.113.9"}
    answer = published.get("/a?b=c", **forged, Forwarded="for=203.0.113.9", **{PORT_HEADER: "1"})
    assert answer.inspected
    assert answer.told["path"] == "/a?b=c"
    assert answer.headers["x-forwarded-for"] == ["127.0.0.1"]
    # The addon takes the port for itself; a stand-in shows it.
    port = [str(answer.client_port)] if published.kind == "stand-in" else None
    assert answer.headers.get(PORT_HEADER.lower()) == port
    assert answer.headers["x-forwarded-proto"] == ["https"]
    assert answer.headers["host"] == [HOST]
    assert not {"x-real-ip", "forwarded"} & answer.headers.keys()


@pytest.mark.parametrize("host", [HOST, HOST.upper(), f"{HOST}:443", f"{HOST}.", "a.b.two.example"])
def test_known_hosts(steady: Published, host: str) -> None:
    assert steady.get(host=host).status == 200


@pytest.mark.parametrize("host", ["", "other.example", f"x{HOST}", f"{HOST}.evil.example", "two.example", "127.0.0.1"])
def test_other_hosts_are_misdirected(steady: Published, host: str) -> None:
    assert steady.get(host=host).status == 421


@pytest.mark.parametrize(
    "path",
    [
        HEALTH_PATH,
        HEALTH_PATH.upper(),
        f"{HEALTH_PATH}?x",
        "//.dpi-dual/health",
        "/%2edpi-dual/%68ealth",
        "/x/../.dpi-dual/",
    ],
)
def test_the_health_path_is_not_for_others(steady: Published, path: str) -> None:
    assert steady.get(path).status == 404
    assert steady.get(f"https://{HOST}{path}").status == 404


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_methods_that_tunnel_or_echo_are_refused(steady: Published, method: str) -> None:
    path = f"{HOST}:443" if method == "CONNECT" else "/"
    assert steady.get(path, method=method).status == 405


def test_only_websockets_may_upgrade(steady: Published) -> None:
    tunnel = steady.get(Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAMAAABkAAQAAP__")
    assert not {"upgrade", "http2-settings"} & tunnel.headers.keys()
    socket = steady.get(Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAA==")
    assert socket.headers["upgrade"] == ["websocket"]


def test_http_2_and_nothing_older_than_tls_1_2(steady: Published) -> None:
    with steady.connect("h2", "http/1.1") as connection:
        assert connection.selected_alpn_protocol() == "h2"
        assert connection.version() in ("TLSv1.2", "TLSv1.3")


def test_too_many_headers_are_refused(steady: Published) -> None:
    assert steady.get(**{f"X{number}": "y" for number in range(120)}).status == 400
    assert steady.get().status == 200


def _bypassed(published: Published) -> bool:
    return not published.get().inspected


def test_killed_and_back(published: Published) -> None:
    published.signal_mitm(signal.SIGKILL)
    first = published.get()
    assert (first.status, first.inspected) == (200, False)
    # Around mitmproxy each host finds its own origin, and what HAProxy tells the addon stays here.
    assert first.told["origin"] == published.origins[0].server_port
    assert published.get(host="x.two.example").told["origin"] == published.origins[1].server_port
    assert published.get(host="other.example").status == 421
    assert published.get(HEALTH_PATH).status == 404
    assert PORT_HEADER.lower() not in first.headers
    assert first.headers["x-forwarded-for"] == ["127.0.0.1"]
    assert published.get(method="POST").status == 200

    shown = published.ctl("status")
    assert shown.returncode == 1
    assert "requests are not inspected" in shown.stdout
    told = json.loads(published.ctl("status", "--json").stdout)
    assert (told["installed"], told["mitm_up"], told["problems"][0]["code"]) == ("current", False, "mitm_bypassed")
    assert told["bypassed"] >= 3

    published.start_mitm()
    assert eventually("requests are inspected", lambda: published.get().inspected)
    well = published.ctl("status")
    assert (well.returncode, well.stderr) == (0, "")
    assert "requests are inspected" in well.stdout


def test_nothing_that_may_be_sent_again_is_lost(published: Published) -> None:
    statuses: list[int] = []
    over = threading.Event()

    def visit() -> None:
        while not over.is_set():
            # The head of an answer cannot be taken back when mitmproxy is killed before its body.
            with suppress(http.client.IncompleteRead):
                statuses.append(published.get().status)

    def some_more() -> bool:
        wanted = len(statuses) + 20
        return eventually("visitors are answered", lambda: len(statuses) >= wanted)

    with ThreadPoolExecutor(4) as pool:
        visitors = [pool.submit(visit) for _ in range(4)]
        try:
            assert some_more()
            published.signal_mitm(signal.SIGSTOP)
            assert eventually("requests go past mitmproxy", lambda: _bypassed(published))
            published.signal_mitm(signal.SIGCONT)
            assert eventually("requests are inspected", lambda: published.get().inspected)
            assert some_more()
            published.signal_mitm(signal.SIGKILL)
            assert some_more()
        finally:
            over.set()
    for visitor in visitors:
        visitor.result()
    assert set(statuses) == {200}


def test_hanging_and_back(published: Published) -> None:
    published.signal_mitm(signal.SIGSTOP)
    assert published.get().status == 200
    assert eventually("requests go past mitmproxy", lambda: _bypassed(published))
    published.signal_mitm(signal.SIGCONT)
    assert eventually("requests are inspected", lambda: published.get().inspected)


def test_fail_closed(closed: Published) -> None:
    closed.signal_mitm(signal.SIGKILL)
    assert eventually("it is closed", lambda: closed.get().status == 503)
    told = json.loads(closed.ctl("status", "--json").stdout)
    assert (told["fail_open"], told["problems"][0]["code"]) == (False, "mitm_down")
    closed.start_mitm()
    assert eventually("it is open again", lambda: closed.get().status == 200)


def test_what_the_engine_learns(published: Published) -> None:
    watch = HaproxyWatch(published.env["DPI_DUAL_RUN_DIR"] + "-haproxy.sock")

    def codes() -> list[str]:
        asyncio.run(watch.look())
        return [problem.code for problem in watch.problems()]

    assert codes() == []
    published.get()
    published.signal_mitm(signal.SIGKILL)
    published.get()
    assert eventually("it is told", lambda: codes() == ["mitm_bypassed"])
    counted = watch.counters()
    assert counted["mitm_outages"] == 1
    assert counted["mitm_requests_inspected"] >= 1
    assert counted["mitm_requests_bypassed"] >= 1
    assert published.haproxy is not None
    published.haproxy.kill()
    published.haproxy.wait()
    assert codes() == ["haproxy_unreachable"]


def test_its_socket_is_for_root_alone(steady: Published) -> None:
    socket = Path(steady.env["DPI_DUAL_RUN_DIR"] + "-haproxy.sock")
    assert socket.is_socket()
    assert socket.stat().st_mode & 0o777 == 0o600
