"""Makes the init script's validation block from `uci.json`; `make generate` puts it there."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from dpi_dual.config import PACKAGE, SECRETS_PACKAGE
from dpi_dual.schema.values import Spec, datatype, schema, show

SCRIPT = Path(__file__).resolve().parent.parent / "init.d" / "dpi-dual"
BEGIN = "# --- made from lib/dpi_dual/schema/uci.json by `make generate`; do not edit\n"
END = "# --- end of what is made\n"


def block() -> str:
    """A shell function for each section type, in the manner of `uci_load_validate`."""
    specs = schema()
    secrets = specs["secrets"]["properties"]
    plain = {name: spec for name, spec in specs.items() if name != "secrets"}
    parts = [
        f"{variable}='{' '.join(names)}'\n"
        for variable, names in (
            ("SECTIONS", [name for name, spec in plain.items() if spec["type"] != "array"]),
            ("REPEATED", [name for name, spec in plain.items() if spec["type"] == "array"]),
            ("SECRETS", list(secrets)),
        )
    ]
    parts += ["\n" + _function(PACKAGE, name, spec) for name, spec in plain.items()]
    parts += ["\n" + _function(SECRETS_PACKAGE, name, spec, "secret_") for name, spec in secrets.items()]
    return "".join(parts)


def _function(package: str, name: str, spec: Spec, prefix: str = "") -> str:
    items = spec["items"] if spec["type"] == "array" else spec
    rows = [f"\t\t'{_tuple(option, entry)}'" for option, entry in items["properties"].items()]
    head = f'validate_{prefix}{name}() {{\n\tuci_load_validate {package} {spec["uciType"]} "$1" "$2" \\\n'
    return head + " \\\n".join(rows) + "\n}\n"


def _tuple(option: str, entry: Spec) -> str:
    """`option:datatype:default`; a default with a colon in it cannot be written there."""
    kind = datatype(entry)
    if entry["type"] == "array":
        kind = f"list({kind})"
    default = entry.get("default", "")
    text = "" if default in ("", []) else show(default)
    return f"{option}:{kind}" + (f":{text}" if text and ":" not in text else "")


def written(script: str) -> str:
    """The script with the block as the schema has it now."""
    before, _, rest = script.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + block() + END + after


if __name__ == "__main__":
    SCRIPT.write_text(written(SCRIPT.read_text()))
