"""The addon in a real mitmdump between real clients and a real origin."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpi_dual.mitm.client import HEALTH_PATH, PORT_HEADER, REPLAY_HEADER
from dpi_dual.settings import Backend, Modify
from lab.waiting import eventually
from tests.mitm.feeder import ATTACK, Engine, settings_for
from tests.mitm.proxy import HOST, Answer, Origin, Proxy, receive_frame, running_proxy, send_frame

BODY_ATTACK = b"comment=1'+union+select+password+from+users--+"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    served = Origin()
    yield served
    served.close()


@pytest.fixture(scope="module")
def shared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("buffer")
    path.chmod(0o750)
    return path


@pytest.fixture(scope="module")
def proxy(origin: Origin, shared_dir: Path) -> Iterator[Proxy]:
    """One that blocks, for the tests that leave it as it is."""
    with running_proxy(shared_dir, origin.address, "dpi_block_threats=true") as running:
        yield running


def following(directory: Path, check: Callable[[Engine], object], **mitm: object) -> Engine:
    """An engine's link that runs until `check` holds."""

    async def go() -> Engine:
        settings = settings_for(directory, **mitm)
        settings = replace(settings, backend=(Backend("b", HOST, HOST, Followed.origin),), modify=Followed.modify)
        async with Engine(settings) as engine:
            await engine.until(lambda: check(engine))
        return engine

    return asyncio.run(go())


class Followed:
    """What the engines of these tests send beside the options: set by the test before."""

    origin = ""
    modify: tuple[Modify, ...] = ()


@pytest.fixture(autouse=True)
def _settings(origin: Origin) -> None:
    Followed.origin, Followed.modify = origin.address, ()
    origin.asked.clear()


def test_an_ordinary_request_reaches_its_origin_as_it_was_sent(proxy: Proxy, origin: Origin) -> None:
    answer = proxy.ask("/page?a=1&b=%20x", headers={"X-Own": "é", "Cookie": "a=b"})
    assert (answer.status, answer.body) == (200, b"<p>hello /page</p>")
    (asked,) = origin.asked
    assert (asked.method, asked.target, asked.header("Host")) == ("GET", "/page?a=1&b=%20x", HOST)
    assert asked.header("Cookie") == "a=b"


def test_the_health_check_is_answered_here(proxy: Proxy, origin: Origin) -> None:
    assert proxy.ask(HEALTH_PATH).body == b"ok\n"
    # Through HAProxy it would have a client behind it.
    assert proxy.ask(HEALTH_PATH, headers={"X-Forwarded-For": "203.0.113.5"}).status == 200
    assert [asked.target for asked in origin.asked] == [HEALTH_PATH]


def test_a_host_that_nobody_configured_is_misdirected(proxy: Proxy, origin: Origin) -> None:
    assert proxy.ask("/", headers={"Host": "other.example.org"}).status == 421
    assert origin.asked == []


def test_an_attack_is_refused_with_a_reference_that_alerts_can_find(
    proxy: Proxy, origin: Origin, shared_dir: Path
) -> None:
    headers = {"X-Forwarded-For": "203.0.113.66, 127.0.0.1, 198.51.100.9", PORT_HEADER: "51234"}
    answer = proxy.ask(ATTACK, headers=headers)
    assert answer.status == 403
    assert b"users" not in answer.body
    reference = answer.body.decode().partition("<code>")[2].partition("</code>")[0]
    assert origin.asked == []

    def found(engine: Engine) -> object:
        return [alert for alert in engine.told if alert["id"] == reference]

    (alert,) = found(following(shared_dir, found, block_threats=True))
    assert (alert["client_ip"], alert["client_port"]) == ("198.51.100.9", 51234)
    assert alert["blocked"] is True
    assert alert["event"] == "waf_block"


@pytest.mark.parametrize("chunked", [False, True])
def test_an_attack_in_a_body_is_refused_however_it_is_framed(proxy: Proxy, origin: Origin, chunked: bool) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if chunked:
        parts = [b"%x\r\n%s\r\n" % (len(BODY_ATTACK), BODY_ATTACK), b"0\r\n\r\n"]
        answer = proxy.ask("/form", "POST", iter(parts), {**headers, "Transfer-Encoding": "chunked"})
        # Its headers had gone on; the origin saw blanks in place of the attack.
        assert [asked.blank for asked in origin.asked] == [True]
    else:
        answer = proxy.ask("/form", "POST", BODY_ATTACK, headers)
        assert origin.asked == []
    assert answer.status == 403


