"""Answers made from `schema/ubus.json`: every key a method may return, in harmless or hostile text; and their view."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dpi_dual
from dpi_dual.cli.command import View
from dpi_dual.cli.terminal import Style

DOCUMENT = json.loads((Path(dpi_dual.__file__).parent / "schema" / "ubus.json").read_bytes())
OBJECTS = {name: entries for name, entries in DOCUMENT["objects"].items() if name != "dpi"}

#: Now, in these answers.
NOW = 1_700_000_000.0
PLAIN = Style(False)
HOSTILE = "\x1b[2J\x1b[31mevil\x9b0m\u202e\r\n" + "w" * 300


def view(room: int = 80, **params: Any) -> View:
    """How an answer is to be shown."""
    return View(room, PLAIN, NOW, "dpi-dualctl flows", params)


def made(rule: dict[str, Any], text: str, name: str = "") -> Any:
    """A value that fits `rule`."""
    if "$ref" in rule:
        return made(DOCUMENT["$defs"][rule["$ref"].rpartition("/")[2]], text, name)
    if "const" in rule:
        return rule["const"]
    if "enum" in rule:
        return rule["enum"][0]
    match rule["type"]:
        case "object":
            found = {key: made(part, text, key) for key, part in rule.get("properties", {}).items()}
            if "additionalProperties" in rule and isinstance(rule["additionalProperties"], dict):
                found |= {text: made(rule["additionalProperties"], text), "TLS": 3}
            elif not found:
                found = {text: {"state": text, "since_at": NOW - 30, "restarts": 1, "error": text}}
            return found
        case "array":
            return (
                [made(rule["items"], text)] * 2 if "items" in rule else [{"ip": text, "bytes": 5, "application": text}]
            )
        case "boolean":
            return True
        case "integer" | "number":
            return NOW - 90 if name.endswith("_at") or name == "last_seen" else 123_456_789
    return text


def answer(obj: str, method: str, text: str = "text") -> dict[str, Any]:
    """The answer of a method."""
    found: dict[str, Any] = made(OBJECTS[obj][method]["returns"], text)
    if (obj, method) == ("dpi.lan", "history"):
        step = {"seconds": 3600, "bytes": 30, "bytes_in": 20, "bytes_out": 10, "flows": 2}
        found["points"] = [{"start_at": NOW - 3600 * i, **step} for i in range(3)]
    elif method == "history":
        found["points"] = [[NOW - 20 + 10 * i, *range(i, i + 5)] for i in range(3)]
        found["columns"] = ["at", "tap_bytes", "tap_flows", text, "mitm_requests", "mitm_threats"]
    return found
