"""LAPI's lists of decisions, taken apart as they come: a blocklist of many megabytes is never in memory as a whole."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from dpi_dual.correlation.lapi import LapiError

#: One decision is some 200 bytes.
MAX_ITEM = 16 * 1024


class DecisionReader:
    """Takes `{"new": [...], "deleted": [...]}` (or one bare array) apart as it comes, one decision at a time."""

    _WHITE = re.compile(r"[ \t\r\n]*")

    def __init__(self) -> None:
        self._decoder = json.JSONDecoder()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._state = "start"
        self._list = ""
        self._bare = False

    def feed(self, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
        """The decisions that are complete now, each with the name of its list (empty for a bare array)."""
        self._text += self._utf8.decode(data)
        position = 0
        while self._state != "done":
            position = self._skip_white(position)
            if self._state == "next item" and self._text.startswith(",{", position):
                self._state, position = "item", position + 1
            found, position, more = self._step(position)
            if found is not None:
                yield self._list, found
            if not more:
                break
        self._text = self._text[position:]
        if len(self._text) > MAX_ITEM and self._state != "done":
            raise LapiError("bad_answer", "the answer is not a list of decisions", True)
        if self._state == "done" and self._text.strip():
            raise LapiError("bad_answer", "the answer goes on after its end", True)

    def finish(self) -> None:
        """The answer is at its end: LapiError if it breaks off."""
        if self._state != "done":
            raise LapiError("bad_answer", "the answer breaks off", True)

    def _skip_white(self, position: int) -> int:
        found = self._WHITE.match(self._text, position)
        return found.end() if found else position

    def _step(self, position: int) -> tuple[dict[str, Any] | None, int, bool]:
        """One token: a decision if it was one, where the next begins, and whether there may be one already."""
        char = self._text[position : position + 1]
        if not char:
            return None, position, False
        state = self._state
        if state in ("item", "next item") and char == "]":
            self._state = "done" if self._bare else "next key"
        elif state == "next item" and char == ",":
            self._state = "item"
        elif state in ("key", "next key") and char == "}":
            self._state = "done"
        elif state == "next key" and char == ",":
            self._state = "key"
        elif state == "colon" and char == ":":
            self._state = "value"
        elif state == "start" and char in "{[":
            self._bare = char == "["
            self._state = "item" if self._bare else "key"
        elif state == "value" and char == "[":
            self._state = "item"
        elif state in ("start", "key", "value", "item"):
            return self._value(position)
        else:
            raise LapiError("bad_answer", "the answer is not JSON", True)
        return None, position + 1, True

    def _value(self, position: int) -> tuple[dict[str, Any] | None, int, bool]:
        try:
            value, end = self._decoder.raw_decode(self._text, position)
        except (ValueError, RecursionError):
            return None, position, False  # perhaps incomplete; a bound on what waits ends it if not
        if self._state == "start" and value is None:
            self._state = "done"
        elif self._state == "key" and isinstance(value, str):
            self._list, self._state = value, "colon"
        elif self._state == "value" and not isinstance(value, int | float):
            self._state = "next key"
        elif self._state == "item" and isinstance(value, dict):
            self._state = "next item"
            return value, end, True
        else:
            raise LapiError("bad_answer", "the answer is not a list of decisions", True)
        return None, end, True
