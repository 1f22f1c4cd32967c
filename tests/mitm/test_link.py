"""The engine's side of the analyser's socket: nobody there, and one that lies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dpi_dual.errors import QueryError
from tests.mitm.feeder import Engine

Make = Callable[..., Engine]


def test_without_an_analyser(engine: Make, buffer_dir: Path, tmp_path: Path) -> None:
    async def go() -> None:
        one = engine()
        (buffer_dir / "analyser.sock").symlink_to(tmp_path / "elsewhere")
        async with one:
            await one.until(lambda: "analyser.sock" in str(one.link.problems()))
            assert [problem.severity for problem in one.link.problems()] == ["info"]
            with pytest.raises(QueryError) as refused:
                await one.link.replay(ip="192.0.2.1")
            assert refused.value.code == "mitm_down"
            assert one.link.status()["running"] is False
            assert one.link.alerts() == {"alerts": [], "total": 0}

    asyncio.run(go())


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\xff\n",
        b"[]\n",
        b'{"events":[{"n":-1}],"stream":"s"}\n',
        b'{"events":[{"n":1,"id":"../../etc","client_ip":"1.2.3.4"}],"stream":"s"}\n',
        b'{"events":[{"n":1,"id":"abcd","client_ip":"1.2.3.4\\u0000"}],"stream":"s"}\n',
        b'{"figures":{"entries":-5,"top_hosts":{"\\u001b[2J":1}},"counters":{"../x":1,"a b":2},"problems":[1,{}]}\n',
        b'{"answer":17,"result":{}}\n',
        b"[" * 100_000 + b"\n",
        b"x" * 600_000 + b"\n",
    ],
)
def test_a_hostile_analyser_changes_nothing(nonsense: bytes, engine: Make, buffer_dir: Path) -> None:
    async def go() -> None:
        served = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(nonsense)
            writer.write(b'{"hello":{"session":"x"}}\n')
            await reader.read(1000)
            served.set()
            while await reader.read(1000):
                pass
            writer.close()

        one = engine()
        async with await asyncio.start_unix_server(serve, buffer_dir / "analyser.sock"), one:
            await served.wait()
            await one.until(lambda: one.link.counters()["mitm_link_connects"])
            await asyncio.sleep(0.1)
            assert one.told == []
            assert one.link.alerts()["total"] == 0
            assert "\x1b" not in json.dumps(one.link.buffer(), ensure_ascii=False)
            assert all(name.isidentifier() for name in one.link.counters())

    asyncio.run(go())
