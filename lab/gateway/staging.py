"""One UCI package with the changes that a session has staged but not committed."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.record import ROOT

sys.path.insert(0, str(ROOT / "lib"))

from dpi_dual import uci
from dpi_dual.ucifile import Document, UciError, Value, anonymous_name, quote

MAX_CHANGES = 2000
MAX_VALUES = 500

Change = list[str | int]
_OPTION = re.compile(r"[A-Za-z0-9_]+", re.ASCII)


@dataclass
class Row:
    """A section as it is with the staged changes."""

    name: str
    type: str
    anonymous: bool
    options: dict[str, Value] = field(default_factory=dict)

    def as_dict(self, index: int | None = None) -> dict[str, Any]:
        """As rpcd shows it; the place only when all sections of a package are asked for."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in self.options.items()}
        place = {} if index is None else {".index": index}
        return {".anonymous": self.anonymous, ".type": self.type, ".name": self.name, **place, **values}


class StagedPackage:
    """`changes` is what rpcd's `changes` answers: `[command, section, …]`; they are replayed on what is committed."""

    def __init__(self, name: str, directory: str) -> None:
        self.name = name
        self.changes: list[Change] = []
        self._directory = directory
        self.rows: list[Row] = []

    def load(self) -> None:
        """What is committed by now, with the changes on top; FileNotFoundError when there is no such package."""
        document = uci.document(self.name, self._directory)
        self.rows = [Row(s.name, s.type, s.anonymous, dict(s.options)) for s in document.sections()]
        for change in self.changes:
            _replay(self.rows, change)

    def _find(self, section: str) -> Row | None:
        return next((row for row in self.rows if row.name == section), None)

    def _stage(self, *change: str | int) -> None:
        if len(self.changes) >= MAX_CHANGES:
            raise UciError(f"{self.name} has {MAX_CHANGES} staged changes: apply or revert them")
        self.changes.append(list(change))
        _replay(self.rows, self.changes[-1])

    def get(self, section: str | None, option: str | None, kind: str | None) -> dict[str, Any] | None:
        """As `uci get` answers: `values` of all sections or of one, or the `value` of one option."""
        if section is None:
            rows = enumerate(self.rows)
            return {"values": {row.name: row.as_dict(i) for i, row in rows if kind in (None, row.type)}}
        row = self._find(section)
        if row is None:
            return None
        if option is None:
            return {"values": row.as_dict()}
        value = row.options.get(option)
        return None if value is None else {"value": list(value) if isinstance(value, tuple) else value}

    def add(self, kind: str, name: str, values: dict[str, Any]) -> str:
        """The new section's name; with the name of one that is there, that one gets the type, as in rpcd."""
        Document("").add_section(kind, name)  # refuses what cannot be a section
        section = name or anonymous_name(kind, len(self.rows) + 1)
        self._stage("set" if name else "add", section, kind)
        self.set(section, values)
        return section

    def set(self, section: str, values: dict[str, Any]) -> bool:
        row = self._find(section)
        if row is None:
            return False
        for option, value in values.items():
            wanted = _value(option, value)
            if row.options.get(option) == wanted:
                continue
            if isinstance(wanted, str):
                self._stage("set", section, option, wanted)
                continue
            if option in row.options:
                self._stage("remove", section, option)
            for item in wanted:
                self._stage("list-add", section, option, item)
        return True

    def delete(self, section: str, options: Sequence[Any] | None) -> bool:
        row = self._find(section)
        if row is None:
            return False
        if options is None:
            self._stage("remove", section)
        for option in options or ():
            if option in row.options:
                self._stage("remove", section, option)
        return True

    def rename(self, section: str, option: str | None, name: str) -> bool:
        row = self._find(section)
        if row is None or (option is not None and option not in row.options):
            return False
        Document("").add_section("any", name)  # refuses what cannot be a name
        self._stage("rename", section, *([option] if option is not None else []), name)
        return True

    def order(self, sections: list[str]) -> None:
        for position, section in enumerate(name for name in sections if self._find(name)):
            if self.rows[position].name != section:
                self._stage("order", section, position)

    def revert(self) -> None:
        self.changes = []

    def commit(self) -> None:
        """Writes what is staged into the file; comments stay, unless sections change places."""
        self.load()
        with uci.edit(self.name, self._directory) as document:
            if not _write_rows(document, self.rows):
                for section in reversed(document.sections()):
                    document.delete_section(section.name)
                _write_rows(document, self.rows)
        self.changes = []


def _value(option: str, value: Any) -> Value:
    if not _OPTION.fullmatch(option):
        raise UciError(f"{option!r:.60} cannot be an option: letters, digits and _ only")
    if isinstance(value, list) and len(value) <= MAX_VALUES and all(isinstance(item, str) for item in value):
        wanted: Value = tuple(value)
    elif isinstance(value, bool):
        wanted = "1" if value else "0"
    elif isinstance(value, (str, int, float)):
        wanted = str(value)
    else:
        raise UciError(f"{option!r:.60} can be text or a list of texts")
    for item in (wanted,) if isinstance(wanted, str) else wanted:
        quote(item)  # refuses what cannot be written
    return wanted


def _replay(rows: list[Row], change: Change) -> None:
    """One change; one whose section has gone meanwhile changes nothing."""
    row = next((item for item in rows if item.name == change[1]), None)
    match change:
        case ["add" | "set" as how, section, kind] if row is None:
            rows.append(Row(section, kind, how == "add"))
        case ["set", _, kind] if row is not None:
            row.type = kind
        case ["set", _, option, value] if row is not None:
            row.options[option] = value
        case ["list-add", _, option, value] if row is not None:
            now = row.options.get(option, ())
            row.options[option] = (*((now,) if isinstance(now, str) else now), value)
        case ["remove", _] if row is not None:
            rows.remove(row)
        case ["remove", _, option] if row is not None:
            row.options.pop(option, None)
        case ["rename", _, name] if row is not None:
            row.name, row.anonymous = name, False
        case ["rename", _, option, name] if row is not None and option in row.options:
            row.options[name] = row.options.pop(option)
        case ["order", _, position] if row is not None:
            rows.remove(row)
            rows.insert(int(position), row)


def _write_rows(document: Document, rows: list[Row]) -> bool:
    """Makes the document hold what the rows hold; False when only writing it anew can do that."""
    wanted = {row.name: row for row in rows}
    there = document.sections()
    if any(section.name in wanted and wanted[section.name].type != section.type for section in there):
        return False
    for section in there:
        if section.name in wanted:
            _write_options(document, section.name, section.options, wanted[section.name].options)
    # The last one first: an anonymous section is named by its place, so that a deletion renames those behind it.
    for section in reversed(there):
        if section.name not in wanted:
            document.delete_section(section.name)
    order = [section.name for section in there if section.name in wanted]
    for row in rows:
        if row.name not in order:
            name = document.add_section(row.type, "" if row.anonymous else row.name)
            _write_options(document, name, {}, row.options)
            order.append(row.name)
    return order == [row.name for row in rows]


def _write_options(document: Document, section: str, now: dict[str, Value], wanted: dict[str, Value]) -> None:
    for option in now.keys() - wanted.keys():
        document.set(section, option, None)
    for option, value in wanted.items():
        if now.get(option) != value:
            document.set(section, option, value)
