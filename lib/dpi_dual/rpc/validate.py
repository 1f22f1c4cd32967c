"""Checks a call against `schema/ubus.json` and says in plain words what is wrong with it."""

from __future__ import annotations

from typing import Any, cast

from jsonschema import Draft202012Validator

from dpi_dual.errors import QueryError
from dpi_dual.rpc.signatures import Method, methods

_KINDS = {str: "a string", bool: "a boolean", int: "an integer", float: "a number", list: "an array", dict: "an object"}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "null")


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
        case "maxLength":
            return f"{name} has {len(error.instance)} characters; at most {error.validator_value} are taken"
    return f"{name or method}: {error.message[:200]}"


_PYTHON = {"string": str, "boolean": bool, "integer": int, "number": float, "array": list, "object": dict}


class Validator:
    """Knows every method; made once, used for each call."""

    def __init__(self) -> None:
        self._methods = methods()
        self._validators: dict[tuple[str, str], Draft202012Validator] = {}

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
        validator = self._validators.get(method.target)
        if validator is None:
            validator = self._validators[method.target] = Draft202012Validator(method.params)
        properties = method.params["properties"]
        for error in validator.iter_errors(params):
            raise QueryError("bad_parameter", _sentence(f"{obj} {name}", error, list(properties)))
        defaults = {key: rule["default"] for key, rule in properties.items() if "default" in rule}
        return method, {**defaults, **cast(dict[str, Any], params)}
