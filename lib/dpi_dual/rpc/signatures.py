"""Reads `schema/ubus.json`: the objects, their methods, parameters, and the `list` signature rpcd asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

#: rpcd takes a parameter's type from an example value; an int must not be 8, 16 or 64, which mean other widths.
_EXAMPLES: dict[str, Any] = {"string": "", "boolean": True, "integer": 0, "number": 0, "array": [], "object": {}}


@dataclass(frozen=True, slots=True)
class Method:
    """One ubus method; `target` is the (object, method) that answers it, itself unless it is an alias."""

    help: str
    access: str
    """read or write."""
    params: dict[str, Any]
    """JSON Schema of the parameters."""
    target: tuple[str, str]


def schema() -> dict[str, Any]:
    """The whole document, `$defs` and `returns` included."""
    document: dict[str, Any] = json.loads(files("dpi_dual").joinpath("schema/ubus.json").read_bytes())
    return document


def methods() -> dict[str, dict[str, Method]]:
    """Object → method name → Method, aliases resolved."""
    objects = schema()["objects"]

    def method(obj: str, name: str) -> Method:
        entry = objects[obj][name]
        if "alias" in entry:
            return method(*entry["alias"])
        return Method(entry["help"], entry["access"], entry["params"], (obj, name))

    return {obj: {name: method(obj, name) for name in entries} for obj, entries in objects.items()}


def of_object(obj: str) -> bytes:
    """The answer to `PLUGIN list`."""
    signature = {
        name: {key: _EXAMPLES[rule["type"]] for key, rule in method.params["properties"].items()}
        for name, method in methods()[obj].items()
    }
    return json.dumps(signature).encode("ascii") + b"\n"
