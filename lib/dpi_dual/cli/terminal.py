"""What may reach a terminal: text off the wire made harmless, measured and cut to columns, and a little colour.

Host names, applications and user agents are an attacker's text: an escape sequence among them could rewrite
the screen, a direction mark could swap what is read.
"""

from __future__ import annotations

import os
import sys

#: Nothing in a table is ever this wide; it bounds the work spent on one cell.
LONGEST = 512

#: Blocks of combining marks (no column) and of East Asian wide characters and emoji (two), see UAX #11.
#: The `unicodedata` module would know better, but is a package of its own on a router.
_COMBINING = ((0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F))
_WIDE = (
    (0x1100, 0x115F),
    (0x2E80, 0xA4CF),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE6F),
    (0xFF00, 0xFF60),
    (0xFFE0, 0xFFE6),
    (0x1F300, 0x1FAFF),
    (0x20000, 0x3FFFD),
)


def _within(code: int, blocks: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in blocks)


def _columns(character: str) -> int:
    code = ord(character)
    if code < 0x300:
        return 1
    return 0 if _within(code, _COMBINING) else 2 if _within(code, _WIDE) else 1


def safe(value: object) -> str:
    """`value` as text without control characters, escape sequences or direction marks: those are spelled out."""
    text = str(value)[:LONGEST]
    if text.isascii() and text.isprintable():
        return text
    kept: list[str] = []
    marks = 0
    for character in text:
        if not character.isprintable():
            kept.append(character.encode("unicode_escape").decode("ascii"))
            continue
        # A pile of combining marks grows over the lines around it; no language needs more than a few.
        marks = marks + 1 if _columns(character) == 0 else 0
        if marks <= 3:
            kept.append(character)
    return "".join(kept)


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def clip(text: str, most: int, keep_end: bool = False) -> str:
    """`text` in at most `most` columns, `…` standing for what was cut: the end, or with `keep_end` the start."""
    if columns(text) <= most:
        return text
    if most < 1:
        return ""
    kept: list[str] = []
    room = most - 1
    for character in reversed(text) if keep_end else text:
        room -= _columns(character)
        if room < 0:
            break
        kept.append(character)
    return "…" + "".join(reversed(kept)) if keep_end else "".join(kept) + "…"


def clip_middle(text: str, most: int) -> str:
    """`text` in at most `most` columns, both ends kept: IPv6 addresses of one provider begin alike and end alike."""
    if columns(text) <= most or most < 3:
        return clip(text, most)
    first = clip(text, most - most // 2).removesuffix("…")
    return first + clip(text, most - columns(first), keep_end=True)


class Style:
    """Colours when `on`, else the text as it is. Sparse: a title, what is good, what needs a look."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def _dress(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on and text else text

    def title(self, text: str) -> str:
        return self._dress("1", text)

    def faint(self, text: str) -> str:
        return self._dress("2", text)

    def good(self, text: str) -> str:
        return self._dress("32", text)

    def warn(self, text: str) -> str:
        return self._dress("33", text)

    def bad(self, text: str) -> str:
        return self._dress("31", text)


def wants_colour() -> bool:
    """True on a terminal that can, unless NO_COLOR (no-color.org) says otherwise."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return sys.stdout.isatty()


def size() -> tuple[int, int]:
    """Columns and lines: what COLUMNS and LINES say, else the terminal, else 80 × 24."""
    wide, high = 80, 24
    for stream in (1, 2, 0):
        try:
            found = os.get_terminal_size(stream)
        except OSError:
            continue
        wide, high = found.columns or wide, found.lines or high
        break

    def told(variable: str, otherwise: int) -> int:
        text = os.environ.get(variable, "")
        return int(text) if text.isascii() and text.isdigit() and int(text[:6]) > 0 else otherwise

    return max(told("COLUMNS", wide), 20), max(told("LINES", high), 2)