def test_an_attack_at_the_start_of_a_large_body_is_refused(proxy: Proxy, origin: Origin) -> None:
    body = BODY_ATTACK + b"&rest=" + b"x" * 300_000
    answer = proxy.ask("/form", "POST", body, {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 403
    assert all(asked.blank and asked.size == len(body) for asked in origin.asked)


def test_a_packed_attack_and_a_bomb(proxy: Proxy, origin: Origin) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    assert proxy.ask("/form", "POST", gzip.compress(BODY_ATTACK), headers).status == 403
    before = proxy.rss_bytes()
    bomb = gzip.compress(b"a" * 50_000_000)
    assert len(bomb) < 65_536
    assert proxy.ask("/form", "POST", bomb, headers).status == 200
    assert proxy.rss_bytes() - before < 20_000_000
    assert origin.asked[-1].size == len(bomb)


def test_a_hundred_megabytes_pass_through_without_being_gathered(proxy: Proxy, origin: Origin) -> None:
    before = proxy.rss_bytes()
    part = b"harmless " * 11_651
    count = 100_000_000 // len(part)
    length = {"Content-Length": str(count * len(part)), "Content-Type": "text/plain"}
    answer = proxy.ask("/upload", "PUT", (part for _ in range(count)), length)
    assert answer.status == 200
    (asked,) = origin.asked
    assert asked.size == count * len(part)
    assert asked.start == part[: len(asked.start)]
    assert proxy.rss_bytes() - before < 60_000_000


def test_large_and_endless_responses_pass(proxy: Proxy) -> None:
    assert len(proxy.ask("/big").body) == 3_000_000
    assert proxy.ask("/endless").body == b"one two three"
    assert proxy.ask("/page", "HEAD").body == b""


@pytest.mark.parametrize(
    ("target", "headers", "body"),
    [
        ("/a?" + "&".join(f"p{n}={n}" for n in range(1000)), {}, None),
        ("/a", {"Content-Type": "application/x-www-form-urlencoded"}, "&".join(f"p{n}=1" for n in range(10_000))),
        ("/%ff%fe/\xff?q=%c3%28", {}, None),
        ("/a", {f"X-Flood-{n}": "y" * 20 for n in range(90)}, None),
        ("/a", {"Content-Type": "application/json"}, b"[" * 60_000),
        ("/a", {"Content-Type": "text/plain; charset=utf-8"}, bytes(range(256)) * 100),
        ("/a", {"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n" * 5000),
        ("/a", {"Content-Encoding": "gzip"}, b"not gzip at all"),
        ("/a", {"Content-Type": "application/xml"}, b"<a>" * 20_000),
    ],
)
def test_strange_requests_are_served(
    proxy: Proxy, origin: Origin, target: str, headers: dict[str, str], body: object
) -> None:
    raw = target.encode("latin-1")
    method = "GET" if body is None else "POST"
    data = body.encode() if isinstance(body, str) else body
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    length = f"Content-Length: {len(data)}\r\n" if isinstance(data, bytes) else ""
    head = f"\r\nHost: {HOST}\r\nConnection: close\r\n{fields}{length}\r\n".replace("\r\nHost", " HTTP/1.1\r\nHost", 1)
    with socket.create_connection(("127.0.0.1", proxy.port), 30) as sock:
        sock.sendall(method.encode() + b" " + raw + head.encode() + (data if isinstance(data, bytes) else b""))
        answer = b""
        while more := sock.recv(65_536):
            answer += more
    # Refused or served, but answered; and the proxy goes on.
    assert answer[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 403", b"HTTP/1.1 400"), answer[:300]
    assert proxy.ask("/after").status == 200
    assert "failed; the request goes on" not in proxy.log.read_text()


def test_http2(proxy: Proxy, origin: Origin) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    url = f"https://127.0.0.1:{proxy.port}"
    base = ["curl", "-sk", "--http2", "-H", f"Host: {HOST}", "-o", "/dev/null", "-w", "%{http_version} %{http_code}\n"]
    attack = subprocess.run([*base, url + ATTACK], capture_output=True, text=True, check=True)
    form = subprocess.run([*base, "-d", "a=1", url + "/form"], capture_output=True, text=True, check=True)
    assert (attack.stdout, form.stdout) == ("2 403\n", "2 200\n")
    (asked,) = origin.asked
    assert (asked.header("Host"), asked.start) == (HOST, b"a=1")


def test_websocket_messages_are_inspected_and_not_gathered(proxy: Proxy, shared_dir: Path) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), 30) as sock:
        sock.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        stream = sock.makefile("rb")
        assert b"101" in stream.readline()
        while stream.readline() != b"\r\n":
            pass
        send_frame(sock, b"hello")
        assert receive_frame(stream) == b"hello"
        send_frame(sock, b"<script>alert(document.cookie)</script>")
        send_frame(sock, b"again")
        # The attack was dropped: the next echo is that of the message after it.
        assert receive_frame(stream) == b"again"

    def found(engine: Engine) -> object:
        return [alert for alert in engine.told if alert["method"] == "WEBSOCKET"]

    (alert,) = found(following(shared_dir, found, block_threats=True))
    assert (alert["path"], alert["blocked"]) == ("/ws", True)


def test_internal_headers_and_forged_addresses_stay_outside(tmp_path: Path, origin: Origin) -> None:
    (tmp_path / "b").mkdir(0o750)
    with running_proxy(tmp_path / "b", origin.address) as proxy:

        def known(engine: Engine) -> object:
            return engine.link.connected and (tmp_path / "b" / "policy.json").exists()

        following(tmp_path / "b", known, trusted_proxy=("192.0.2.1",))
        # From here on our own peer is nobody whose word counts.
        headers = {"X-Forwarded-For": "203.0.113.66", PORT_HEADER: "1", REPLAY_HEADER: "x"}

        def seen_as_our_own() -> bool:
            proxy.ask("/page?id=<script>alert(1)</script>", headers=headers)
            return origin.asked[-1].header("X-Forwarded-For") == "127.0.0.1"

        eventually("the peer's word does not count", seen_as_our_own)
        asked = origin.asked[-1]
        assert asked.header(PORT_HEADER) is None
        assert asked.header(REPLAY_HEADER) is None
        engine = following(tmp_path / "b", lambda engine: engine.told, trusted_proxy=("192.0.2.1",))
        assert engine.told[-1]["client_ip"] == "127.0.0.1"


def test_modification_and_replay(tmp_path: Path, origin: Origin) -> None:
    directory = tmp_path / "b"
    directory.mkdir(0o750)
    rule = {"host": "", "path": "", "phase": "response", "name": "", "match": "", "value": ""}
    Followed.modify = (
        Modify("1", **{**rule, "phase": "request", "action": "set_header", "name": "X-Added", "value": "a\r\nb"}),
        Modify("2", **{**rule, "action": "remove_header", "name": "X-Origin"}),
        Modify("3", **{**rule, "action": "replace_body", "path": "/page", "match": "hello", "value": r"good \1 day"}),
        Modify("4", **{**rule, "action": "remove_header", "name": "Content-Type", "host": "*.other.org"}),
    )
    with running_proxy(directory, origin.address) as proxy:
        following(directory, lambda engine: (directory / "policy.json").exists())

        def modified() -> Answer | None:
            answer = proxy.ask("/page?secret=1")
            return None if "x-origin" in answer.headers else answer

        answer = eventually("the rules are in force", modified)
        assert answer.body == rb"<p>good \1 day /page</p>"
        assert answer.headers["content-length"] == str(len(answer.body))
        assert answer.headers["content-type"] == "text/html"
        assert origin.asked[-1].header("X-Added") == "a  b"
        proxy.ask("/form", "POST", b"a=1")
        origin.asked.clear()

        async def replayed() -> dict[str, object]:
            settings = settings_for(directory)
            settings = replace(settings, backend=(Backend("b", HOST, HOST, origin.address),))
            async with Engine(settings) as engine:
                await engine.until(lambda: engine.link.buffer()["entries"] >= 2)
                return await engine.link.replay(ip="127.0.0.1", active=True, limit=2)

        answer = asyncio.run(replayed())
        post, get = answer["active"]
        assert "not safe" in post["skipped"]
        assert get["after"]["status"] == 200
        assert get["before"]["status"] == 200
        (asked,) = origin.asked
        assert asked.header(REPLAY_HEADER) == get["id"]
        assert asked.target.startswith("/page")


def test_a_killed_analyser_costs_no_request_and_comes_back(tmp_path: Path, origin: Origin) -> None:
    directory = tmp_path / "b"
    directory.mkdir(0o750)
    with running_proxy(directory, origin.address) as proxy:
        connection = proxy.connect()
        pid = _analyser(proxy)
        os.kill(pid, signal.SIGKILL)
        for number in range(20):
            assert proxy.ask(f"/page?n={number}", connection=connection).status == 200
        proxy.ask(ATTACK)
        assert _analyser(proxy) != pid

        def all_there(engine: Engine) -> object:
            return len(engine.told) == 1 and engine.link.counters()["mitm_addon_analyser_restarts"] == 1

        following(directory, all_there)
        # A stopped analyser: its queue fills, the excess is dropped and counted, nothing waits.
        os.kill(_analyser(proxy), signal.SIGSTOP)
        try:
            before = proxy.rss_bytes()
            body = b"text=" + b"harmless " * 7000
            for _ in range(70):
                assert proxy.ask("/form", "POST", body, connection=connection).status == 200
            assert proxy.rss_bytes() - before < 40_000_000
        finally:
            os.kill(_analyser(proxy), signal.SIGCONT)
        following(directory, lambda engine: engine.link.counters().get("mitm_addon_dropped", 0) > 0)
        pid = _analyser(proxy)
        proxy.process.kill()
        proxy.process.wait()
        command = Path(f"/proc/{pid}/cmdline")
        eventually("the analyser ends with mitmproxy", lambda: not (command.exists() and command.read_bytes()))


def _analyser(proxy: Proxy) -> int:
    return eventually("the analyser runs", proxy.analyser_pid)


@pytest.mark.root
def test_a_full_disk(tmp_path: Path, origin: Origin) -> None:
    directory = tmp_path / "b"
    directory.mkdir(0o750)
    script = f'mount --make-rprivate / && mount -t tmpfs -o size=64k,mode=750 none {directory} && exec "$@"'
    with running_proxy(directory, origin.address, wrap=("unshare", "--mount", "sh", "-c", script, "sh")) as proxy:
        connection = proxy.connect()
        for number in range(60):
            body = b"text=" + b"harmless " * 500
            assert proxy.ask(f"/form?n={number}", "POST", body, connection=connection).status == 200
        proxy.ask(ATTACK)
        inside = Path(f"/proc/{_analyser(proxy)}/root{directory}")

        def told(engine: Engine) -> object:
            return engine.told and "mitm_buffer_full" in [problem.code for problem in engine.link.problems()]

        assert following(inside, told).link.counters()["mitm_ring_not_stored"] > 0


def test_files_of_the_buffer_hold_no_text(proxy: Proxy, shared_dir: Path) -> None:
    proxy.ask("/page?MARKERTEXT=1", headers={"Cookie": "MARKERTEXT=MARKERTEXT", "Authorization": "MARKERTEXT"})
    # libxml2, deep inside, would print what it cannot parse.
    proxy.ask("/page", "POST", b"<a>MARKERTEXT</b>", {"Content-Type": "application/xml"})

    def analysed(engine: Engine) -> object:
        return engine.link.buffer()["entries"] > 1 and engine.link.buffer()["waiting"] == 0

    following(shared_dir, analysed, block_threats=True, waf_engine="auto")
    assert "MARKERTEXT" not in proxy.log.read_text()
    stored = b"".join(path.read_bytes() for path in shared_dir.iterdir() if path.is_file())
    assert len(stored) > 1000
    assert b"MARKERTEXT" not in stored
    assert json.loads((shared_dir / "policy.json").read_bytes())["backend"]
