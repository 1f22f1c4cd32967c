"""Fuzz targets: calls over the control socket, through a plugin, and over HTTP."""

from __future__ import annotations

import asyncio
import atexit
import io
import json
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from dpi_dual import config
from dpi_dual.engine.control import ControlServer, encode_bounded
from dpi_dual.errors import QueryError
from dpi_dual.rest import routes
from dpi_dual.rest.cgi import failure, respond
from dpi_dual.rest.errors import HttpError
from dpi_dual.rest.request import read
from dpi_dual.rest.throttle import Throttle
from dpi_dual.rpc import legacy as old
from dpi_dual.rpc import offline as without_engine
from dpi_dual.rpc import plugin as thin
from dpi_dual.rpc.signatures import methods
from dpi_dual.rpc.validate import Validator

Answer = dict[str, Any]

_GOOD: dict[str, Any] = {
    "string": "198.51.100.7",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": [],
    "object": {},
}
_CALLS = [
    [obj, name, {key: _GOOD[rule["type"]] for key, rule in method.params["properties"].items()}]
    for obj, known in methods().items()
    for name, method in known.items()
]
REQUESTS = tuple(json.dumps(call).encode() for call in _CALLS)
ARGUMENTS = tuple(json.dumps({**params, "ubus_rpc_session": "0" * 32}).encode() for _, _, params in _CALLS)
OLD_CALLS = tuple(json.dumps([name, params]).encode() for obj, name, params in _CALLS if obj == old.OBJECT)


@cache
def _validator() -> Validator:
    return Validator()


async def _checked(obj: str, name: str, params: object) -> Answer:
    """An engine that tells what it would have been asked."""
    try:
        method, values = _validator().check(obj, name, params)
    except QueryError as error:
        return dict(error.answer())
    return {"target": list(method.target), "values": values}


def control(data: bytes) -> None:
    server = ControlServer("/nowhere", _checked)
    # What StreamReader.readline gives.
    answer = encode_bounded(asyncio.run(server._answer(data.partition(b"\n")[0] + b"\n")))
    assert answer.endswith(b"\n") and answer.count(b"\n") == 1 and answer.isascii()
    told = json.loads(answer)
    assert isinstance(told, dict)
    assert told.get("code") != "internal", told
    assert len(str(told.get("error", ""))) < 1000


def plugin(data: bytes) -> None:
    line = thin.request_line("dpi.status", "version", data)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return
    # Nothing on standard input makes it another method's call.
    assert request[:2] == ["dpi.status", "version"]


_AWAY = FileNotFoundError(2, "No such file or directory")


def offline(data: bytes) -> None:
    for obj, name in (("dpi.status", "start"), ("dpi.lan", "client"), (old.OBJECT, "get_threats")):
        answer = without_engine.answer(obj, name, data, _AWAY)
        assert answer.isascii() and json.loads(answer)["engine"] == "down"


_THREAT = {
    **dict.fromkeys(("ip", "timestamp", "event_type", "reason", "crowdsec_status", "state", "actor"), "new"),
    **dict.fromkeys(("id", "threat_score", "reputation_score", "count"), 7),
}
SNAPSHOTS = tuple(
    json.dumps(content).encode()
    for content in (
        {"flows_1min": 1, "protocols": {"TLS": 2}, "applications": {}, "top_talkers": [], "rx_bytes": 3},
        {"entries": 1, "requests_total": 2, "threat_distribution": {"sqli": 1}, "top_hosts": {"a.example": 1}},
        {"clients": [{"ip": "192.0.2.1", "bytes_in": 5}], "active_clients": 1, "protocols": [{"protocol": "TLS"}]},
        {"destinations": [{"ip": "192.0.2.1", "bytes": 5}]},
        _THREAT,
        {"id": 1, "timestamp": "2026-01-01T00:00:00Z", "type": "threat", "ip": "192.0.2.1", "score": 5},
    )
)
_FILES = ("dpi-flows", "dpi-buffer", "lan-flows", "lan-clients", "lan-destinations", "lan-protocols")
_LISTS = ("correlated-threats", "notifications", "waf-alerts", "ip-reputation")


def snapshots(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        for name in (*_FILES, *_LISTS):
            Path(place, f"{name}.json").write_bytes(data)
        known = config.defaults()
        settings = replace(known, settings=replace(known.settings, stats_dir=place))
        for answer in without_engine._ANSWERS.values():
            json.dumps(answer(settings, "why"), allow_nan=False)


def legacy(data: bytes) -> None:
    try:
        call = json.loads(data)
    except (ValueError, RecursionError):
        return
    match call:
        case [str(name), given]:
            try:
                _, values = _validator().check(old.OBJECT, name, given)
                if name in old.TABLE:
                    # What it is turned into is a call of a method that there is, or refused by name.
                    target, method, params = old.question(name, values)
                    assert method in methods()[target]
                    _validator().check(target, method, params)
            except QueryError as error:
                json.dumps(dict(error.answer()))


# --- HTTP

_POST = json.dumps({"limit": 5, "exclusions": [{"rule": "x"}], "rules": [], "active": False}).encode()
CGI = (
    b"GET /api/dpi/status \nAuthorization: Bearer 0123456789abcdef0123456789abcdef\n\n",
    b"GET /tap/flows limit=5&state=live&ip=198.51.100.7\nAuthorization: Basic cm9vdDp4\nRemote: 192.0.2.1\n\n",
    b"GET /api/dpi/correlated since=1.5&context=true&min_score=3\nOrigin: https://a.example\nHost: a.example\n\n",
    b"POST /api/dpi/replay/198.51.100.7 \nAuthorization: Basic cm9vdDp4\nType: application/json\n\n" + _POST,
    b"OPTIONS /api/dpi/replay/::1 \n\n",
    b"GET /api/dpi/openapi.json \n\n",
)
_FIELDS = {
    "Authorization": "HTTP_AUTHORIZATION",
    "Origin": "HTTP_ORIGIN",
    "Host": "HTTP_HOST",
    "Remote": "REMOTE_ADDR",
    "Type": "CONTENT_TYPE",
    "Length": "CONTENT_LENGTH",
}


class _Open:
    """rpcd that lets everybody in: what is tried is what comes behind it."""

    def session(self, method: str, **arguments: Any) -> Answer | None:
        return {"ubus_rpc_session": "0123456789abcdef" * 2, "access": True}


@cache
def _throttle() -> Throttle:
    place = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Throttle(place + "/logins.json")


def rest(data: bytes) -> None:
    head, _, body = data.partition(b"\n\n")
    # The environment is bytes; Python's os.environ keeps what is no UTF-8 as surrogates.
    first, *lines = head.decode("utf-8", "surrogateescape").replace("\0", "").split("\n")
    verb, _, rest_of = first.partition(" ")
    path, _, query = rest_of.partition(" ")
    environment = {"REQUEST_METHOD": verb, "PATH_INFO": path, "QUERY_STRING": query}
    for line in lines:
        name, _, value = line.partition(": ")
        if name in _FIELDS:
            environment[_FIELDS[name]] = value
    try:
        response = respond(read(environment, io.BytesIO(body), routes.BASE), _Open, _throttle())
    except HttpError as error:
        response = failure(error)
    assert response.status != 500, response.body
    printed = response.encoded()
    top, _, content = printed.partition(b"\r\n\r\n")
    assert top.startswith(b"Status: ")
    for line in top.split(b"\r\n"):
        assert b"\n" not in line and b"\r" not in line
    assert content == response.body
    if response.status != 204 and b"text/plain" not in top:
        assert isinstance(json.loads(content), dict)
