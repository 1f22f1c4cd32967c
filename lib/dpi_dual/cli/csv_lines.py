"""`--csv`: the rows of a list as lines for a spreadsheet, with their header even when there is no row.

A spreadsheet runs text that begins with = + - or @ as a formula, and names on the wire are anybody's: such cells get
an apostrophe in front (OWASP, CSV injection). LuCI's exports do the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dpi_dual.cli.command import Answer, Command, listed
from dpi_dual.cli.options import definition, method_of
from dpi_dual.cli.terminal import safe

#: What begins a formula, in all widths; blanks and marks before it are skipped as spreadsheets do.
_FORMULA = tuple("=+-@|%\uff1d\uff0b\uff0d\uff20")


def key_of(command: Command) -> str:
    """The name that an answer has its rows under; empty for what is no list."""
    returns = method_of(command).get("returns", {}).get("properties", {})
    known = method_of(command)["params"]["properties"]
    if "limit" not in known and "points" not in returns:
        return ""
    lists = (name for name, rules in returns.items() if "properties" in definition(rules.get("items", {})))
    return next(lists, "")


def csv_lines(command: Command, answer: Answer) -> Iterator[str]:
    """The header, then one line a row; columns as the schema has them, then what else rows have."""
    key = key_of(command)
    rows = listed(answer.get(key))
    items = method_of(command)["returns"]["properties"][key].get("items", {})
    names = dict.fromkeys(definition(items).get("properties", {}))
    for row in rows:
        names |= dict.fromkeys(row)
    yield ",".join(names)
    for row in rows:
        yield ",".join(_cell(row.get(name)) for name in names)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list):
        value = " ".join(str(entry) if isinstance(entry, str | int | float) else json.dumps(entry) for entry in value)
    elif isinstance(value, dict):
        value = json.dumps(value)
    text = safe(value)
    if text.lstrip().startswith(_FORMULA):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"'
