"""Keeps the LuCI application's translations in step with its pages; a part of `make generate`.

Collects every text in `_()` and `N_()` of the JavaScript, the titles of the menu and the description of the access
rights into `po/templates/dpi-dual.pot`; brings each `po/LANGUAGE/dpi-dual.po` in line with it, and says what is
left to translate there. Texts must be literals: what is put together at run time cannot be translated.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lab.pofile import Message, parse, render

APP = Path(__file__).resolve().parents[1] / "luci-app-dpi-dual"
TEMPLATE = APP / "po/templates/dpi-dual.pot"

#: Plural forms of the languages there are (Unicode CLDR, in gettext's words).
PLURALS = {"de": "nplurals=2; plural=(n != 1);", "fr": "nplurals=2; plural=(n > 1);"}

_LITERAL = r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\$]|\\.)*`"""
_SPACES = r"\s*"
_CALL = re.compile(r"(?<![\w$.])(N?_)\(")
_ONE = re.compile(rf"{_SPACES}({_LITERAL}){_SPACES}(?:,{_SPACES}({_LITERAL}){_SPACES})?\)")
_MANY = re.compile(
    rf"{_SPACES}({_LITERAL}){_SPACES},{_SPACES}({_LITERAL}){_SPACES}(?:,{_SPACES}({_LITERAL}){_SPACES})?\)"
)
_COMMENT = re.compile(rf"({_LITERAL})|//[^\n]*|/\*.*?\*/", re.DOTALL)
#: What LuCI makes one blank of, before it looks a text up.
_BLANKS = re.compile(r"[ \t\n]+")
_CONVERSION = re.compile(r"%(?:'.|0|\x20)?-?[0-9]*(?:\.[0-9]+)?([%bcdufosxXqhjtm])")


class NotLiteralError(ValueError):
    """A call that cannot be translated."""


def texts_of_script(source: str) -> Iterator[tuple[str, str, str]]:
    """(context, text, plural) of each call in a script."""
    code = _COMMENT.sub(lambda m: m[1] or " ", source)
    for call in _CALL.finditer(code):
        start = call.end()
        if call[1] == "N_":
            start = _after_argument(code, start)
        found = (_MANY if call[1] == "N_" else _ONE).match(code, start)
        if not found:
            raise NotLiteralError(f"not a literal: {code[call.start() : call.start() + 60]!r}")
        literals = [_value(text) if text else "" for text in found.groups()]
        if call[1] == "N_":
            yield literals[2], literals[0], literals[1]
        else:
            yield literals[1], literals[0], ""


def _after_argument(code: str, start: int) -> int:
    """Where the argument after the one at `start` begins."""
    depth = 0
    for match in re.compile(rf"{_LITERAL}|[(\[{{}})\],]").finditer(code, start):
        if match[0] in "([{":
            depth += 1
        elif match[0] in ")]}":
            depth -= 1
        elif match[0] == "," and not depth:
            return match.end()
    return len(code)


def _value(literal: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), literal[1:-1])


def collect(app: Path = APP) -> list[Message]:
    """Everything that the application says, each with the files that say it."""
    found: dict[tuple[str, str, str], set[str]] = {}

    def said(key: tuple[str, str, str], file: Path) -> None:
        if key[1]:
            found.setdefault(key, set()).add(str(file.relative_to(app)))

    for script in sorted(app.glob("htdocs/**/*.js")):
        for key in texts_of_script(script.read_text()):
            said(key, script)
    for menu in sorted(app.glob("root/usr/share/luci/menu.d/*.json")):
        for entry in json.loads(menu.read_text()).values():
            said(("", entry["title"], ""), menu)
    for acl in sorted(app.glob("root/usr/share/rpcd/acl.d/*.json")):
        for group in json.loads(acl.read_text()).values():
            said(("", group["description"], ""), acl)
    return [
        Message(*key, texts=("", "") if key[2] else ("",), places=tuple(sorted(places)))
        for key, places in found.items()
    ]


def template(messages: list[Message]) -> str:
    """The .pot file's text."""
    return render({"Content-Type": "text/plain; charset=UTF-8"}, messages)


def merged(text: str, language: str, messages: list[Message]) -> str:
    """A translation's text with these messages: what was translated stays, what is no longer said goes."""
    known = {message.key: message for message in parse(text)[1]} if text else {}
    header = {
        "Content-Type": "text/plain; charset=UTF-8",
        "Language": language,
        "Plural-Forms": PLURALS[language],
    }
    return render(
        header,
        [replace(m, texts=known[m.key].texts, fuzzy=known[m.key].fuzzy) if m.key in known else m for m in messages],
    )


def conversions(text: str) -> list[str]:
    """What `String.format` fills in, in order: LuCI's has no positions."""
    return [kind for kind in _CONVERSION.findall(text) if kind != "%"]


def faults(messages: list[Message]) -> list[str]:
    """What is missing or wrong in a translation."""
    found = []
    for message in messages:
        originals = (message.one, message.many or message.one)
        for number, text in enumerate(message.texts):
            if not text or message.fuzzy:
                found.append(f"not translated: {message.one!r}")
                break
            original = originals[min(number, 1)]
            if original != _BLANKS.sub(" ", original.strip()):
                found.append(f"looked up without blanks at its ends, and one at a time: {message.one!r}")
            if conversions(text) != conversions(original):
                found.append(f"fills in {conversions(text)}, not {conversions(original)}: {message.one!r}")
            if original[-1:] in ".:!?…" and original[-1:] != text.rstrip("\u00a0 ")[-1:]:
                found.append(f"ends otherwise: {message.one!r}")
    return found


def main() -> int:
    """Writes template and translations; 1 when something is left to translate."""
    messages = collect()
    TEMPLATE.parent.mkdir(parents=True, exist_ok=True)
    TEMPLATE.write_text(template(messages))
    print(f"{len(messages)} texts in {TEMPLATE.relative_to(APP)}")
    left = 0
    for language in PLURALS:
        file = APP / "po" / language / "dpi-dual.po"
        file.parent.mkdir(exist_ok=True)
        file.write_text(merged(file.read_text() if file.exists() else "", language, messages))
        wrong = faults(parse(file.read_text())[1])
        left += len(wrong)
        for line in wrong:
            print(f"{language}: {line}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
