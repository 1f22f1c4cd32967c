"""The connection to an agent over real sockets: restarts, stalls, garbage, and what health says of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dpi_dual.capture import agent as agent_module
from dpi_dual.capture.agent import AgentClient
from dpi_dual.capture.flows import FlowTable
from tests.capture.streams import Clock, Desk, cut_anyhow, framed, stream
from tests.capture.test_netifyd import HELLO, flow, purge, stats, status

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


BACKOFF_S = agent_module.BACKOFF_S


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "BACKOFF_S", (0.01, 0.02))


class Agent:
    """A server that plays one script a connection; the last one is held open."""

    def __init__(self, address: Path | str, *scripts: list[bytes]) -> None:
        self.address = address
        self.scripts = list(scripts)
        self.connections = 0
        self.heard = b""
        self.idle = asyncio.Event()
        self._server: asyncio.Server
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Agent:
        if isinstance(self.address, Path):
            self._server = await asyncio.start_unix_server(self._serve, str(self.address))
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.connections += 1
        last = self.connections >= len(self.scripts)
        for piece in self.scripts[min(self.connections, len(self.scripts)) - 1]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if last:
            self.idle.set()
            self.heard += await reader.read()
        writer.close()

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()
        await asyncio.sleep(0)


@asynccontextmanager
async def running(client: AgentClient) -> AsyncIterator[None]:
    task = asyncio.ensure_future(client.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def talk(path: Path | str, *scripts: list[bytes], after: Callable[[Desk], object], desk: Desk | None = None) -> Desk:
    """Play `scripts` to a client until `after` holds."""
    desk = desk or Desk()

    async def play() -> None:
        async with Agent(path, *scripts) as server:
            desk.client = AgentClient("lan", str(server.address), desk.route)
            async with running(desk.client):
                await until(lambda: after(desk))
            await asyncio.sleep(0)
            assert server.heard == b"", "netifyd drops a client that writes"
        assert not desk.client.connected

    asyncio.run(play())
    return desk


@pytest.mark.parametrize("name", ["netifyd-3", "netifyd-4.4.7", "netifyd-5", "netifyd-5 bare", "ndpid-1.7"])
def test_a_stream_over_a_unix_socket(tmp_path: Path, name: str) -> None:
    data = stream(name)
    expected = Desk().feed([data]).facts()
    frames = expected["counters"]["agent_lan_frames"]
    desk = talk(
        tmp_path / "agent.sock", cut_anyhow(data, 1), after=lambda d: d.client.counters()["agent_lan_frames"] == frames
    )
    assert desk.facts()["flows"].keys() == expected["flows"].keys()
    assert [one.key for one in desk.flows()] == [one["key"] for one in expected["flows"]["br-lan"]]
    assert [one.total_bytes for one in desk.flows()] == [one["total_bytes"] for one in expected["flows"]["br-lan"]]


def test_a_stream_over_tcp() -> None:
    desk = talk("tcp", [stream("netifyd-4.4.7")], after=lambda d: len(d.flows()) == 5)
    assert desk.client.kind == "netifyd"


def test_flows_go_on_after_a_lost_connection_and_a_partial_frame(tmp_path: Path) -> None:
    half = framed(flow(2))[:-50]
    desk = talk(
        tmp_path / "agent.sock",
        [framed(HELLO), framed(status(100)), framed(flow(1)), framed(stats(1, 1000, 400, 600)), half],
        [framed(HELLO), framed(status(100)), framed(stats(1, 1500, 100, 400)), framed(purge(1, 1600))],
        after=lambda d: [one.end_reason for one in d.flows()] == ["expired"],
    )
    (one,) = desk.flows()
    assert (one.local_bytes, one.other_bytes, one.undirected_bytes) == (500, 1000, 100)
    assert desk.client.counters()["agent_lan_connects"] == 2
    assert desk.client.counters()["agent_lan_resyncs"] == 0


def test_a_restarted_and_upgraded_agent(tmp_path: Path) -> None:
    newer = {**HELLO, "agent_version": "5.0.6", "build_version": "Netify Agent/5.0.6 (test)"}
    desk = talk(
        tmp_path / "agent.sock",
        [framed(HELLO), framed(status(5000)), framed(flow(1)), framed(stats(1, 1000))],
        [framed(newer), framed(status(0)), framed(flow(1, first=1_700_000_100_000)), framed(stats(1, 70))],
        after=lambda d: len(d.flows()) == 2 and d.flows()[1].total_bytes,
    )
    old, new = desk.flows()
    assert (old.end_reason, old.total_bytes, new.end_reason, new.total_bytes) == ("agent-restart", 1000, "", 70)
    assert desk.client.session.version == "5.0.6"


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.0 400 Bad Request\r\n\r\n", b'{"length": 99999999}\n{"type"', b"\x00\xff" * 4000, b'{"length": x}\n'],
)
def test_garbage_costs_the_connection_and_no_more(tmp_path: Path, garbage: bytes) -> None:
    good = [framed(HELLO), framed(status(100)), framed(flow(1)), framed(stats(1, 1000, 400, 600))]
    desk = talk(
        tmp_path / "agent.sock",
        [*good, garbage],
        [*good[:2], framed(stats(1, 1100, 50, 50))],
        after=lambda d: d.flows() and d.flows()[0].total_bytes == 1100,
    )
    assert desk.client.counters()["agent_lan_resyncs"] == 1
    assert (desk.flows()[0].local_bytes, desk.flows()[0].other_bytes) == (450, 650)


def test_health_of_a_broken_stream(tmp_path: Path) -> None:
    seen = []

    def broken_and_back(desk: Desk) -> bool:
        seen.extend(problem.code for problem in desk.client.problems())
        return desk.client.connected and "agent_stream_broken" in seen

    talk(tmp_path / "agent.sock", [b"garbage"], [framed(HELLO)], after=broken_and_back)


def test_a_missing_agent_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    desk = Desk()

    async def play() -> None:
        client = AgentClient("lan", str(path), desk.route)
        assert client.problems() == []
        async with running(client):
            await until(client.problems)
            (problem,) = client.problems()
            assert problem.code == "netifyd_unreachable"
            assert problem.severity == "error"
            assert str(path) in problem.message
            assert "No such file" in problem.message
            assert client.status()["connected"] is False
            async with Agent(path, [framed(HELLO), framed(flow(1))]):
                await until(desk.flows)
                assert client.problems() == []
                told = client.status()
                assert (told["connected"], told["kind"], told["agent_version"]) == (True, "netifyd", "4.4.7")
                assert told["since"]
                assert told["last_message_at"]
            await until(lambda: not client.connected)
            assert client.status()["since"] == 0

    asyncio.run(play())


def test_a_socket_that_refuses(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))

        async def play() -> None:
            client = AgentClient("lan", str(path), Desk().route)
            async with running(client):
                await until(client.problems)
                assert "refused" in client.problems()[0].message

        asyncio.run(play())


def test_attempts_become_rare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """But not before procd has started a crashed agent again: flows that begin before we are there are lost."""
    monkeypatch.setattr(agent_module, "BACKOFF_S", BACKOFF_S)
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == len(BACKOFF_S) + 10:
            raise asyncio.CancelledError

    monkeypatch.setattr(agent_module.asyncio, "sleep", note)
    client = AgentClient("lan", str(tmp_path / "none.sock"), Desk().route)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(client.run())
    soon = [wait for wait in waits if wait < 0.4]
    assert waits[: len(soon)] == soon
    assert sum(soon) > 10
    assert all(3.7 <= wait <= 6.3 for wait in waits[-10:])
    assert len(set(waits[-10:])) > 1


def test_a_flood_leaves_others_their_turn(tmp_path: Path) -> None:
    """The client reads in slices: something else runs while megabytes come in."""
    turns = 0
    flood = [framed(stats(1, total)) * 50 for total in range(1, 400)]
    desk = Desk()

    async def play() -> None:
        nonlocal turns
        async with Agent(tmp_path / "agent.sock", [framed(flow(1)), *flood]) as server:
            client = AgentClient("lan", str(server.address), desk.route)
            async with running(client):
                while client.counters()["agent_lan_frames"] < 50 * len(flood):
                    turns += 1
                    await asyncio.sleep(0)

    asyncio.run(play())
    assert turns > 30


def test_silence_is_told() -> None:
    clock = Clock()
    desk = Desk()
    client = AgentClient("lan", "/x", desk.route, monotonic=clock)
    client.meet()
    client.ingest(framed(HELLO))
    assert client.problems() == []
    clock.now += 46
    assert [problem.code for problem in client.problems()] == ["netifyd_silent"]
    client.ingest(framed(status(100)))
    assert client.problems() == []


def test_only_unwatched_interfaces() -> None:
    desk = Desk(watched=["tap0"]).tell(HELLO, flow(1))
    (problem,) = desk.client.problems()
    assert (problem.code, problem.severity) == ("agent_interfaces_ignored", "warning")
    assert "br-lan" in problem.message
    desk.watched.add("br-lan")
    desk.client.reroute()
    desk.tell(flow(1))
    assert desk.client.problems() == []
    assert len(desk.flows()) == 1


def test_capture_drops_are_told() -> None:
    desk = Desk().tell(HELLO, status(5, stats={"br-lan": {"capture_dropped": 7, "queue_dropped": 1, "raw": 5}}))
    assert [problem.code for problem in desk.client.problems()] == ["agent_capture_drops"]
    desk.clock.now += 901
    desk.tell(status(906))
    assert desk.client.problems() == []
    assert desk.client.counters()["agent_lan_capture_drops"] == 8


def test_two_tables_behind_one_agent() -> None:
    tap, lan = FlowTable("tap"), FlowTable("lan")
    client = AgentClient("netifyd", "/x", {"tap0": tap, "br-lan": lan}.get)
    client.meet()
    client.ingest(framed(flow(1)) + framed(flow(1, interface="tap0")) + framed(flow(2, interface="wan")))
    assert (len(tap), len(lan)) == (1, 1)
    assert client.status()["ignored"] == {"wan": 1}
