"""Requests through mitmproxy with the addon against the same mitmproxy without it, in turn."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bench.row import NotHere, Row

ROOT = Path(__file__).resolve().parents[1]
HOST = "shop.example.org"

#: Short rounds in turn: a machine that speeds up or slows down does so for both.
ROUNDS, REQUESTS = 12, 100
#: With the analyser stopped, a thousand requests: more than the addon lets wait for it.
STUCK_ROUNDS = 10
WARM_UP = 150

#: What a shop is asked: pages, a search, a form, an API call; none of it an attack.
_BROWSER = (
    f"Host: {HOST}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate\r\nReferer: https://shop.example.org/\r\n"
    "Cookie: session=6f1c2a9d8b7e4f30; theme=dark\r\nX-Forwarded-For: 198.51.100.{client}\r\n"
    "X-DPI-Client-Port: 4{client}00\r\n"
)
_TARGETS = (
    ("GET", "/products/{n}?page=2&sort=price", ""),
    ("GET", "/search?q=garden+chairs+{n}&lang=en", ""),
    ("GET", "/assets/app.{n}.css", ""),
    ("POST", "/cart", "item={n}&count=2&note=please+leave+at+the+door"),
    ("POST", "/api/track", '{{"event":"view","product":{n},"tags":["summer","sale"]}}'),
)
_TYPES = {"/cart": "application/x-www-form-urlencoded", "/api/track": "application/json"}


def request(number: int) -> bytes:
    """The request of that number, ready to be sent."""
    method, target, body = _TARGETS[number % len(_TARGETS)]
    target, body = target.format(n=number), body.format(n=number)
    head = f"{method} {target} HTTP/1.1\r\n" + _BROWSER.format(client=10 + number % 80)
    if body:
        head += f"Content-Type: {_TYPES[target]}\r\nContent-Length: {len(body)}\r\n"
    return (head + "\r\n" + body).encode()


_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_PAGE = b"<p>" + b"a page of some size " * 200 + b"</p>"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(_PAGE), _PAGE)


class _Origin(asyncio.Protocol):
    """As little work as an origin can do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            assert isinstance(self._transport, asyncio.Transport)
            self._transport.write(_ANSWER)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Origin, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def _origin() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-m", "bench.proxy"], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@contextmanager
def _mitmdump(origin: str, buffer_dir: str, addon: bool) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as confdir:
        ours = ["-s", str(ROOT / "addons" / "dpi_buffer.py"), "--set", f"dpi_buffer_dir={buffer_dir}"]
        argv = [
            *(str(Path(sys.executable).with_name("mitmdump")), "-q", "--set", f"confdir={confdir}"),
            *("--mode", f"reverse:http://{origin}@127.0.0.1:{port}", "--set", "keep_host_header=true"),
            *((*ours, "--set", f"dpi_backends={HOST}={origin}") if addon else ()),
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib"), "DPI_DUAL_CONFIG_DIR": confdir}
        process = subprocess.Popen(argv, env=environment)
        try:
            deadline = time.monotonic() + 30
            while True:
                with suppress(OSError, http.client.HTTPException):
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                    connection.request("GET", "/", headers={"Host": HOST})
                    if connection.getresponse().status == 200:
                        break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("mitmdump does not serve")
                time.sleep(0.1)
            yield port, process
        finally:
            process.terminate()
            process.wait()


class _Client:
    """One keep-alive connection; the time of each request, first byte sent to last byte received."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, number: int) -> float:
        data = request(number)
        started = time.perf_counter()
        self._socket.sendall(data)
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer) < answer.index(b"\r\n\r\n") + 4 + len(_PAGE):
            more = self._socket.recv(65_536)
            if not more:
                raise RuntimeError("the proxy closed the connection")
            answer += more
        took = time.perf_counter() - started
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"an ordinary request was answered with {answer[:40]!r}")
        return took

    def close(self) -> None:
        self._socket.close()


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _rounds(clients: tuple[_Client, ...], rounds: int) -> list[list[list[float]]]:
    """Times of requests: by client, by round. In turn, and who begins changes: the machine's moods are for all."""
    times: list[list[list[float]]] = [[] for _ in clients]
    for turn in range(rounds):
        order = range(len(clients)) if turn % 2 else reversed(range(len(clients)))
        for side in order:
            first = turn * REQUESTS
            times[side].append([clients[side].ask(number) for number in range(first, first + REQUESTS)])
    return times


def _ratio(with_addon: list[list[float]], without: list[list[float]]) -> float:
    """Requests a second of each round, one after another on one connection; the median of the pairs' ratios."""
    return statistics.median(sum(bare) / sum(ours) for ours, bare in zip(with_addon, without, strict=True))


def measure() -> list[Row]:
    if not Path(sys.executable).with_name("mitmdump").exists():
        raise NotHere("mitmproxy is not installed")
    with ExitStack() as stack:
        origin = stack.enter_context(_origin())
        buffer_dir = stack.enter_context(tempfile.TemporaryDirectory())
        clients, proxies = [], []
        for addon in (True, False):
            port, process = stack.enter_context(_mitmdump(origin, buffer_dir, addon))
            proxies.append(process)
            client = _Client(port)
            stack.callback(client.close)
            clients.append(client)
            for number in range(WARM_UP):
                client.ask(number)
        with_addon, without = _rounds(tuple(clients), ROUNDS)
        # Buffer B's side stands still: its queue fills, and what is more is dropped and counted, never waited for.
        behind = _descendants(proxies[0].pid)
        if not behind:
            raise RuntimeError("the addon has started no analyser")
        for pid in behind:
            os.kill(pid, signal.SIGSTOP)
        try:
            stuck, beside = _rounds(tuple(clients), STUCK_ROUNDS)
        finally:
            for pid in behind:
                os.kill(pid, signal.SIGCONT)
    rate, bare = (statistics.median(REQUESTS / sum(turn) for turn in side) for side in (with_addon, without))
    ratio, blocked = _ratio(with_addon, without), _ratio(stuck, beside)
    medians = [1000 * statistics.median(took for turn in side for took in turn) for side in (with_addon, without)]
    added = medians[0] - medians[1]
    bare_proxy = "mitmproxy without the addon"
    return [
        Row("proxy with the addon", rate, "requests/s", bare, "≥ 0.95 × without", ratio >= 0.95, ROUNDS, bare_proxy),
        Row("proxy with the addon, ratio", ratio, "×", 1.0, "≥ 0.95", ratio >= 0.95, ROUNDS, bare_proxy),
        Row("added by the addon, median", added, "ms", medians[1], "≤ 0.3", added <= 0.3, ROUNDS, bare_proxy),
        Row("analyser stopped, ratio", blocked, "×", 1.0, "≥ 0.95", blocked >= 0.95, STUCK_ROUNDS, bare_proxy),
    ]


if __name__ == "__main__":
    asyncio.run(_serve())
