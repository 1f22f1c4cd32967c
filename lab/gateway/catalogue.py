"""Translations out of gettext's `.po` files, as the pages take them."""

from __future__ import annotations

import re
from pathlib import Path

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}

Catalogue = dict[str, str | list[str]]


def read(path: Path) -> Catalogue:
    """Message → translation, or its plural forms; `context\\u0004message` for a message in a context; no fuzzy ones."""
    entries: Catalogue = {}
    for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
        fields, fuzzy = _fields(block)
        message = fields.get("msgid", "")
        if not message or fuzzy:
            continue
        key = f"{fields['msgctxt']}\x04{message}" if "msgctxt" in fields else message
        forms = [text for name, text in sorted(fields.items()) if name.startswith("msgstr[")]
        translation: str | list[str] = forms if forms else fields.get("msgstr", "")
        if any(translation):
            entries[key] = translation
    return entries


def _fields(block: str) -> tuple[dict[str, str], bool]:
    fields: dict[str, str] = {}
    current = ""
    fuzzy = False
    for line in block.splitlines():
        if line.startswith("#"):
            fuzzy |= line.startswith("#,") and "fuzzy" in line
            continue
        keyword = re.match(r"(msgctxt|msgid_plural|msgid|msgstr(?:\[\d\])?)\s", line)
        if keyword:
            current = keyword[1]
            fields[current] = ""
        text = _STRING.search(line)
        if current and text:
            fields[current] += re.sub(r"\\(.)", lambda hit: _ESCAPES.get(hit[1], hit[1]), text[1])
    return fields, fuzzy


def languages(directory: Path) -> dict[str, Path]:
    """Language → its `.po` file, of `po/<language>/<anything>.po`."""
    return {path.parent.name: path for path in sorted(directory.glob("*/*.po")) if path.parent.name != "templates"}


def best(header: str, available: dict[str, Path]) -> str:
    """The first language that an `Accept-Language` header names and that there is; `en` needs no catalogue."""
    wanted = []
    for position, item in enumerate(header[:500].split(",")[:30]):
        name, _, quality = item.strip().partition(";q=")
        try:
            wanted.append((-float(quality or 1), position, name.strip().lower().replace("-", "_")))
        except ValueError:
            continue
    for _, _, name in sorted(wanted):
        for candidate in (name, name.partition("_")[0]):
            if candidate in available or candidate == "en":
                return candidate
    return "en"
