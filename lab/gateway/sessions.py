"""Sessions and their access rights: rpcd's `session` object, fed from the real `acl.d` files."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hmac import compare_digest
from pathlib import Path
from typing import Any

from lab.gateway.plugins import Signature
from lab.gateway.status import Status

NULL_SESSION = "0" * 32
DEFAULT_TIMEOUT_S = 300

#: A session costs memory and anyone who can reach the port may try to log in.
MAX_SESSIONS = 1000

Answer = tuple[Status, dict[str, Any] | None]

METHODS: Signature = {
    "create": {"timeout": "Integer"},
    "list": {"ubus_rpc_session": "String"},
    "grant": {"ubus_rpc_session": "String", "scope": "String", "objects": "Array"},
    "revoke": {"ubus_rpc_session": "String", "scope": "String", "objects": "Array"},
    "access": {"ubus_rpc_session": "String", "scope": "String", "object": "String", "function": "String"},
    "set": {"ubus_rpc_session": "String", "values": "Table"},
    "get": {"ubus_rpc_session": "String", "keys": "Array"},
    "unset": {"ubus_rpc_session": "String", "keys": "Array"},
    "destroy": {"ubus_rpc_session": "String"},
    "login": {"username": "String", "password": "String", "timeout": "Integer"},
}

_TYPES: dict[str, type] = {"String": str, "Integer": int, "Array": list, "Table": dict, "Boolean": bool}


@dataclass(frozen=True)
class Login:
    """Who may log in, as a `login` section of `/etc/config/rpcd` says; `*` stands for every access group."""

    username: str
    password: str
    read: tuple[str, ...] = ("*",)
    write: tuple[str, ...] = ("*",)

    def may(self, permission: str, group: str) -> bool:
        """True when this login has `permission` (read or write) on an access group; write implies read."""
        patterns = self.write if permission == "write" else self.read
        if any(fnmatchcase(group, pattern[1:].lstrip()) for pattern in patterns if pattern.startswith("!")):
            return False
        if any(fnmatchcase(group, pattern) for pattern in patterns if not pattern.startswith("!")):
            return True
        return permission == "read" and self.may("write", group)


@dataclass
class Session:
    """One session: what it may do (`acls`: scope → object pattern → function patterns) and what it keeps."""

    sid: str
    timeout_s: int
    touched_at: float
    acls: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def grant(self, scope: str, target: str, function: str) -> None:
        functions = self.acls.setdefault(scope, {}).setdefault(target, [])
        if function not in functions:
            functions.append(function)

    def revoke(self, scope: str, target: str, function: str) -> None:
        functions = self.acls.get(scope, {}).get(target, [])
        if function in functions:
            functions.remove(function)
            if not functions:
                del self.acls[scope][target]
            if not self.acls[scope]:
                del self.acls[scope]

    def allows(self, scope: str, target: str, function: str) -> bool:
        return any(
            fnmatchcase(target, pattern) and any(fnmatchcase(function, allowed) for allowed in functions)
            for pattern, functions in self.acls.get(scope, {}).items()
        )

    def dump_acls(self) -> dict[str, Any]:
        return {scope: dict(sorted(self.acls[scope].items())) for scope in sorted(self.acls)}


def acl_files(*directories: Path) -> list[dict[str, Any]]:
    """The documents of `acl.d` directories; a file that is not one JSON object raises `ValueError` with its name."""
    documents = []
    for directory in directories:
        for path in sorted(directory.glob("*.json")):
            try:
                document = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
            if not isinstance(document, dict):
                raise ValueError(f"{path}: not a JSON object")
            documents.append(document)
    return documents


class Sessions:
    """All sessions, and the methods of the `session` object over them."""

    def __init__(
        self, logins: list[Login], documents: list[dict[str, Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logins = logins
        self._documents = documents
        self._clock = clock
        null = Session(NULL_SESSION, 0, clock())
        self._setup_acls(null, None)
        self._sessions = {NULL_SESSION: null}

    def find(self, sid: object, touch: bool = True) -> Session | None:
        """The living session with this id; using it starts its timeout again, unless it is only looked for."""
        session = self._sessions.get(sid) if isinstance(sid, str) else None
        if session is None:
            return None
        now = self._clock()
        if session.timeout_s > 0 and now - session.touched_at >= session.timeout_s:
            del self._sessions[session.sid]
            return None
        if touch:
            session.touched_at = now
        return session

    def allowed(self, sid: str, target: str, function: str) -> bool:
        """What uhttpd asks before each call."""
        session = self.find(sid)
        return session is not None and session.allows("ubus", target, function)

    def call(self, method: str, arguments: dict[str, Any]) -> Answer | list[Answer]:
        """One method of the `session` object; `list` without an id gives several answers, as rpcd does."""
        parameters = METHODS.get(method)
        if parameters is None:
            return Status.METHOD_NOT_FOUND, None
        given = typed(arguments, parameters)
        if method == "create":
            session = self._create(given.get("timeout", DEFAULT_TIMEOUT_S))
            return (Status.OK, self._dump(session)) if session else (Status.UNKNOWN_ERROR, None)
        if method == "login":
            return self._login(given)
        if "ubus_rpc_session" not in given:
            if method != "list":
                return Status.INVALID_ARGUMENT, None
            return [(Status.OK, self._dump(self._sessions[sid])) for sid in sorted(self._sessions) if self._alive(sid)]
        if method == "destroy" and given["ubus_rpc_session"] == NULL_SESSION:
            return Status.PERMISSION_DENIED, None
        session = self.find(given["ubus_rpc_session"])
        if session is None:
            return Status.NOT_FOUND, None
        return self._call_on(session, method, given)

    def _call_on(self, session: Session, method: str, given: dict[str, Any]) -> Answer:
        match method:
            case "list":
                return Status.OK, self._dump(session)
            case "access":
                return Status.OK, _access(session, given)
            case "grant" | "revoke":
                return _change_acl(session, method, given)
            case "set":
                if "values" not in given:
                    return Status.INVALID_ARGUMENT, None
                session.data.update({key: value for key, value in given["values"].items() if key})
            case "get":
                keys = [key for key in given.get("keys", session.data) if isinstance(key, str) and key in session.data]
                return Status.OK, {"values": {key: session.data[key] for key in keys}}
            case "unset":
                for key in given.get("keys", list(session.data)):
                    if isinstance(key, str):
                        session.data.pop(key, None)
            case "destroy":
                del self._sessions[session.sid]
        return Status.OK, None

    def _alive(self, sid: str) -> bool:
        session = self._sessions[sid]
        return session.timeout_s <= 0 or self._clock() - session.touched_at < session.timeout_s

    def _create(self, timeout_s: int) -> Session | None:
        for sid in [sid for sid in self._sessions if not self._alive(sid)]:
            del self._sessions[sid]
        if len(self._sessions) >= MAX_SESSIONS:
            return None
        session = Session(secrets.token_hex(16), timeout_s, self._clock())
        self._sessions[session.sid] = session
        return session

    def _login(self, given: dict[str, Any]) -> Answer:
        if "username" not in given or "password" not in given:
            return Status.INVALID_ARGUMENT, None
        for login in self._logins:
            same = compare_digest(
                login.password.encode("utf-8", "surrogatepass"), given["password"].encode("utf-8", "surrogatepass")
            )
            if login.username == given["username"] and same:
                break
        else:
            return Status.PERMISSION_DENIED, None
        session = self._create(given.get("timeout", DEFAULT_TIMEOUT_S))
        if session is None:
            return Status.UNKNOWN_ERROR, None
        self._setup_acls(session, login)
        session.data["username"] = login.username
        return Status.OK, self._dump(session)

    def _setup_acls(self, session: Session, login: Login | None) -> None:
        """Grants what the ACL files give to a login, or to nobody in particular (`unauthenticated`)."""
        for document in self._documents:
            for group, permissions in document.items():
                for permission, scopes in permissions.items() if isinstance(permissions, dict) else ():
                    if permission not in ("read", "write") or not isinstance(scopes, dict):
                        continue
                    may = login.may(permission, group) if login else group == "unauthenticated"
                    if may:
                        _grant_scopes(session, group, permission, scopes)

    def _dump(self, session: Session) -> dict[str, Any]:
        left = session.timeout_s - (self._clock() - session.touched_at) if session.timeout_s > 0 else 0
        return {
            "ubus_rpc_session": session.sid,
            "timeout": session.timeout_s,
            "expires": int(max(left, 0)),
            "acls": session.dump_acls(),
            "data": dict(sorted(session.data.items())),
        }


def typed(arguments: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """The arguments that are known and of their type; rpcd's own objects overlook the rest."""
    return {name: arguments[name] for name, kind in parameters.items() if _is_of_kind(arguments.get(name), kind)}


