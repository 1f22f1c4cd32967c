"""The gateway's `uci` object; the answers are those that rpcd gave to the same calls."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lab.gateway.sessions import Login, Sessions
from lab.gateway.status import Status
from lab.gateway.uci_object import UciObject

CONFIG = """# the owner's own words
config tap 'tap'
\toption interface 'tap0' # on the WAN
\tlist mirror_source 'eth0'

config backend
\toption host 'a'

config lan 'lan'
\toption enabled '1'
"""
RIGHTS = {"everything": {"read": {"uci": ["dpi-dual"]}, "write": {"uci": ["dpi-dual"]}}}
ANONYMOUS = "cfg0226ed"


class World:
    """A directory of UCI, two sessions (one of which only reads), and what was reloaded."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "dpi-dual"
        self.file.write_text(CONFIG)
        sessions = Sessions([Login("root", "r"), Login("viewer", "v", write=())], [RIGHTS])
        self.reloaded: list[list[str]] = []
        self.object = UciObject(directory, sessions, self.reloaded.append)
        self.sids = {name: self.log_in(sessions, name, word) for name, word in (("root", "r"), ("viewer", "v"))}

    @staticmethod
    def log_in(sessions: Sessions, name: str, password: str) -> str:
        answer = sessions.call("login", {"username": name, "password": password})
        assert isinstance(answer, tuple)
        assert answer[1]
        return str(answer[1]["ubus_rpc_session"])

    async def call(self, method: str, login: str = "root", **arguments: Any) -> Any:
        """Status, or what was answered."""
        status, data = await self.object.call(method, {**arguments, "ubus_rpc_session": self.sids[login]})
        return data if status is Status.OK and data is not None else int(status)

    async def tap(self, method: str, **arguments: Any) -> Any:
        return await self.call(method, config="dpi-dual", section="tap", **arguments)

    async def changes(self, login: str = "root") -> Any:
        answer = await self.call("changes", login)
        return answer["changes"].get("dpi-dual")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_reads(world: World) -> None:
    async def look() -> None:
        values = {"interface": "tap0", "mirror_source": ["eth0"]}
        section = {".anonymous": False, ".type": "tap", ".name": "tap", **values}
        assert await world.tap("get") == {"values": section}
        assert await world.tap("get", option="mirror_source") == {"value": ["eth0"]}
        everything = (await world.call("get", config="dpi-dual"))["values"]
        assert [(name, item[".index"], item[".anonymous"]) for name, item in everything.items()] == [
            ("tap", 0, False),
            (ANONYMOUS, 1, True),
            ("lan", 2, False),
        ]
        assert list((await world.call("get", config="dpi-dual", type="lan"))["values"]) == ["lan"]
        assert await world.call("get", config="dpi-dual", section="none") == 0
        assert await world.tap("get", option="none") == 0
        assert await world.call("get") == 2
        assert await world.call("get", config="../etc") == 6
        assert await world.call("configs") == {"configs": ["dpi-dual"]}
        assert await world.call("nonsense") == 3

    asyncio.run(look())


def test_staged_changes_are_the_sessions_own(world: World) -> None:
    async def change() -> None:
        assert await world.tap("set", values={"interface": "tap9", "new": True, "mirror_source": ["a", "b"]}) == 0
        added = await world.call("add", config="dpi-dual", type="backend", values={"host": "x"})
        assert added["section"].startswith("cfg04")
        assert await world.call("add", config="dpi-dual", type="backend", name="web") == {"section": "web"}
        assert await world.call("rename", config="dpi-dual", section="web", name="www") == 0
        assert await world.tap("delete", options=["new", "nothing"]) == 0
        assert await world.call("delete", config="dpi-dual", section="lan") == 0
        assert await world.changes() == [
            ["set", "tap", "interface", "tap9"],
            ["set", "tap", "new", "1"],
            ["remove", "tap", "mirror_source"],
            ["list-add", "tap", "mirror_source", "a"],
            ["list-add", "tap", "mirror_source", "b"],
            ["add", added["section"], "backend"],
            ["set", added["section"], "host", "x"],
            ["set", "web", "backend"],
            ["rename", "web", "www"],
            ["remove", "tap", "new"],
            ["remove", "lan"],
        ]
        assert await world.tap("get", option="interface") == {"value": "tap9"}
        assert await world.call("get", "viewer", config="dpi-dual", section="tap", option="interface") == {
            "value": "tap0"
        }
        assert await world.changes("viewer") is None
        assert world.file.read_text() == CONFIG
        assert await world.call("revert", config="dpi-dual") == 0
        assert await world.changes() is None

    asyncio.run(change())


