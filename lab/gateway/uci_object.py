"""rpcd's `uci` object: each session stages changes of its own, sees them, and commits them with `apply`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.gateway.plugins import Signature
from lab.gateway.sessions import Answer, Sessions, typed
from lab.gateway.staging import StagedPackage
from lab.gateway.status import Status
from lab.record import ROOT

sys.path.insert(0, str(ROOT / "lib"))

from dpi_dual.ucifile import NAME_OF_PACKAGE, UciError

_SECTION = {"config": "String", "section": "String", "ubus_rpc_session": "String"}
_PACKAGE = {"config": "String", "ubus_rpc_session": "String"}

METHODS: Signature = {
    "configs": {},
    "get": {**_SECTION, "option": "String", "type": "String"},
    "state": {**_SECTION, "option": "String", "type": "String"},
    "add": {**_PACKAGE, "type": "String", "name": "String", "values": "Table"},
    "set": {**_SECTION, "values": "Table"},
    "delete": {**_SECTION, "option": "String", "options": "Array"},
    "rename": {**_SECTION, "option": "String", "name": "String"},
    "order": {**_PACKAGE, "sections": "Array"},
    "changes": _PACKAGE,
    "revert": _PACKAGE,
    "commit": _PACKAGE,
    "apply": {"rollback": "Boolean", "timeout": "Integer", "ubus_rpc_session": "String"},
    "confirm": {"ubus_rpc_session": "String"},
    "rollback": {"ubus_rpc_session": "String"},
}

#: Packages that one session may have staged changes in, and sessions that may stage at all.
MAX_STAGED = 20
MAX_SESSIONS = 100

DEFAULT_TIMEOUT_S = 60

_WRITING = ("add", "set", "delete", "rename", "order", "revert", "commit")


class UciObject:
    """The packages of one configuration directory; `reload` is run after a commit, with the packages' names."""

    def __init__(self, directory: Path, sessions: Sessions, reload: Callable[[list[str]], None]) -> None:
        self._directory = directory
        self._sessions = sessions
        self._reload = reload
        self._staged: dict[str, dict[str, StagedPackage]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._pending: _Pending | None = None

    async def call(self, method: str, arguments: dict[str, Any]) -> Answer:
        """A method of the object; the files are edited in a thread, since another writer may hold their lock."""
        parameters = METHODS.get(method)
        if parameters is None:
            return Status.METHOD_NOT_FOUND, None
        given = typed(arguments, parameters)
        async with self._one_at_a_time:
            try:
                match method:
                    case "apply":
                        return await self._apply(given)
                    case "confirm":
                        return self._confirm(given.get("ubus_rpc_session", "")), None
                    case "rollback":
                        return await self._roll_back(given.get("ubus_rpc_session", "")), None
                return await asyncio.to_thread(self._call, method, given)
            except FileNotFoundError:
                return Status.NOT_FOUND, None
            except UciError as error:
                print(f"gateway: uci {method}: {error}", file=sys.stderr, flush=True)
                return Status.INVALID_ARGUMENT, None

    def _may(self, sid: str, package: str, permission: str) -> bool:
        """The local socket, which names no session, may do everything."""
        session = self._sessions.find(sid) if sid else None
        return not sid or (session is not None and session.allows("uci", package, permission))

    def _staging(self, sid: str) -> dict[str, StagedPackage]:
        for gone in [other for other in self._staged if other and self._sessions.find(other, touch=False) is None]:
            del self._staged[gone]
        if sid not in self._staged and len(self._staged) >= MAX_SESSIONS:
            raise UciError("too many sessions have staged changes")
        return self._staged.setdefault(sid, {})

    def _call(self, method: str, given: dict[str, Any]) -> Answer:
        sid = given.get("ubus_rpc_session", "")
        if method == "configs":
            return Status.OK, {"configs": sorted(p.name for p in self._directory.iterdir() if self._is_package(p.name))}
        if method == "changes" and "config" not in given:
            staged = self._staging(sid).items()
            changed = {name: item.changes for name, item in staged if item.changes and self._may(sid, name, "read")}
            return Status.OK, {"changes": changed}
        if "config" not in given:
            return Status.INVALID_ARGUMENT, None
        name = given["config"]
        if not self._may(sid, name, "write" if method in _WRITING else "read"):
            return Status.PERMISSION_DENIED, None
        if not self._is_package(name):
            return Status.NOT_FOUND, None
        staged = self._staging(sid)
        if name not in staged and len(staged) >= MAX_STAGED:
            raise UciError("too many packages with staged changes")
        package = staged.get(name) or StagedPackage(name, str(self._directory))
        package.load()
        answer = self._one(method, package, given)
        if package.changes:
            staged[name] = package
        else:
            staged.pop(name, None)
        return answer

    def _one(self, method: str, package: StagedPackage, given: dict[str, Any]) -> Answer:
        section = given.get("section", "")
        match method:
            case "get" | "state":
                return Status.OK, package.get(section or None, given.get("option"), given.get("type"))
            case "changes":
                return Status.OK, {"changes": package.changes}
            case "revert":
                package.revert()
            case "commit":
                package.commit()
            case "add" if "type" in given:
                return Status.OK, {
                    "section": package.add(given["type"], given.get("name", ""), given.get("values", {}))
                }
            case "set" if section and "values" in given:
                return (Status.OK if package.set(section, given["values"]) else Status.NOT_FOUND), None
            case "delete" if section:
                options = [given["option"]] if "option" in given else given.get("options")
                return (Status.OK if package.delete(section, options) else Status.NOT_FOUND), None
            case "rename" if section and "name" in given:
                return (
                    Status.OK if package.rename(section, given.get("option"), given["name"]) else Status.NOT_FOUND
                ), None
            case "order" if "sections" in given:
                package.order([item for item in given["sections"] if isinstance(item, str)])
            case _:
                return Status.INVALID_ARGUMENT, None
        return Status.OK, None

    def _is_package(self, name: str) -> bool:
        return bool(NAME_OF_PACKAGE.fullmatch(name)) and (self._directory / name).is_file()

    # --- commits that are taken back unless somebody confirms that the router can still be reached

    async def _apply(self, given: dict[str, Any]) -> Answer:
        sid = given.get("ubus_rpc_session", "")
        if self._pending is not None:
            return Status.PERMISSION_DENIED, None
        staged = self._staging(sid)
        if not staged:
            return Status.NO_DATA, None
        if not all(self._may(sid, name, "write") for name in staged):
            return Status.PERMISSION_DENIED, None
        before = {name: (self._directory / name).read_bytes() for name in staged}
        await asyncio.to_thread(self._commit_all, sid)
        self._reload(list(before))
        if given.get("rollback"):
            timeout_s = min(max(given.get("timeout", DEFAULT_TIMEOUT_S), 1), 600)
            timer = asyncio.get_running_loop().call_later(timeout_s, self._expire)
            self._pending = _Pending(sid, before, timer)
        return Status.OK, None

    def _commit_all(self, sid: str) -> None:
        for package in self._staged.pop(sid, {}).values():
            package.commit()

    def _confirm(self, sid: str) -> Status:
        if self._pending is None:
            return Status.NO_DATA
        if sid and sid != self._pending.sid:
            return Status.PERMISSION_DENIED
        self._pending.timer.cancel()
        self._pending = None
        return Status.OK

    async def _roll_back(self, sid: str) -> Status:
        pending = self._pending
        status = self._confirm(sid)
        if status is Status.OK and pending is not None:
            self._restore(pending)
        return status

    def _expire(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            self._restore(pending)

    def _restore(self, pending: _Pending) -> None:
        for name, content in pending.before.items():
            (self._directory / name).write_bytes(content)
        self._reload(list(pending.before))

    def close(self) -> None:
        if self._pending is not None:
            self._pending.timer.cancel()


class _Pending:
    """A commit that waits to be confirmed by its session."""

    def __init__(self, sid: str, before: dict[str, bytes], timer: asyncio.TimerHandle) -> None:
        self.sid, self.before, self.timer = sid, before, timer


def reloader(command: str | None) -> Callable[[list[str]], None]:
    """Runs an init script's `reload` when one of our packages was committed, as a procd trigger would."""

    def run() -> None:
        done = subprocess.run([str(command), "reload"], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            print(f"gateway: {command} reload: {done.stderr.strip()}", file=sys.stderr, flush=True)

    def reload(packages: list[str]) -> None:
        if command and any(name.startswith("dpi-dual") for name in packages):
            asyncio.get_running_loop().run_in_executor(None, run)

    return reload
