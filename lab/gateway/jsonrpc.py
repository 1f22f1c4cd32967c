"""JSON-RPC 2.0 at `/ubus`, as uhttpd's ubus module speaks it: request text in, response text out.

uhttpd is lax and so is this: everything malformed is a parse error, and -32600 never occurs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from lab.gateway import blobmsg
from lab.gateway.bus import Bus, BusObject
from lab.gateway.status import Status

PARSE_ERROR = (-32700, "Parse error")
METHOD_NOT_FOUND = (-32601, "Method not found")
INVALID_PARAMETERS = (-32602, "Invalid parameters")
OBJECT_NOT_FOUND = (-32000, "Object not found")
ACCESS_DENIED = (-32002, "Access denied")
TIMED_OUT = (-32003, "ubus request timed out")

#: uhttpd gives up on an answer after `script_timeout`.
CALL_TIMEOUT_S = 60.0

_TYPE_WORDS = {"Boolean": "boolean", "Integer": "number", "String": "string", "Array": "array", "Table": "object"}


class RpcError(Exception):
    """A request that gets an error object for an answer."""

    def __init__(self, error: tuple[int, str]) -> None:
        super().__init__(error[1])
        self.code, self.message = error


async def respond(bus: Bus, body: bytes, timeout_s: float = CALL_TIMEOUT_S) -> AsyncIterator[bytes]:
    """The response to one POST; a batch is answered piece by piece, each call after the one before it."""
    try:
        document = blobmsg.parse_first(body)
    except blobmsg.IncompleteError:
        document = None
    if isinstance(document, list):
        yield b"["
        for index, item in enumerate(document):
            yield b"," * (index > 0) + await _answer(bus, item, timeout_s)
        yield b"]"
    else:
        yield await _answer(bus, document, timeout_s)


async def call_path(bus: Bus, name: str, sid: str, body: bytes, timeout_s: float = CALL_TIMEOUT_S) -> bytes:
    """The response to a POST at `/ubus/call/OBJECT`, which names the session in its Authorization header."""
    request = None
    try:
        request = blobmsg.parse_first(body)
        method = _method(request)
        params = request.get("params")
        arguments = params if isinstance(params, dict) else {}
        status, data = await _call(bus, sid, name, method, arguments, timeout_s)
        if status:
            raise RpcError((status, status.message))
    except blobmsg.IncompleteError:
        return PARSE_ERROR_TEXT
    except RpcError as error:
        return _error(request, error)
    return _reply(request, {"result": data or None})


def describe(objects: list[BusObject], with_names: bool) -> dict[str, Any]:
    """Methods and parameter types, as `list` with names and GET `/ubus/list` show them."""
    described: dict[str, Any] = {}
    for item in objects:
        methods = {
            method: {name: _TYPE_WORDS.get(kind, "unknown") for name, kind in parameters.items()}
            for method, parameters in item.signature.items()
        }
        described.update({item.name: methods} if with_names else methods)
    return described


async def _answer(bus: Bus, request: Any, timeout_s: float) -> bytes:
    try:
        method = _method(request)
        if method == "list":
            return _reply(request, {"result": _list(bus, request.get("params"))})
        if method != "call":
            raise RpcError(METHOD_NOT_FOUND)
        parameters = _call_parameters(request.get("params"))
        if parameters is None:
            raise RpcError(PARSE_ERROR)
        status, data = await _call(bus, *parameters, timeout_s)
    except RpcError as error:
        return _error(request, error)
    return _reply(request, {"result": [int(status), data] if data else [int(status)]})


async def _call(
    bus: Bus, sid: str, name: str, method: str, arguments: dict[str, Any], timeout_s: float
) -> tuple[Status, dict[str, Any]]:
    target = bus.find(name)
    if target is None:
        raise RpcError(OBJECT_NOT_FOUND)
    if not bus.sessions.allowed(sid, name, method):
        raise RpcError(ACCESS_DENIED)
    if "ubus_rpc_session" in arguments:
        raise RpcError(INVALID_PARAMETERS)
    try:
        async with asyncio.timeout(timeout_s):
            answers = await bus.call(target, method, {**arguments, "ubus_rpc_session": sid})
    except TimeoutError:
        raise RpcError(TIMED_OUT) from None
    merged: dict[str, Any] = {}
    for _, data in answers:
        merged.update(data or {})
    return answers[-1][0], merged


def _method(request: Any) -> str:
    """The method's name, if this is a JSON-RPC 2.0 request at all."""
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0" or not isinstance(request.get("method"), str):
        raise RpcError(PARSE_ERROR)
    return str(request["method"])


def _call_parameters(params: Any) -> tuple[str, str, str, dict[str, Any]] | None:
    """Session, object, method and arguments; an element of a wrong type is stepped over, as uhttpd does."""
    found: list[Any] = []
    for item in params if isinstance(params, list) else ():
        if len(found) < 4 and isinstance(item, (str, str, str, dict)[len(found)]):
            found.append(item)
    return (found[0], found[1], found[2], found[3]) if len(found) == 4 else None


def _list(bus: Bus, params: Any) -> Any:
    if not isinstance(params, list):
        return [item.name for item in bus.lookup()]
    found = {item.name: item for pattern in params if isinstance(pattern, str) for item in bus.lookup(pattern)}
    return describe(list(found.values()), with_names=True)


def _reply(request: Any, outcome: dict[str, Any]) -> bytes:
    number = request.get("id") if isinstance(request, dict) else None
    return blobmsg.encode({"jsonrpc": "2.0", "id": number, **outcome})


def _error(request: Any, error: RpcError) -> bytes:
    return _reply(request, {"error": {"code": error.code, "message": error.message}})


PARSE_ERROR_TEXT = _error(None, RpcError(PARSE_ERROR))
