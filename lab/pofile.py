"""Reads and writes gettext's .po and .pot files, as far as LuCI's translations use them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"\s*$')
_ESCAPES = {"\\n": "\n", "\\t": "\t", '\\"': '"', "\\\\": "\\"}


class PoError(ValueError):
    """A line that no .po file has."""


@dataclass(frozen=True, slots=True)
class Message:
    """One text: `key` is what finds it, `texts` its translations (several for a plural), '' if not translated."""

    context: str
    one: str
    many: str = ""
    texts: tuple[str, ...] = ("",)
    places: tuple[str, ...] = ()
    fuzzy: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        return self.context, self.one, self.many


def parse(text: str) -> tuple[str, list[Message]]:
    """A file's header (`Content-Type` and the like) and its messages; obsolete ones (`#~`) are left out."""
    header = ""
    found: list[Message] = []
    for number, block in enumerate(re.split(r"\n\s*\n", text.strip())):
        lines = [line for line in block.split("\n") if not line.startswith("#~")]
        fields = _fields(lines)
        if not fields:
            continue
        texts = tuple(fields[name] for name in sorted(fields) if name.startswith("msgstr"))
        if fields.get("msgid") == "" and number == 0:
            header = texts[0]
            continue
        places = tuple(place for line in lines if line.startswith("#: ") for place in line[3:].split())
        fuzzy = any(line.startswith("#,") and "fuzzy" in line for line in lines)
        found.append(
            Message(fields.get("msgctxt", ""), fields["msgid"], fields.get("msgid_plural", ""), texts, places, fuzzy)
        )
    return header, found


def _fields(lines: Iterable[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in lines:
        if line.startswith("#"):
            continue
        keyword = re.match(r"(msgctxt|msgid_plural|msgid|msgstr(?:\[[0-9]\])?) ", line)
        if keyword:
            name = keyword[1]
            fields[name] = ""
        quoted = _STRING.match(line[keyword.end() :] if keyword else line)
        if not quoted or not name:
            raise PoError(f"not a line of a .po file: {line!r:.80}")
        fields[name] += re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0][1:]), quoted[1])
    return fields


def render(header: Mapping[str, str], messages: Iterable[Message]) -> str:
    """The file's text, sorted by message so that a change shows as itself in a diff."""
    blocks = ['msgid ""\nmsgstr ""\n' + "\n".join(_quoted(f"{name}: {value}\n") for name, value in header.items())]
    for message in sorted(messages, key=lambda m: (m.one.lower(), m.key)):
        lines = [f"#: {place}" for place in message.places]
        if message.fuzzy:
            lines.append("#, fuzzy")
        if message.context:
            lines.append(f"msgctxt {_quoted(message.context)}")
        lines.append(f"msgid {_quoted(message.one)}")
        if message.many:
            lines.append(f"msgid_plural {_quoted(message.many)}")
            lines += [f"msgstr[{number}] {_quoted(text)}" for number, text in enumerate(message.texts)]
        else:
            lines.append(f"msgstr {_quoted(message.texts[0])}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _quoted(text: str) -> str:
    for sign in ("\\", '"'):
        text = text.replace(sign, "\\" + sign)
    return '"' + text.replace("\n", "\\n").replace("\t", "\\t") + '"'
