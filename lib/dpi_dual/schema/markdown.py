"""Makes `docs/configuration.md` from `uci.json`; `make generate` writes it."""

from __future__ import annotations

from dpi_dual.schema.values import FORMATS, Spec, schema, show

HEAD = """\
# Configuration

<!-- made from lib/dpi_dual/schema/uci.json by `make generate`; do not edit -->

Everything is in `/etc/config/dpi-dual`, in LuCI under SecuBox → DPI Dual-Stream → Settings, and on the command line:

    uci set dpi-dual.tap.flow_retention=600
    uci commit dpi-dual
    /etc/init.d/dpi-dual reload

A value that will not do is named, its default is used, and the service runs on: `ubus call dpi.status health` shows
`dpi-dual.tap.flow_retention: 'abc' is not a number of seconds; using 300`. A `modify`, `exclusion` or `backend`
section with a bad value is left out whole.

Switches take 1 or 0, also on/off, yes/no, true/false, enabled/disabled. Options marked *list* are written
`list name 'value'`, one line each. An empty option is the same as none. A *path* is absolute and has no `..`; a
*path to write* is also at least two levels deep and outside the system's own directories.
"""


def document() -> str:
    """The page's whole text."""
    parts = [HEAD]
    specs = schema()
    for name, spec in specs.items():
        if name != "secrets":
            parts.append(_section(name, spec))
    secrets = specs["secrets"]
    parts.append(f"## Passwords and keys\n\n{secrets['description']}\n")
    parts += ["#" + _section(name, spec) for name, spec in secrets["properties"].items()]
    return "\n".join(parts)


def _section(name: str, spec: Spec) -> str:
    many = spec["type"] == "array"
    items = spec["items"] if many else spec
    title = f"config {spec['uciType']}" + ("" if many else f" '{name}'")
    lines = [
        f"## `{title}`",
        "",
        spec["description"],
        "",
        "| option | default | values | meaning |",
        "|---|---|---|---|",
    ]
    for option, entry in items["properties"].items():
        needed = option in items.get("required", ())
        default = "*required*" if needed else _default(entry)
        lines.append(f"| {option} | {default} | {_values(entry)} | {entry['description']} |")
    return "\n".join([*lines, ""])


def _default(entry: Spec) -> str:
    default = entry.get("default", "")
    return f"`{show(default)}`" if default not in ("", []) else ""


def _values(entry: Spec) -> str:
    if entry["type"] == "array":
        return f"*list*: {_values(entry['items'])}"
    if entry["type"] == "boolean":
        return "0, 1"
    if entry["type"] == "integer":
        unit = entry.get("unit", "")
        return f"{entry['minimum']}–{entry['maximum']} {'' if unit == 'port' else unit}".rstrip()
    if "enum" in entry:
        return ", ".join(entry["enum"])
    return FORMATS[entry["format"]].label


if __name__ == "__main__":
    print(document(), end="")