@pytest.mark.parametrize(
    ("method", "arguments", "status"),
    [
        ("set", {"section": "none", "values": {"a": "1"}}, 4),
        ("set", {"section": "tap", "values": {"bad-name": "1"}}, 2),
        ("set", {"section": "tap", "values": {"a": {"b": 1}}}, 2),
        ("set", {"section": "tap", "values": {"a": "two\0parts"}}, 2),
        ("set", {"section": "tap"}, 2),
        ("add", {"type": "backend", "name": "bad-name"}, 2),
        ("delete", {"section": "none"}, 4),
        ("rename", {"section": "none", "name": "x"}, 4),
    ],
)
def test_nonsense_is_refused(world: World, method: str, arguments: dict[str, Any], status: int) -> None:
    async def try_it() -> None:
        assert await world.call(method, config="dpi-dual", **arguments) == status
        assert await world.changes() is None

    asyncio.run(try_it())


@pytest.mark.parametrize("method", ["set", "add", "delete", "rename", "order", "revert", "commit"])
def test_who_may_only_read_cannot_stage(world: World, method: str) -> None:
    arguments = {"section": "tap", "values": {"interface": "x"}, "type": "t", "name": "n", "sections": ["lan"]}
    assert asyncio.run(world.call(method, "viewer", config="dpi-dual", **arguments)) == 6
    assert world.file.read_text() == CONFIG


def test_apply_waits_to_be_confirmed(world: World) -> None:
    async def apply() -> None:
        assert await world.call("confirm") == 5
        await world.tap("set", values={"interface": "tap8"})
        assert await world.call("apply", rollback=True, timeout=60) == 0
        assert world.reloaded == [["dpi-dual"]]
        assert "tap8' # on the WAN" in world.file.read_text()
        assert await world.call("apply", rollback=True, timeout=60) == 6
        assert await world.call("confirm", "viewer") == 6
        assert await world.call("confirm") == 0
        await world.tap("set", values={"interface": "tap7"})
        assert await world.call("apply", rollback=True, timeout=60) == 0
        assert await world.call("rollback") == 0
        assert "tap8" in world.file.read_text()
        assert world.reloaded == [["dpi-dual"]] * 3

    asyncio.run(apply())


def test_what_nobody_confirms_is_taken_back(world: World) -> None:
    async def apply() -> None:
        await world.tap("set", values={"interface": "tap8"})
        assert await world.call("apply", rollback=True, timeout=1) == 0
        deadline = asyncio.get_running_loop().time() + 60
        while world.file.read_text() != CONFIG:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
        assert await world.call("confirm") == 5

    asyncio.run(apply())


def test_commit_keeps_what_is_not_concerned(world: World) -> None:
    async def commit() -> str:
        await world.call("add", config="dpi-dual", type="backend", values={"host": "b"})
        await world.call("delete", config="dpi-dual", section=ANONYMOUS)
        await world.tap("set", values={"mirror_source": ["eth1", "eth2"]})
        assert await world.call("commit", config="dpi-dual") == 0
        return world.file.read_text()

    text = asyncio.run(commit())
    assert text.startswith("# the owner's own words")
    assert "option interface 'tap0' # on the WAN" in text
    assert "list mirror_source 'eth1'\n\tlist mirror_source 'eth2'" in text
    assert text.count("config backend") == 1
    assert "option host 'b'" in text


def test_order_and_type_are_written_too(world: World) -> None:
    async def commit() -> None:
        await world.call("order", config="dpi-dual", sections=["lan", ANONYMOUS, "tap"])
        assert await world.changes() == [["order", "lan", 0], ["order", ANONYMOUS, 1]]
        await world.call("add", config="dpi-dual", type="other", name="lan")
        assert await world.call("commit", config="dpi-dual") == 0
        everything = (await world.call("get", config="dpi-dual"))["values"]
        assert [(item[".type"], item.get("host")) for item in everything.values()] == [
            ("other", None),
            ("backend", "a"),
            ("tap", None),
        ]

    asyncio.run(commit())


def test_changes_of_others_meanwhile_stay(world: World) -> None:
    async def both() -> None:
        await world.tap("set", values={"interface": "tap5"})
        world.file.write_text(CONFIG.replace("eth0", "wan7"))
        assert await world.tap("get", option="mirror_source") == {"value": ["wan7"]}
        assert await world.call("commit", config="dpi-dual") == 0
        assert json.dumps(await world.tap("get")).count("wan7") == 1
        assert await world.tap("get", option="interface") == {"value": "tap5"}

    asyncio.run(both())
