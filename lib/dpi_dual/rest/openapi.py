"""The OpenAPI 3.1 document, made from the routes and `schema/ubus.json`."""

from __future__ import annotations

import json
import sys
from typing import Any

from dpi_dual.rest.errors import REASONS
from dpi_dual.rest.request import MAX_BODY
from dpi_dual.rest.routes import BASE, METRICS, ROUTES, Route
from dpi_dual.rpc.signatures import schema

#: The interface's own version: it changes when a client would have to.
VERSION = "1"

Part = dict[str, Any]

_DESCRIPTION = f"""\
Every path is one ubus method; what a login may call is what rpcd's access rights (acl.d) grant it.
Log in with the id of an rpcd session as a bearer token, or with a name and password of the router.
Lists answer `total` and, if there is more, `next`: give it back as `before` for the page after.
Bodies are at most {MAX_BODY} bytes. Without a running engine, answers hold `"engine": "down"`."""

_FAILURES = {
    400: "a parameter is wrong; the sentence names it",
    401: "no login, a wrong one, or a session that is over",
    403: "this login may not do that",
    404: "no such path, or nothing by that name",
    405: "the path takes other verbs",
    413: "the body is too large",
    415: "the body is not application/json",
    429: "too many logins with a password; Retry-After says how long",
    500: "a defect; the system log says more",
    503: "the engine, or what it needs for this, does not run",
}

_TEXT: Part = {"description": "one metric a block", "content": {"text/plain": {"schema": {"type": "string"}}}}


def document() -> Part:
    """The whole document."""
    ubus = schema()
    paths: Part = {}
    for route in ROUTES:
        paths.setdefault(BASE + route.path, {})[route.verb.lower()] = _operation(route, ubus)
    paths[f"{BASE}/openapi.json"] = {"get": _own()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "DPI Dual-Stream",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "GPL-3.0-only", "identifier": "GPL-3.0-only"},
        },
        "servers": [{"url": "/"}],
        "security": [{"session": []}, {"password": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "session": {"type": "http", "scheme": "bearer", "description": "the id of an rpcd session"},
                "password": {"type": "http", "scheme": "basic", "description": "a login of the router"},
            },
            "schemas": {name: _moved(part) for name, part in ubus["$defs"].items()},
            "responses": {_response_name(status): _failure(status) for status in _FAILURES},
        },
    }


def _operation(route: Route, ubus: Part) -> Part:
    obj, name = route.method().target
    statuses = [400, 401, 403, 404, 405, 429, 500, 503]
    operation: Part = {
        "operationId": route.name,
        "summary": route.help,
        "description": f"`{obj} {name}` of ubus",
        "responses": {"200": _TEXT if route.name == METRICS else _ok(_moved(ubus["objects"][obj][name]["returns"]))},
    }
    parameters = []
    if route.path_parameter():
        rule = route.method().params["properties"][route.path_parameter()]
        parameters.append(_parameter(route.path_parameter(), rule, "path"))
    if route.verb == "POST":
        body = {"type": "object", "properties": route.properties(), "additionalProperties": False}
        operation["requestBody"] = {"required": False, "content": {"application/json": {"schema": body}}}
        statuses += [413, 415]
    else:
        required = route.method().params.get("required", ())
        parameters += [_parameter(key, rule, "query", key in required) for key, rule in route.properties().items()]
    if parameters:
        operation["parameters"] = parameters
    for status in sorted(statuses):
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{_response_name(status)}"}
    return operation


def _parameter(name: str, rule: Part, place: str, required: bool = False) -> Part:
    described = {key: value for key, value in rule.items() if key != "description"}
    if place == "path":
        described["minLength"] = 1
    return {
        "name": name,
        "in": place,
        "required": required or place == "path",
        "description": rule["description"],
        "schema": described,
    }


def _own() -> Part:
    responses: Part = {"200": _ok({"type": "object", "required": ["openapi", "paths"]})}
    responses["405"] = {"$ref": f"#/components/responses/{_response_name(405)}"}
    return {"operationId": "openapi", "summary": "this document", "security": [], "responses": responses}


def _ok(answer: Part) -> Part:
    return {"description": "the answer of the ubus method", "content": {"application/json": {"schema": answer}}}


def _failure(status: int) -> Part:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/error"}}}
    return {"description": _FAILURES[status], "content": content}


def _response_name(status: int) -> str:
    return REASONS[status].replace(" ", "")


def _moved(part: Any) -> Any:
    """The same schema with its references where OpenAPI keeps them."""
    if isinstance(part, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(value)
            for key, value in part.items()
        }
    return [_moved(entry) for entry in part] if isinstance(part, list) else part


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=2, ensure_ascii=False)
    print()
