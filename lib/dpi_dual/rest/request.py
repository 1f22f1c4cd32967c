"""A request as CGI (RFC 3875) hands it over: environment and standard input, everything bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from dpi_dual.rest.errors import HttpError

MAX_BODY = 65_536
MAX_QUERY = 4096
MAX_PARAMETERS = 32

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,15})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` is what follows the API's base."""

    verb: str
    path: str
    query: str
    authorization: str
    origin: str
    host: str
    remote: str
    content_type: str
    body: bytes


def read(environment: Mapping[str, str], given: BinaryIO, base: str) -> Request:
    """The request; raises HttpError for a body that is too large or of a wrong length."""
    path = environment.get("PATH_INFO", "")
    return Request(
        verb=environment.get("REQUEST_METHOD", "GET"),
        path=path.removeprefix(base) if path == base or path.startswith(f"{base}/") else path,
        query=environment.get("QUERY_STRING", ""),
        authorization=environment.get("HTTP_AUTHORIZATION", ""),
        origin=environment.get("HTTP_ORIGIN", ""),
        host=environment.get("HTTP_HOST", ""),
        remote=environment.get("REMOTE_ADDR", ""),
        content_type=environment.get("CONTENT_TYPE", ""),
        body=_body(environment, given),
    )


def _body(environment: Mapping[str, str], given: BinaryIO) -> bytes:
    if environment.get("REQUEST_METHOD", "GET") in ("GET", "HEAD", "OPTIONS"):
        return b""
    length = environment.get("CONTENT_LENGTH", "")
    if length and not (length.isascii() and length.isdigit()):
        raise HttpError(400, "bad_length", "Content-Length is no number")
    if length and int(length[:20]) > MAX_BODY:
        raise _too_long()
    # A chunked body comes without a length: the web server closes our input at its end.
    body = given.read(int(length) if length else MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise _too_long()
    if length and len(body) < int(length):
        raise HttpError(400, "bad_length", "the body is shorter than Content-Length says")
    return body


def _too_long() -> HttpError:
    return HttpError(413, "too_long", f"the body is longer than {MAX_BODY} bytes")


def query_parameters(query: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a query, in the types their schemas name; raises HttpError 400 by name."""
    if len(query) > MAX_QUERY:
        raise HttpError(400, "bad_parameter", f"the query is longer than {MAX_QUERY} bytes")
    found: dict[str, Any] = {}
    for pair in query.split("&", MAX_PARAMETERS) if query else ():
        name, _, value = (_decoded(part) for part in pair.partition("="))
        if name not in properties:
            known = ", ".join(properties)
            takes = f"this path takes {known}" if known else "this path takes no parameters"
            raise HttpError(400, "bad_parameter", f"unknown parameter {name[:64]!r}; {takes}")
        if name in found:
            raise HttpError(400, "bad_parameter", f"{name} is given twice")
        found[name] = _typed(name, value, properties[name]["type"])
    return found


def _decoded(text: str) -> str:
    try:
        plain = unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeError:
        raise HttpError(400, "bad_parameter", "the query is not UTF-8") from None
    if any(ord(char) < 32 or ord(char) == 127 for char in plain):
        raise HttpError(400, "bad_parameter", "the query holds control characters")
    return plain


def _typed(name: str, value: str, kind: str) -> Any:
    if kind == "string":
        return value
    if kind == "integer" and _INTEGER.fullmatch(value):
        return int(value)
    if kind == "number" and _NUMBER.fullmatch(value):
        return float(value) if "." in value else int(value)
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    word = {"integer": "an integer", "number": "a number", "boolean": "true or false"}.get(kind, "given in a body")
    raise HttpError(400, "bad_parameter", f"{name} must be {word}, not {value[:64]!r}")


def body_parameters(request: Request, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a body: one JSON object, or nothing at all."""
    if not request.body:
        return {}
    if request.content_type.partition(";")[0].strip().lower() != "application/json":
        raise HttpError(415, "not_json", "the body must be application/json")
    try:
        found = json.loads(request.body)
    except (ValueError, RecursionError):
        raise HttpError(400, "bad_json", "the body is not valid JSON") from None
    if not isinstance(found, dict):
        raise HttpError(400, "bad_json", "the body must be one JSON object")
    for name in found:
        if name not in properties:
            raise HttpError(400, "bad_parameter", f"unknown parameter {name[:64]!r}; known: {', '.join(properties)}")
    return found
