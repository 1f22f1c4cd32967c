"""Makes `docs/ubus.md` from `schema/ubus.json`; `make generate` writes it."""

from __future__ import annotations

from typing import Any

from dpi_dual.rpc import legacy
from dpi_dual.rpc.signatures import methods

HEAD = """\
# ubus objects

<!-- made from lib/dpi_dual/schema/ubus.json by `make generate`; do not edit -->

    ubus call dpi.lan clients '{"limit": 5, "sort": "rate"}'

Names are snake_case. Bytes are integers of bytes, times Unix seconds named `…_at` or ISO-8601 named `timestamp`, rates
bits per second named `…_bps`. A call that fails answers `{"error": "what is wrong", "code": "for_programs"}`. Lists
answer `total` and, if there is more, `next`: give it back as `before` for the next page. An answer that comes while
no engine runs has `"engine": "down"` and holds what the configuration, the kernel and the last snapshot say.
"""

NOTES = {
    legacy.OBJECT: "What the shell predecessor answered, for pages and panels that were written for it: a table over\n"
    "the others. Lists are newest last, setters answer `success` with `message` or `error`. Not for new programs."
}


def document() -> str:
    """The page's whole text."""
    parts = [HEAD]
    for obj, entries in methods().items():
        parts.append(f"## {obj}\n")
        if obj in NOTES:
            parts.append(f"{NOTES[obj]}\n")
        if all(method.target[0] != obj for method in entries.values()):
            parts.append("Short names for what a person types:\n")
            parts += [f"- `{obj} {name}`: `{' '.join(method.target)}`" for name, method in entries.items()]
            parts.append("")
            continue
        for name, method in entries.items():
            changes = " *(changes something)*" if method.access == "write" else ""
            parts.append(f"**{name}**: {method.help}{changes}\n")
            needed = method.params.get("required", ())
            parameters = [
                parameter_line(rule["description"], rule, key, required=key in needed)
                for key, rule in method.params["properties"].items()
            ]
            if parameters:
                parts += [*parameters, ""]
    return "\n".join(parts)


def parameter_line(description: str, rule: dict[str, Any], name: str, place: str = "", required: bool = False) -> str:
    """A parameter in the list of its method; `place` says where in a request it stands."""
    notes = [description]
    if "enum" in rule:
        notes.append(", ".join(rule["enum"]))
    if "minimum" in rule:
        notes.append(f"{rule['minimum']}–{rule['maximum']}")
    if "default" in rule:
        notes.append(f"default {str(rule['default']).lower()}")
    if required:
        notes.append("required")
    kind = f"{place}, {rule['type']}" if place else rule["type"]
    return f"- `{name}` ({kind}): {'; '.join(notes)}"


if __name__ == "__main__":
    print(document(), end="")
