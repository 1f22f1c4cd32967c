"""Sessions and access rights are rpcd's; the expected values were read off the original."""

from __future__ import annotations

import json
from typing import Any

from lab.gateway.sessions import Login, Sessions, acl_files
from lab.gateway.status import Status
from tests.lab.conftest import NULL_SESSION, ROOT
from tests.lab.gateway.echo import ACL, ECHO, RunGateway


def test_login_gives_what_the_acl_gives(run_gateway: RunGateway) -> None:
    gateway = run_gateway({"echo": ECHO}, ACL)
    assert gateway.rpc(NULL_SESSION, "session", "login", {"username": "root", "password": "no"}) == [6]
    assert gateway.rpc(NULL_SESSION, "session", "login", {"username": "root"}) == [2]
    assert gateway.rpc(NULL_SESSION, "session", "login", {"username": "root", "password": 5}) == [2]
    status, session = gateway.rpc(NULL_SESSION, "session", "login", {"username": "root", "password": "secret"})
    assert status == 0
    assert session["timeout"] == 300
    assert session["data"] == {"username": "root"}
    assert session["acls"] == {
        "access-group": {"lab": ["read"], "unauthenticated": ["read"]},
        "ubus": {"canned": ["*"], "echo": ["*"], "session": ["access", "login"]},
        "uci": {"dpi-dual": ["read"]},
    }
    sid = session["ubus_rpc_session"]
    question = {"object": "echo", "function": "size"}
    assert gateway.rpc(sid, "session", "access", question) == [0, {"access": True}]
    assert gateway.rpc(NULL_SESSION, "session", "access", question) == [0, {"access": False}]
    # nothing in the ACL allows a session to destroy itself over HTTP
    assert gateway.rpc(sid, "session", "destroy") == {"code": -32002, "message": "Access denied"}
    assert gateway.ubus("call", "session", "destroy", json.dumps({"ubus_rpc_session": sid})).returncode == 0
    assert gateway.rpc(sid, "echo", "argv") == {"code": -32002, "message": "Access denied"}


class TestSessions:
    """The session object by itself, with a clock of our own."""

    def make(self, documents: list[dict[str, Any]] | None = None, login: Login | None = None) -> Sessions:
        self.now = 0.0
        logins = [login or Login("root", "secret")]
        return Sessions(logins, documents or [], clock=lambda: self.now)

    def login(self, sessions: Sessions) -> str:
        status, session = sessions.call("login", {"username": "root", "password": "secret", "timeout": 100})
        assert status == Status.OK
        assert isinstance(session, dict)
        return str(session["ubus_rpc_session"])

    def test_a_session_ends_when_it_is_not_used(self) -> None:
        sessions = self.make([ACL])
        sid = self.login(sessions)
        self.now = 99
        assert sessions.allowed(sid, "echo", "x")
        self.now = 198
        assert sessions.allowed(sid, "echo", "x")
        self.now = 298
        assert not sessions.allowed(sid, "echo", "x")
        assert sessions.call("list", {"ubus_rpc_session": sid}) == (Status.NOT_FOUND, None)

    def test_values_are_kept_a_session(self) -> None:
        sessions = self.make()
        sid = {"ubus_rpc_session": self.login(sessions)}
        assert sessions.call("set", {**sid, "values": {"a": 1, "": 2, "token": "t"}}) == (Status.OK, None)
        assert sessions.call("get", {**sid, "keys": ["a", "b", 3]}) == (Status.OK, {"values": {"a": 1}})
        assert sessions.call("unset", {**sid, "keys": ["a"]}) == (Status.OK, None)
        assert sessions.call("get", sid) == (Status.OK, {"values": {"username": "root", "token": "t"}})
        assert sessions.call("set", sid) == (Status.INVALID_ARGUMENT, None)

    def test_grant_and_revoke(self) -> None:
        sessions = self.make()
        sid = self.login(sessions)
        objects = {"ubus_rpc_session": sid, "objects": [["dpi.*", "[a-s]*"], "no pair", ["x"]]}
        assert sessions.call("grant", objects) == (Status.OK, None)
        assert sessions.allowed(sid, "dpi.lan", "status")
        assert not sessions.allowed(sid, "dpi.lan", "undo")
        assert not sessions.allowed(sid, "dpi", "status")
        assert sessions.call("revoke", objects) == (Status.OK, None)
        assert not sessions.allowed(sid, "dpi.lan", "status")

    def test_the_null_session_cannot_be_destroyed(self) -> None:
        sessions = self.make()
        assert sessions.call("destroy", {"ubus_rpc_session": NULL_SESSION}) == (Status.PERMISSION_DENIED, None)
        assert sessions.call("destroy", {}) == (Status.INVALID_ARGUMENT, None)

    def test_write_implies_read_and_a_negative_pattern_wins(self) -> None:
        document = {
            name: {"read": {"ubus": {name: ["r"]}}, "write": {"ubus": {name: ["w"]}}}
            for name in ("one", "two", "three")
        }
        sessions = self.make([document], Login("root", "secret", read=("two",), write=("one", "!three", "three")))
        sid = self.login(sessions)
        allowed = {(name, verb) for name in document for verb in "rw" if sessions.allowed(sid, name, verb)}
        assert allowed == {("one", "r"), ("one", "w"), ("two", "r")}

    def test_sessions_are_bounded(self) -> None:
        sessions = self.make()
        while sessions.call("create", {"timeout": 50})[0] == Status.OK:  # type: ignore[index]
            pass
        self.now = 60
        assert sessions.call("create", {})[0] == Status.OK  # type: ignore[index]


def test_our_acl_names_each_method_of_the_schema(run_gateway: RunGateway) -> None:
    from dpi_dual.rpc import signatures

    directory = ROOT / "luci-app-dpi-dual" / "root" / "usr" / "share" / "rpcd" / "acl.d"
    (document,) = acl_files(directory)
    group = document["luci-app-dpi-dual"]
    granted = {
        access: {(name, method) for name, methods in group[access]["ubus"].items() for method in methods}
        for access in ("read", "write")
    }
    assert not granted["read"] & granted["write"]
    assert not any("*" in method for access in granted.values() for _, method in access)
    for name, methods in signatures.methods().items():
        for method, entry in methods.items():
            assert (name, method) in granted[entry.access], f"{name} {method} is a {entry.access} method"
    assert "dpi-dual-secrets" not in group["read"]["uci"]
