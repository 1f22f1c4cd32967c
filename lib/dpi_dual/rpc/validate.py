"""Checks a call against `schema/ubus.json` and says in plain words what is wrong with it.

Our parameters use few keywords of JSON Schema, checked here: a library that knows them all would take 6 MiB of the
engine's memory, and is not there for a plugin that answers without the engine (`python3 -IS`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from dpi_dual.errors import QueryError
from dpi_dual.rpc.signatures import Method, methods

_KINDS = {str: "a string", bool: "a boolean", int: "an integer", float: "a number", list: "an array", dict: "an object"}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "null")


class Fault(NamedTuple):
    """What is wrong: the schema's keyword, its value, what was given, and the parameter ('' if it is the call)."""

    keyword: str
    limit: Any
    given: Any
    name: str = ""


#: What a parameter's schema may say: the checked keywords, and those that check nothing.
KEYWORDS = frozenset(("type", "enum", "minimum", "maximum", "maxLength", "maxItems", "items", "default", "description"))


def faults(params: dict[str, Any], given: Any) -> Iterator[Fault]:
    """The faults of `given` against a parameter schema of `KEYWORDS`."""
    if not isinstance(given, dict):
        yield Fault("type", "object", given)
        return
    properties = params["properties"]
    if set(given) - set(properties):
        yield Fault("additionalProperties", False, given)
    if set(params.get("required", ())) - set(given):
        yield Fault("required", params["required"], given)
    for name, rule in properties.items():
        if name in given:
            yield from _value_faults(name, rule, given[name])


def _value_faults(name: str, rule: dict[str, Any], value: Any) -> Iterator[Fault]:
    kind: type = type(value)
    # JSON writes 5 for 5.0.
    if kind is not _PYTHON[rule["type"]] and not (rule["type"] == "number" and kind is int):
        yield Fault("type", rule["type"], value, name)
    elif "enum" in rule and value not in rule["enum"]:
        yield Fault("enum", rule["enum"], value, name)
    elif "minimum" in rule and value < rule["minimum"]:
        yield Fault("minimum", rule["minimum"], value, name)
    elif "maximum" in rule and value > rule["maximum"]:
        yield Fault("maximum", rule["maximum"], value, name)
    elif "maxLength" in rule and len(value) > rule["maxLength"]:
        yield Fault("maxLength", rule["maxLength"], value, name)
    elif "maxItems" in rule and len(value) > rule["maxItems"]:
        yield Fault("maxItems", rule["maxItems"], value, name)
    elif "items" in rule and any(type(item) is not _PYTHON[rule["items"]["type"]] for item in value):
        yield Fault("items", rule["items"], value, name)


def _is_text(value: object) -> bool:
    """False for what JSON can spell, but neither SQLite nor a file takes."""
    if isinstance(value, list):
        return all(map(_is_text, value))
    return not isinstance(value, str) or value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def _sentence(method: str, fault: Fault, known: list[str]) -> str:
    name, limit, given = fault.name, fault.limit, fault.given
    match fault.keyword:
        case "additionalProperties":
            unknown = sorted(set(given) - set(known))
            takes = "it takes " + ", ".join(known) if known else "it takes no parameters"
            return f"{method} does not know {', '.join(repr(key[:64]) for key in unknown[:5])}; {takes}"
        case "required":
            return f"{method} needs {', '.join(key for key in limit if key not in given)}"
        case "type" if not name:
            return f"{method} takes one JSON object, not {_kind(given)}"
        case "type":
            return f"{name} must be {_KINDS[_PYTHON[limit]]}, not {_kind(given)}"
        case "enum":
            return f"{name} must be one of {', '.join(limit)}, not {str(given)[:64]!r}"
        case "minimum":
            return f"{name} must be at least {limit}, not {given}"
        case "maximum":
            return f"{name} must be at most {limit}, not {given}"
        case "maxItems":
            return f"{name} has {len(given)} entries; at most {limit} are taken"
        case "maxLength":
            return f"{name} has {len(given)} characters; at most {limit} are taken"
    return f"{name} holds something else than {limit['type']}s"


_PYTHON = {"string": str, "boolean": bool, "integer": int, "number": float, "array": list, "object": dict}


class Validator:
    """Knows every method; made once, used for each call."""

    def __init__(self) -> None:
        self._methods = methods()

    def check(self, obj: str, name: str, params: object) -> tuple[Method, dict[str, Any]]:
        """The method and its parameters with defaults filled in; raises QueryError that names what is wrong.

        `ubus_rpc_session`, which rpcd adds to calls that came over HTTP, is dropped.
        """
        if obj not in self._methods:
            raise QueryError("unknown_object", f"there is no object {obj[:64]!r}; there are {', '.join(self._methods)}")
        if name not in self._methods[obj]:
            known = ", ".join(self._methods[obj])
            raise QueryError("unknown_method", f"{obj} has no method {name[:64]!r}; it has {known}")
        method = self._methods[obj][name]
        if isinstance(params, dict):
            params.pop("ubus_rpc_session", None)
        properties = method.params["properties"]
        for fault in faults(method.params, params):
            raise QueryError("bad_parameter", _sentence(f"{obj} {name}", fault, list(properties)))
        for key, value in cast(dict[str, Any], params).items():
            if not _is_text(value):
                raise QueryError("bad_parameter", f"{key} holds half a character (a lone surrogate), which is no text")
        defaults = {key: rule["default"] for key, rule in properties.items() if "default" in rule}
        return method, {**defaults, **cast(dict[str, Any], params)}