def _is_of_kind(value: Any, kind: str) -> bool:
    """blobmsg's view of types: true is no integer, nor is what needs more than 32 bits."""
    if isinstance(value, bool):
        return kind == "Boolean"
    if isinstance(value, int):
        return kind == "Integer" and -(1 << 31) <= value < 1 << 31
    return isinstance(value, _TYPES[kind])


def _grant_scopes(session: Session, group: str, permission: str, scopes: dict[str, Any]) -> None:
    for scope, targets in scopes.items():
        if isinstance(targets, dict):
            for target, functions in targets.items():
                for function in functions if isinstance(functions, list) else ():
                    if isinstance(function, str):
                        session.grant(scope, target, function)
        elif isinstance(targets, list):
            for target in targets:
                if isinstance(target, str):
                    session.grant(scope, target, permission)
        session.grant("access-group", group, permission)


def _access(session: Session, given: dict[str, Any]) -> dict[str, Any]:
    if "object" in given and "function" in given:
        return {"access": session.allows(given.get("scope", "ubus"), given["object"], given["function"])}
    return session.dump_acls()


def _change_acl(session: Session, method: str, given: dict[str, Any]) -> Answer:
    scope = given.get("scope", "ubus")
    if "objects" not in given:
        if method == "grant":
            return Status.INVALID_ARGUMENT, None
        session.acls.pop(scope, None)
        return Status.OK, None
    change = session.grant if method == "grant" else session.revoke
    for pair in given["objects"]:
        words = [word for word in pair if isinstance(word, str)] if isinstance(pair, list) else []
        if len(words) >= 2:
            change(scope, words[0], words[1])
    return Status.OK, None
