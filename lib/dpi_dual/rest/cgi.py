"""The CGI program: one request in, one answer out, as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from dpi_dual import paths
from dpi_dual.rest import routes
from dpi_dual.rest.errors import REASONS, HttpError, of_answer
from dpi_dual.rest.request import Request, body_parameters, query_parameters, read
from dpi_dual.rest.session import Bus, UbusBus, opened, require
from dpi_dual.rest.throttle import Throttle
from dpi_dual.rpc import client

JSON = "application/json"
_FIXED = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
THROTTLE = paths.RUN_DIR + "/rest-logins.json"


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back; headers hold nothing that came with the request."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self, head_only: bool = False) -> bytes:
        """As a CGI program says it."""
        lines = {
            "Status": f"{self.status} {REASONS[self.status]}",
            **_FIXED,
            **self.headers,
            **({"Content-Type": self.content_type} if self.status != 204 else {}),
            "Content-Length": str(len(self.body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        return head.encode("latin-1") + (b"" if head_only else self.body)


def _json(answer: Mapping[str, Any]) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode("ascii") + b"\n"


def failure(error: HttpError) -> Response:
    """The answer to a refused request."""
    return Response(error.status, _json({"error": error.message, "code": error.code}), headers=error.headers)


def respond(request: Request, bus: Callable[[], Bus], throttle: Throttle) -> Response:
    """The answer; raises HttpError."""
    if request.verb == "OPTIONS":
        return _options(request.path)
    if request.path == "/openapi.json":
        return _openapi(request)
    route, given = routes.find(request.verb, request.path)
    given = {name: routes.address(text) for name, text in given.items()}
    # Browsers send stored passwords along with what other pages make them post, and name that page here.
    if request.origin and request.origin.partition("://")[2] != request.host:
        raise HttpError(403, "cross_origin", "requests of other sites' pages are not taken")
    connected = bus()
    with opened(request, connected, throttle) as sid:
        require(connected, sid, route.target)
        properties = route.properties()
        if request.verb == "POST":
            if request.query:
                raise HttpError(400, "bad_parameter", "parameters of a POST belong in its body")
            parameters = body_parameters(request, properties)
        else:
            parameters = query_parameters(request.query, properties)
        answer = client.call(*route.target, {**parameters, **given})
    error = of_answer(answer)
    if error is not None:
        raise error
    if route.name == routes.METRICS:
        return Response(body=answer["text"].encode("utf-8"), content_type=answer["content_type"])
    return Response(body=_json(answer))


def _options(path: str) -> Response:
    """What a path takes. No CORS header: pages of other sites get nothing."""
    verbs = ["GET", "HEAD"] if path == "/openapi.json" else []
    for verb in ("GET", "POST"):
        try:
            routes.find(verb, path)
        except HttpError:
            continue
        verbs += ["GET", "HEAD"] if verb == "GET" else [verb]
    if not verbs:
        raise routes.missing(path)
    return Response(204, headers={"Allow": ", ".join((*verbs, "OPTIONS"))})


def _openapi(request: Request) -> Response:
    if request.verb not in ("GET", "HEAD"):
        raise routes.wrong_verb(request.verb, ("GET", "HEAD", "OPTIONS"))
    from dpi_dual.rest.openapi import document

    return Response(body=_json(document()))


def answer(environment: Mapping[str, str], given: BinaryIO, bus: Callable[[], Bus] = UbusBus) -> bytes:
    """All that the program prints."""
    head_only = environment.get("REQUEST_METHOD") == "HEAD"
    try:
        response = respond(read(environment, given, routes.BASE), bus, Throttle(THROTTLE))
    except HttpError as error:
        response = failure(error)
    except Exception:
        import logging

        logging.exception("a request could not be served")
        response = failure(HttpError(500, "internal", "the request could not be served; see the system log"))
    return response.encoded(head_only)


def main() -> None:
    """One request of the web server."""
    sys.stdout.buffer.write(answer(os.environ, sys.stdin.buffer))
    sys.stdout.buffer.flush()
