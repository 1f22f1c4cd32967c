"""A field's value in the readings that signatures ask for, each made once and only when asked for."""

from __future__ import annotations

import re
from collections.abc import Callable

from dpi_dual.waf import normalise, sqli
from dpi_dual.waf.request import Field

_COMMENT = re.compile(r"/\*[^*]{0,200}\*/")
_LINES = re.compile(r"[\n\t\x00-\x08]")


class Value:
    """One field and its readings; `text` is the folded one that most rules look at."""

    __slots__ = ("_views", "field", "text")

    def __init__(self, field: Field) -> None:
        self.field = field
        self.text = normalise.folded(field.value)
        self._views: dict[str, tuple[str, ...]] = {}

    def view(self, name: str) -> tuple[str, ...]:
        """The texts of a reading; most have one."""
        found = self._views.get(name)
        if found is None:
            found = self._views[name] = _VIEWS[name](self)
        return found

    def variants(self) -> list[str]:
        """Texts beyond `text` in which a needed substring may appear only after unfolding."""
        text = self.text
        found: list[str] = []
        if any(char in text for char in "'\"\\$^`+"):
            found.append(normalise.shell_view(text))
        if "\\" in text or "//" in text or "/./" in text:
            found.append(normalise.path_view(text))
        if "\n" in text:
            found.append(_LINES.sub("", text))
        if "/*" in text:
            found.append(normalise.sql_view(text))
            found.append(_COMMENT.sub("", text))
        lower = self.field.value.lower()
        if lower != text:
            found.append(lower)
        return found


def _letters(value: Value, name: str) -> tuple[str, ...]:
    found = sqli.views(value.text)
    value._views |= {"sql": found[:1], "sql_quoted": found[1:], "sql_all": found}
    return value._views[name]


_VIEWS: dict[str, Callable[[Value], tuple[str, ...]]] = {
    "text": lambda value: (value.text,),
    "raw": lambda value: (normalise.decoded(value.field.value),),
    "raw_lower": lambda value: (value.field.value.lower(),),
    "raw_target": lambda value: (value.field.value.lower(),),
    "decoded": lambda value: (normalise.decoded(value.field.value),),
    "shell": lambda value: (normalise.shell_view(value.text),),
    "path": lambda value: (normalise.path_view(value.text), value.text),
    "path_tight": lambda value: (normalise.path_view(value.text), value.text),
    "shellpath": lambda value: (normalise.path_view(normalise.shell_view(value.text)), normalise.path_view(value.text)),
    "tightlines": lambda value: (_LINES.sub("", value.text),),
    "nocomment": lambda value: (_COMMENT.sub("", value.text),),
    "nocsscomment": lambda value: (_COMMENT.sub("", value.text).replace("\\", ""),),
    "sqltext": lambda value: (normalise.sql_view(value.text),),
    "pair": lambda value: (f"{value.field.name.lower()}={value.text}", value.text),
    "sql": lambda value: _letters(value, "sql"),
    "sql_quoted": lambda value: _letters(value, "sql_quoted"),
    "sql_all": lambda value: _letters(value, "sql_all"),
}
