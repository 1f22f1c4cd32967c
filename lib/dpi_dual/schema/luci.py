"""Makes the Settings page's table of options, `options.js`, from `uci.json`; `make generate` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from dpi_dual.schema.values import FORMATS, Spec, datatype, schema, to_uci

HEAD = """\
'use strict';
'require baseclass';

// Made from lib/dpi_dual/schema/uci.json by `make generate`; do not edit.

return baseclass.extend({
"""


def document() -> str:
    """The module's whole text."""
    specs = schema()
    lines = [
        "\t// By the section's name, or the type of those that may occur any number of times.",
        "\tsections: {",
    ]
    for name, spec in specs.items():
        if name != "secrets":
            lines += _section(name, spec)
    lines += ["\t},", "", "\t// What stands in the second file, dpi-dual-secrets: written, never read.", "\tsecrets: {"]
    for name, spec in specs["secrets"]["properties"].items():
        lines += _section(name, spec)
    lines += ["\t},", "", "\t// What each format wants, to follow “expecting”.", "\tformats: {"]
    lines += [f"\t\t{_text(name)}: {_said(form.words)}," for name, form in FORMATS.items()]
    lines += ["\t}", "});", ""]
    return HEAD + "\n".join(lines)


def _section(name: str, spec: Spec) -> Iterator[str]:
    items = spec.get("items", spec)
    yield f"\t\t{name}: {{"
    yield f"\t\t\ttype: {_text(spec['uciType'])}, title: {_said(spec['title'])},"
    yield f"\t\t\thelp: {_said(spec['description'])},"
    if spec["type"] == "array":
        yield f"\t\t\tmany: {spec['maxItems']},"
    yield "\t\t\toptions: {"
    for option, entry in items["properties"].items():
        facts = dict(_facts(entry, option in items.get("required", ())))
        yield f"\t\t\t\t{option}: {{"
        yield f"\t\t\t\t\ttitle: {_said(entry['title'])}, help: {_said(_sentence(entry['description']))},"
        yield "\t\t\t\t\t" + ", ".join(f"{key}: {value}" for key, value in facts.items())
        yield "\t\t\t\t},"
    yield "\t\t\t}"
    yield "\t\t},"


def _facts(entry: Spec, required: bool) -> Iterator[tuple[str, str]]:
    item = entry.get("items", entry)
    yield "datatype", _text(datatype(entry))
    if "format" in item:
        yield "format", _text(item["format"])
    if entry["type"] == "array":
        yield "list", str(entry["maxItems"])
    if "enum" in item:
        labels = (f"[ {_text(choice)}, {_said(item['labels'][choice])} ]" for choice in item["enum"])
        yield "choices", f"[ {', '.join(labels)} ]"
    if item["type"] == "integer":
        yield "range", f"[ {item['minimum']}, {item['maximum']} ]"
        if entry.get("unit", "port") != "port":
            yield "unit", _said(entry["unit"])
    if required:
        yield "required", "true"
    default = to_uci(entry.get("default", ""))
    if isinstance(default, tuple):
        yield "default", f"[ {', '.join(map(_text, default))} ]" if default else "[]"
    else:
        yield "default", _text(default or "")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _text(text: str) -> str:
    """As JavaScript writes it."""
    quoted = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return f"'{quoted}'"


def _said(text: str) -> str:
    """A text that is translated."""
    return f"_({_text(text)})"


if __name__ == "__main__":
    print(document(), end="")
