"""The gateway behaves as ubusd, rpcd and uhttpd do; the expected values were read off the originals."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.gateway import blobmsg
from lab.gateway.sessions import Login, Sessions, acl_files
from lab.gateway.status import Status
from lab.waiting import PATIENCE_S

from .conftest import NULL_SESSION, ROOT, Gateway

RunGateway = Callable[..., Gateway]

#: A plugin whose method NAME prints what the file NAME beside it holds, as it is.
CANNED = """#!/bin/sh
here=$(dirname "$0")
case $1 in
list) cat "$here/../signature" ;;
call) cat "$here/../answers/$2"; exit 3 ;;
esac
"""

ECHO = """#!/usr/bin/python3 -IS
import sys, time
if sys.argv[1] == "list":
    print('{"echo":{"s":"","b":true,"i":7,"i8":8,"i64":64,"a":[],"t":{}},"size":{},"wait":{},"argv":{},"linger":{}}')
elif sys.argv[2] == "size":
    text = sys.stdin.buffer.read()
    print('{"bytes":%d,"newline":%s}' % (len(text), "true" if text.endswith(b"\\n") else "false"))
elif sys.argv[2] == "argv":
    print('{"count":%d,"verb":"%s"}' % (len(sys.argv), sys.argv[1]))
elif sys.argv[2] == "wait":
    time.sleep(1)
    print('{"waited":true}')
elif sys.argv[2] == "linger":
    import os
    os.write(1, b'{"parent":true}')
    if os.fork() == 0:
        time.sleep(20)
else:
    print('{"given":' + sys.stdin.read() + '}')
