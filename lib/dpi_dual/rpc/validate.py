"""Checks a call against `schema/ubus.json` and says in plain words what is wrong with it.

The engine checks with jsonschema. A plugin that answers without the engine runs isolated from site-packages
(`python3 -IS`), where jsonschema is not; `plain_errors` then checks the few keywords our parameters use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple, cast

from dpi_dual.errors import QueryError
from dpi_dual.rpc.signatures import Method, methods

_KINDS = {str: "a string", bool: "a boolean", int: "an integer", float: "a number", list: "an array", dict: "an object"}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "null")


class Fault(NamedTuple):
    """What is wrong, in jsonschema's terms: the keyword, its value, what was given, and where."""

    validator: str
    validator_value: Any
    instance: Any
    path: tuple[str, ...] = ()
    message: str = ""


def plain_errors(params: dict[str, Any], given: Any) -> Iterator[Fault]:
    """The faults of `given` against a parameter schema with only the keywords that `ubus.json` uses for parameters."""
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
            yield from _value_errors(name, rule, given[name])


def _value_errors(name: str, rule: dict[str, Any], value: Any) -> Iterator[Fault]:
    kind: type = type(value)
    # JSON writes 5 for 5.0.
    if kind is not _PYTHON[rule["type"]] and not (rule["type"] == "number" and kind is int):
        yield Fault("type", rule["type"], value, (name,))
    elif "enum" in rule and value not in rule["enum"]:
        yield Fault("enum", rule["enum"], value, (name,))
    elif "minimum" in rule and value < rule["minimum"]:
        yield Fault("minimum", rule["minimum"], value, (name,))
    elif "maximum" in rule and value > rule["maximum"]:
        yield Fault("maximum", rule["maximum"], value, (name,))
    elif "maxLength" in rule and len(value) > rule["maxLength"]:
        yield Fault("maxLength", rule["maxLength"], value, (name,))
    elif "maxItems" in rule and len(value) > rule["maxItems"]:
        yield Fault("maxItems", rule["maxItems"], value, (name,))
    elif "items" in rule and any(type(item) is not _PYTHON[rule["items"]["type"]] for item in value):
        yield Fault("items", rule["items"], value, (name,), f"{rule['items']['type']}s are needed")


def _is_text(value: object) -> bool:
    """False for what JSON can spell, but neither SQLite nor a file takes."""
    if isinstance(value, list):
        return all(map(_is_text, value))
    return not isinstance(value, str) or value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


@cache
def _library() -> Any:
    """jsonschema's validator class for our schemas, None where the library is absent; made once, as it is large."""
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.validators import extend
    except ImportError:
        return None
    # JSON Schema takes 2.0 for an integer; as a row count Python does not.
    strict = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    return extend(Draft202012Validator, type_checker=strict)  # type: ignore[no-untyped-call]


def _errors_of(params: dict[str, Any]) -> Callable[[Any], Iterable[Any]]:
    validator = _library()
    if validator is None:
        return lambda given: plain_errors(params, given)
    errors: Callable[[Any], Iterable[Any]] = validator(params).iter_errors
    return errors


def _sentence(method: str, error: Any, known: list[str]) -> str:
    name = str(error.path[0]) if error.path else ""
    match error.validator:
        case "additionalProperties":
            unknown = sorted(set(error.instance) - set(known))
            takes = "it takes " + ", ".join(known) if known else "it takes no parameters"
            return f"{method} does not know {', '.join(repr(key[:64]) for key in unknown[:5])}; {takes}"
        case "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            return f"{method} needs {', '.join(missing)}"
        case "type" if not name:
            return f"{method} takes one JSON object, not {_kind(error.instance)}"
        case "type":
            return f"{name} must be {_KINDS[_PYTHON[error.validator_value]]}, not {_kind(error.instance)}"
        case "enum":
            return f"{name} must be one of {', '.join(error.validator_value)}, not {str(error.instance)[:64]!r}"
        case "minimum":
            return f"{name} must be at least {error.validator_value}, not {error.instance}"
        case "maximum":
            return f"{name} must be at most {error.validator_value}, not {error.instance}"
        case "maxItems":
            return f"{name} has {len(error.instance)} entries; at most {error.validator_value} are taken"
        case "maxLength":
            return f"{name} has {len(error.instance)} characters; at most {error.validator_value} are taken"
    return f"{name or method}: {error.message[:200]}"


_PYTHON = {"string": str, "boolean": bool, "integer": int, "number": float, "array": list, "object": dict}


class Validator:
    """Knows every method; made once, used for each call."""

    def __init__(self) -> None:
        self._methods = methods()
        self._checks: dict[tuple[str, str], Callable[[Any], Iterable[Any]]] = {}

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
        errors = self._checks.get(method.target)
        if errors is None:
            errors = self._checks[method.target] = _errors_of(method.params)
        properties = method.params["properties"]
        for error in errors(params):
            raise QueryError("bad_parameter", _sentence(f"{obj} {name}", error, list(properties)))
        for key, value in cast(dict[str, Any], params).items():
            if not _is_text(value):
                raise QueryError("bad_parameter", f"{key} holds half a character (a lone surrogate), which is no text")
        defaults = {key: rule["default"] for key, rule in properties.items() if "default" in rule}
        return method, {**defaults, **cast(dict[str, Any], params)}
