"""/ubus behaves as uhttpd's does; the expected values were read off the original."""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.lab.conftest import NULL_SESSION
from tests.lab.gateway.echo import ACL, ECHO, RunGateway


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
    threads = [threading.Thread(target=lambda: results.append(gateway.rpc(sid, "echo", "meet"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[0, {"met": True}]] * 8  # each waited until all eight were there


def test_the_older_paths_of_uhttpd(run_gateway: RunGateway) -> None:
    gateway = run_gateway({"echo": ECHO}, ACL)
    sid = gateway.login()
    request = {"jsonrpc": "2.0", "id": 1, "method": "argv", "params": {}}
    answer = gateway.post(request, "/ubus/call/echo", {"Authorization": f"Bearer {sid}"})
    assert answer["result"] == {"count": 3, "verb": "call"}
    assert gateway.post(request, "/ubus/call/echo")["error"]["code"] == -32002