"""

ACL = {"lab": {"description": "all", "read": {"ubus": {"echo": ["*"], "canned": ["*"]}, "uci": ["dpi-dual"]}}}


@pytest.fixture
def canned(tmp_path: Path, run_gateway: RunGateway) -> Callable[[dict[str, bytes]], Gateway]:
    """A gateway with one plugin that answers each method with the given bytes."""

    def start(answers: dict[str, bytes]) -> Gateway:
        (tmp_path / "answers").mkdir()
        (tmp_path / "signature").write_text(json.dumps({name: {} for name in answers}))
        for name, answer in answers.items():
            (tmp_path / "answers" / name).write_bytes(answer)
        return run_gateway({"canned": CANNED}, ACL)

    return start


# --- blobmsg


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.5, "0.500000"),
        (1700000000.123456789, "1700000000.123457"),
        (1e-9, "0.000000"),
        (float("nan"), "nan"),
        (9223372036854775808, "9223372036854775807"),
        (-9223372036854775809, "-9223372036854775808"),
        (True, "true"),
        (None, "null"),
        ('a/b\u007f\b\f\x1f"\\', '"a/b\u007f\\b\\u000c\\u001f\\"\\\\"'),
        ("cut\0here", '"cut"'),
        ("x\ud800y", '"x\ufffdy"'),
        ({"": 1, "b": {}}, '{1,"b":{}}'),
        ([1, [], {"x": None}], '[1,[],{"x":null}]'),
    ],
)
def test_values_come_out_as_libubox_prints_them(value: Any, printed: str) -> None:
    assert blobmsg.dumps(blobmsg.normalise(value)) == printed


def test_indented_output_is_that_of_ubus_call() -> None:
    text = blobmsg.dumps({"a": [1, {"b": True}], "c": {}, "d": []}, indent=True)
    assert (
        text == '{\n\t"a": [\n\t\t1,\n\t\t{\n\t\t\t"b": true\n\t\t}\n\t],\n\t"c": {\n\t\t\n\t},\n\t"d": [\n\t\t\n\t]\n}'
    )


@pytest.mark.parametrize("text", [b"", b" \n", b'{"a":1', b"null", b"12", b"{a:1}", b'"x', b"hello", b'{"a":"x\0y"}'])
def test_what_is_no_whole_value_is_refused(text: bytes) -> None:
    with pytest.raises(blobmsg.IncompleteError):
        blobmsg.parse_first(text)


def test_only_the_first_value_counts() -> None:
    assert blobmsg.parse_first(b'\r\n{"a":1}{"b":2} rubbish') == {"a": 1}
    assert blobmsg.parse_first(b"null\n") is None
    assert blobmsg.parse_first(b'{"a":"\xff"}') == {"a": "\udcff"}
    assert blobmsg.encode({"a": "\udcff"}) == b'{"a":"\xff"}'


@pytest.mark.parametrize(("levels", "accepted"), [(31, True), (32, False), (100_000, False)])
def test_nesting_has_the_limit_of_json_c(levels: int, accepted: bool) -> None:
    text = b'{"a":' + b"[" * levels + b"]" * levels + b"}"
    if accepted:
        blobmsg.parse_first(text)
    else:
        with pytest.raises(blobmsg.IncompleteError):
            blobmsg.parse_first(text)


@given(st.binary())
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        value = blobmsg.parse_first(data)
    except blobmsg.IncompleteError:
        return
    assert isinstance(blobmsg.encode(value), bytes)


_text = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1))
_name = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1), min_size=1, max_size=5)
_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_name, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_name, _value, max_size=4), st.booleans())
def test_what_is_printed_reads_back(document: dict[str, Any], indent: bool) -> None:
    assert blobmsg.normalise(document) == document
    assert json.loads(blobmsg.dumps(document, indent)) == document


# --- plugins


def test_answers_of_plugins_become_ubus_statuses(canned: Callable[[dict[str, bytes]], Gateway]) -> None:
    expected = {
        "good": (b'{"a":1}', [0, {"a": 1}]),
        "trailing": (b'{"a":1} more', [0, {"a": 1}]),
        "nothing": (b"", [5]),
        "null_line": (b"null\n", [5]),
        "blank": (b" \n", [2]),
        "number": (b"12\n", [2]),
        "array": (b"[1]", [2]),
        "partial": (b'{"a":1', [2]),
        "words": (b"hello", [2]),
        "empty_object": (b"{}", [0]),
    }
    gateway = canned({name: answer for name, (answer, _) in expected.items()})
    sid = gateway.login()
    assert {name: gateway.rpc(sid, "canned", name) for name in expected} == {
        name: result for name, (_, result) in expected.items()
    }
    assert gateway.rpc(sid, "canned", "unheard_of") == [3]


def test_an_answer_over_one_mebibyte_is_a_loud_fault(canned: Callable[[dict[str, bytes]], Gateway]) -> None:
    # 1,048,550 characters in a member named `a` still pass on a router, two more do not
    gateway = canned({"fits": b'{"a":"%s"}' % (b"x" * 1048550), "bursts": b'{"a":"%s"}' % (b"x" * 1048552)})
    sid = gateway.login()
    assert len(gateway.rpc(sid, "canned", "fits")[1]["a"]) == 1048550
    assert gateway.rpc(sid, "canned", "bursts") == [10]
    assert "drops rpcd" in (gateway.directory / "gateway.log").read_text()


def test_arguments_reach_the_plugin_as_one_object_without_a_newline(run_gateway: RunGateway) -> None:
    gateway = run_gateway({"echo": ECHO}, ACL)
    sid = gateway.login()
    given = gateway.rpc(sid, "echo", "echo", {"s": "é/<", "unknown": [1.5, None]})[1]["given"]
    assert given == {"s": "é/<", "unknown": [1.5, None], "ubus_rpc_session": sid}
    assert json.loads(gateway.ubus("call", "echo", "echo", '{"i":"wrong type"}').stdout) == {
        "given": {"i": "wrong type"}
    }
    assert gateway.rpc(sid, "echo", "argv")[1] == {"count": 3, "verb": "call"}
    assert json.loads(gateway.ubus("call", "echo", "size").stdout) == {"bytes": 2, "newline": False}
    long = json.dumps({"a": "x" * 70000})
    assert json.loads(gateway.ubus("call", "echo", "size", long).stdout) == {"bytes": 65536, "newline": False}


def test_a_plugin_that_leaves_a_child_behind_has_answered(run_gateway: RunGateway) -> None:
    gateway = run_gateway({"echo": ECHO}, ACL)
    begin = time.monotonic()
    assert gateway.rpc(gateway.login(), "echo", "linger") == [0, {"parent": True}]
    assert time.monotonic() - begin < 15


def test_odd_plugins_get_no_object_and_are_named(run_gateway: RunGateway) -> None:
    gateway = run_gateway(
        {
            "echo": ECHO,
            "rubbish": "#!/bin/sh\necho rubbish\n",
            "silent": "#!/bin/sh\n",
            "empty": "#!/bin/sh\necho '{}'\n",
            "array": "#!/bin/sh\necho '[1]'\n",
            "cut": "#!/bin/sh\nprintf '{\"m\":{}'\n",
            "no.interpreter": "#!/nowhere/sh\n",
            "text.after": "#!/bin/sh\necho '{\"m\":{}} text'\n",
            "method.without": '#!/bin/sh\necho \'{"m":{},"n":"no parameters"}\'\n',
        }
    )
    names = gateway.ubus("list").stdout.split()
    assert names == ["echo", "method.without", "session", "text.after"]
    assert sorted(line.split(":")[1].strip() for line in gateway.said) == [
        "array",
        "cut",
        "empty",
        "no.interpreter",
        "rubbish",
        "silent",
    ]


# --- JSON-RPC


def test_requests_that_are_none_are_parse_errors(run_gateway: RunGateway) -> None:
    gateway = run_gateway({"echo": ECHO}, ACL)
    error = {"code": -32700, "message": "Parse error"}
    nobody = {"jsonrpc": "2.0", "id": None, "error": error}
    for text in ("", "hello", "12", '{"jsonrpc":', "null"):
        assert gateway.post(text) == nobody, text
    for request in (
        {"method": "list"},
        {"jsonrpc": "1.0", "method": "list"},
        {"jsonrpc": "2.0", "method": 3},
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "method": "call"},
        {"jsonrpc": "2.0", "method": "call", "params": [NULL_SESSION, "echo", "echo"]},
        {"jsonrpc": "2.0", "method": "call", "params": [NULL_SESSION, "echo", "echo", []]},
        {"jsonrpc": "2.0", "method": "call", "params": {"a": 1}},
    ):
        assert gateway.post({"id": 7, **request}) == {**nobody, "id": 7}, request


def test_errors_have_uhttpds_codes(run_gateway: RunGateway) -> None:
    gateway = run_gateway({"echo": ECHO}, ACL)
    sid = gateway.login()
    assert gateway.post({"jsonrpc": "2.0", "id": 1, "method": "frob"})["error"] == {
        "code": -32601,
        "message": "Method not found",
    }
    assert gateway.rpc(sid, "nothing", "echo") == {"code": -32000, "message": "Object not found"}
    assert gateway.rpc(NULL_SESSION, "echo", "echo") == {"code": -32002, "message": "Access denied"}
    assert gateway.rpc("f" * 32, "echo", "echo") == {"code": -32002, "message": "Access denied"}
    assert gateway.rpc(sid, "echo", "echo", {"ubus_rpc_session": sid}) == {
        "code": -32602,
        "message": "Invalid parameters",
    }
    # uhttpd steps over parameters of a wrong type
    request = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": [1, sid, None, "echo", "argv", {}, 5]}
    assert gateway.post(request)["result"] == [0, {"count": 3, "verb": "call"}]


def test_a_batch_is_answered_one_by_one(run_gateway: RunGateway) -> None:
    gateway = run_gateway({"echo": ECHO}, ACL)
    sid = gateway.login()
    wait = {"jsonrpc": "2.0", "id": "w", "method": "call", "params": [sid, "echo", "wait", {}]}
    begin = time.monotonic()
    answers = gateway.post([wait, 5, {"jsonrpc": "2.0", "id": 2.5, "method": "list", "params": ["ec*", "nope"]}, wait])
    assert time.monotonic() - begin >= 2
    assert [answer["id"] for answer in answers] == ["w", None, 2.5, "w"]
    assert answers[0]["result"] == [0, {"waited": True}]
    assert answers[1]["error"]["code"] == -32700
    assert answers[2]["result"]["echo"]["echo"] == {
        "s": "string",
        "b": "boolean",
        "i": "number",
        "i8": "boolean",
        "i64": "unknown",
        "a": "array",
        "t": "object",
    }
    assert gateway.post([]) == []
    assert gateway.post({"jsonrpc": "2.0", "id": 1, "method": "list"})["result"] == ["echo", "session"]


def test_calls_of_different_clients_run_in_parallel(run_gateway: RunGateway) -> None:
    gateway = run_gateway({"echo": ECHO}, ACL)
    sid = gateway.login()
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(gateway.rpc(sid, "echo", "wait"))) for _ in range(8)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[0, {"waited": True}]] * 8
    assert time.monotonic() - begin < 6  # eight seconds of sleep, one after another


def test_the_older_paths_of_uhttpd(run_gateway: RunGateway) -> None:
    gateway = run_gateway({"echo": ECHO}, ACL)
    sid = gateway.login()
    request = {"jsonrpc": "2.0", "id": 1, "method": "argv", "params": {}}
    answer = gateway.post(request, "/ubus/call/echo", {"Authorization": f"Bearer {sid}"})
    assert answer["result"] == {"count": 3, "verb": "call"}
    assert gateway.post(request, "/ubus/call/echo")["error"]["code"] == -32002


# --- sessions


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


# --- hostile HTTP


def _exchange(port: int, *pieces: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        answer = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass  # it had heard enough
        return answer


@pytest.mark.parametrize(
    ("request_bytes", "status_line"),
    [
        (b"BREW /ubus HTTP/1.1\r\n\r\n", b"HTTP/1.0 400"),
        (b"GET /\r\n\r\n", b"HTTP/1.0 400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n[]", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: -2\r\n\r\n[]", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n[]", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n[]", b"HTTP/1.0 501"),
        (b"POST /ubus HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 400"),
        (b"POST /ubus HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]xx0\r\n\r\n", b"HTTP/1.1 400"),
        (b"POST /ubus HTTP/1.1\r\nX y: 1\r\n\r\n", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nX: a\x00b\r\n\r\n", b"HTTP/1.0 400"),
        (b"POST /ubus HTTP/1.1\r\nX: " + b"y" * 20000 + b"\r\n\r\n", b"HTTP/1.0 431"),
        (b"POST /ubus HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"HTTP/1.0 431"),
        (b"GET /../../etc/passwd HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 404"),
        (b"GET /ubusx HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 404"),
        (b"GET /ubus HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 404"),
        (b"PUT /ubus HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
        (b"OPTIONS /ubus HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200"),
        (b"POST /ubus HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]", b"HTTP/1.0 200"),
        (
            b"POST /ubus HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"1\r\n[\r\n1;x=y\r\n]\r\n0\r\n\r\n",
            b"HTTP/1.1 200",
        ),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000, b"HTTP/1.1 200"),
        (b"POST /ubus HTTP/1.1\r\nContent-Length: 50\r\n\r\n[]", b""),
        (b"", b""),
    ],
)
def test_http_that_is_wrong_is_answered_and_survived(
    request_bytes: bytes, status_line: bytes, shared_gateway: Gateway
) -> None:
    answer = _exchange(shared_gateway.port, request_bytes)
    assert answer.startswith(status_line) if status_line else answer == b""
    assert shared_gateway.post([]) == []


@pytest.fixture
def shared_gateway(run_gateway: RunGateway) -> Gateway:
    return run_gateway({"echo": ECHO}, ACL)


def test_many_connections_at_once_are_bounded_and_let_go(shared_gateway: Gateway) -> None:
    connections = [socket.create_connection(("127.0.0.1", shared_gateway.port)) for _ in range(150)]
    try:
        deadline = time.monotonic() + PATIENCE_S
        refused = 0
        while not refused and time.monotonic() < deadline:
            for connection in connections:
                connection.setblocking(False)
                try:
                    refused += connection.recv(1) == b""
                except BlockingIOError:
                    continue
        assert refused
    finally:
        for connection in connections:
            connection.close()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            assert shared_gateway.post([]) == []
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail("no connection is accepted after all the others were closed")


def test_requests_follow_each_other_on_one_connection(shared_gateway: Gateway) -> None:
    one = b"POST /ubus HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]"
    last = b"POST /ubus HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]"
    answer = _exchange(shared_gateway.port, one + one, last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.count(b"Connection: Keep-Alive") == 2
