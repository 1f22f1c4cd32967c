"""The text of a UCI file, understood: its sections, its damage, and edits that leave everything else as it was.

The grammar is libuci's: `;`, `#`, both quotes, backslashes, values over several lines, abbreviated keywords, its
names for anonymous sections. A line that makes no sense is reported with its number and skipped, where libuci
refuses the whole file: one cut short by a power loss must still give every value before the cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

#: How many lines one value may run over, and how many bad lines are remembered.
MAX_LINES = 200
MAX_DAMAGE = 200

_KEYWORDS = {k: full for full in ("package", "config", "option", "list") for k in (full, full[0])}
_SPACE = " \t\n\r\v\f"  # C's isspace
_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
NAME_OF_PACKAGE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_TYPE = re.compile(r"[!-~]+", re.ASCII)
_LOOKS_LIKE_STATEMENT = re.compile(r"\s*(?:package|config|option|list)\s")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Value = str | tuple[str, ...]


class UciError(Exception):
    """A change that cannot be made, said so that a person can act on it."""


@dataclass(frozen=True, slots=True)
class Section:
    """One section: `options` maps a name to a string (`option`) or a tuple of them (`list`)."""

    type: str
    name: str
    """As libuci names it; `cfg` and six or more hex digits for an anonymous section."""
    anonymous: bool
    index: int
    """Position among the sections of its type, as in `@type[index]`."""
    options: dict[str, Value]
    lines: tuple[int, ...]
    """Where its headers stand; more than one when the file opens it again."""

    @property
    def label(self) -> str:
        """What `uci set` would call it: the name, or `@type[index]`."""
        return f"@{self.type}[{self.index}]" if self.anonymous else self.name


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that could not be understood and was skipped."""

    line: int
    reason: str


@dataclass(slots=True)
class _Statement:
    keyword: str
    words: tuple[str, ...]


@dataclass(slots=True)
class _Chunk:
    """One line (or the few that a quoted value runs over): its text, and the statements in it."""

    text: str
    statements: list[_Statement] = field(default_factory=list)
    comment: str = ""

    def render(self) -> None:
        """Make the text say what the statements say; a comment at the end of the line stays."""
        indent = self.text[: len(self.text) - len(self.text.lstrip(" \t"))]
        lines = [indent + _format(s) for s in self.statements]
        if self.comment:
            lines = [f"{lines[0]} {self.comment}", *lines[1:]] if lines else [indent + self.comment]
        self.text = "".join(f"{line}\n" for line in lines)


class _NotUnderstoodError(ValueError):
    pass


def quote(value: str) -> str:
    """`value` as one word of a UCI file; a control character cannot be written and is refused."""
    if _CONTROL.search(value):
        raise UciError(f"a value may not contain line breaks or control characters: {value!r:.80}")
    if "'" not in value:
        return f"'{value}'"
    if not re.search(r'["\\]', value):  # the form that simpler parsers than libuci's understand too
        return f'"{value}"'
    return "'" + value.replace("'", "'\\''") + "'"


def _format(statement: _Statement) -> str:
    first, *rest = statement.words
    return " ".join([statement.keyword, first, *map(quote, rest)])


class _Scanner:
    """Reads the commands that start on one line, and the lines that a quote or a backslash adds to it."""

    def __init__(self, lines: Sequence[str], first: int) -> None:
        self._lines = lines
        self._first = first
        self._text = lines[first]
        self._pos = 0
        self.following = first + 1
        self.comment = ""

    def commands(self) -> list[list[tuple[str, str]]]:
        """Each command as words: (as written, what it means)."""
        commands: list[list[tuple[str, str]]] = [[]]
        while self._pos < len(self._text):
            char = self._text[self._pos]
            if char == "#":
                self.comment = self._text[self._pos :].rstrip("\n")
                break
            if char == ";":
                commands.append([])
            if char in _SPACE or char == ";":
                self._pos += 1
            else:
                commands[-1].append(self._word())
        return commands

    def _word(self) -> tuple[str, str]:
        start, word = self._pos, ""
        while self._pos < len(self._text) and (char := self._text[self._pos]) not in _SPACE and char not in ";#":
            self._pos += 1
            if char in "'\"":
                word += self._quoted(char)
            elif char == "\\":
                word += self._escaped("a backslash asks for another line")
            else:
                word += char
        return self._text[start : self._pos], word

    def _quoted(self, mark: str) -> str:
        inside = ""
        while (char := self._next("a quote is not closed")) != mark:
            if char == "\\" and mark == '"':
                char = self._escaped("a quote is not closed")
            inside += char
        return inside

    def _escaped(self, what: str) -> str:
        """What follows a backslash; nothing if that is the end of the line: the line goes on in the next."""
        char = self._next(what)
        if char != "\n":
            return char
        self._more(what)
        return ""

    def _next(self, what: str) -> str:
        if self._pos >= len(self._text):
            self._more(what)
        self._pos += 1
        return self._text[self._pos - 1]

    def _more(self, what: str) -> None:
        if self.following >= len(self._lines):
            raise _NotUnderstoodError(f"{what} and the file ends")
        if self.following - self._first > MAX_LINES or _LOOKS_LIKE_STATEMENT.match(self._lines[self.following]):
            raise _NotUnderstoodError(f"{what} on this line")
        self._text += self._lines[self.following]
        self.following += 1


def _statement(words: list[tuple[str, str]]) -> _Statement:
    keyword = _KEYWORDS.get(words[0][0])
    if keyword is None:
        raise _NotUnderstoodError(f"{words[0][0]!r:.40} is not config, option or list")
    values = tuple(word for _, word in words[1:])
    if not values or not values[0]:
        raise _NotUnderstoodError(f"{keyword} has no name")
    if len(values) > (1 if keyword == "package" else 2):
        raise _NotUnderstoodError(f"too many words after {keyword} (a value with spaces needs quotes)")
    pattern = {"package": NAME_OF_PACKAGE, "config": _TYPE}.get(keyword, _NAME)
    if not pattern.fullmatch(values[0]):
        raise _NotUnderstoodError(f"{values[0]!r:.40} cannot be a name after {keyword}")
    if keyword == "config" and len(values) == 2 and values[1] and not _NAME.fullmatch(values[1]):
        raise _NotUnderstoodError(f"{values[1]!r:.40} cannot name a section")
    if keyword in ("option", "list") and len(values) < 2:
        raise _NotUnderstoodError(f"{keyword} {values[0]} has no value")
    return _Statement(keyword, values)


class Document:
    """One package's text, understood: its sections, its damage, and edits that leave everything else as it was."""

    def __init__(self, text: str, damage: Sequence[Damage] = ()) -> None:
        self._chunks: list[_Chunk] = []
        self._lost: set[int] = set()
        """Chunks after which the current section is unknown: a header may have been there."""
        self.damage: list[Damage] = list(damage)
        lines = text.split("\n")
        lines = [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
        at = 0
        while at < len(lines):
            following = at + 1
            chunk = _Chunk("")
            scanner = _Scanner(lines, at)
            try:
                if "\0" in lines[at]:
                    raise _NotUnderstoodError("binary data")
                chunk.statements = [_statement(words) for words in scanner.commands() if words]
                following, chunk.comment = scanner.following, scanner.comment
            except _NotUnderstoodError as error:
                if scanner.following > at + MAX_LINES:
                    following = scanner.following  # do not look at so much again for each line of it
                if len(self.damage) < MAX_DAMAGE:
                    self.damage.append(Damage(at + 1, str(error)))
                if not re.match(r"\s*(?:o|l|opt\w*|lis\w*)\s", lines[at]):
                    self._lost.add(len(self._chunks))
            chunk.text = "".join(lines[at:following])
            self._chunks.append(chunk)
            at = following

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self._chunks)

    def _walk(self) -> Iterator[tuple[_Chunk, _Statement, int, str]]:
        """Every statement with its line number and the name of the section it belongs to ('' if none)."""
        line, current, known = 1, "", dict[str, str]()
        for at, chunk in enumerate(self._chunks):
            for statement in chunk.statements:
                if statement.keyword == "config":
                    section_type, *name = statement.words
                    current = name[0] if name and name[0] else anonymous_name(section_type, len(known) + 1)
                    known.setdefault(current, section_type)
                    if known[current] != section_type:
                        current = ""
                yield chunk, statement, line, current
            if at in self._lost:
                current = ""
            line += chunk.text.count("\n")

    def sections(self) -> list[Section]:
        """All sections in their order; one that is opened again later goes on where it was, as in libuci."""
        found: dict[str, Section] = {}
        counts: dict[str, int] = {}
        lines: dict[str, list[int]] = {}
        lists: dict[tuple[str, str], list[str]] = {}
        for _, statement, line, name in self._walk():
            if statement.keyword == "config" and name:
                lines.setdefault(name, []).append(line)
                if name not in found:
                    section_type, *rest = statement.words
                    index = counts[section_type] = counts.get(section_type, -1) + 1
                    found[name] = Section(section_type, name, not (rest and rest[0]), index, {}, ())
            elif name and statement.keyword in ("option", "list"):
                option, value = statement.words
                options = found[name].options
                if statement.keyword == "list":
                    if (name, option) not in lists:
                        lists[name, option] = [str(options[option])] if option in options else []
                        options[option] = ()
                    lists[name, option].append(value)
                elif value:  # libuci: an empty option says nothing
                    options.pop(option, None)
                    lists.pop((name, option), None)
                    options[option] = value
        for (name, option), values in lists.items():
            found[name].options[option] = tuple(values)
        return [replace(section, lines=tuple(lines[name])) for name, section in found.items()]

    def stray(self) -> list[Damage]:
        """Headers that reuse a name with another type, and options that belong to no section."""
        found: list[Damage] = []
        for _, statement, line, name in self._walk():
            if len(found) >= MAX_DAMAGE:
                break
            if not name and statement.keyword == "config":
                found.append(Damage(line, f"{statement.words[1]!r} is already a section of another type"))
            elif not name and statement.keyword in ("option", "list"):
                found.append(Damage(line, f"{statement.keyword} {statement.words[0]} belongs to no section"))
        return found

    def section(self, name: str) -> Section | None:
        """The section called `name`; `@type[index]` works too."""
        return next((s for s in self.sections() if name in (s.name, f"@{s.type}[{s.index}]")), None)

    # --- editing ---

    def add_section(self, section_type: str, name: str = "") -> str:
        """Append a section, anonymous without a `name`, and return what it is called."""
        if not _TYPE.fullmatch(section_type) or (name and not _NAME.fullmatch(name)):
            raise UciError(f"{section_type!r} {name!r} cannot be a section: letters, digits and _ only")
        if name and self.section(name):
            raise UciError(f"there is already a section called {name!r}")
        self._end_last_line()
        if self._chunks and self._chunks[-1].text.strip():
            self._chunks.append(_Chunk("\n"))
        statement = _Statement("config", (section_type, name) if name else (section_type,))
        self._chunks.append(_Chunk(f"{_format(statement)}\n", [statement]))
        return self.sections()[-1].name

    def delete_section(self, name: str) -> None:
        """Remove the section, with the comments between its options."""
        section = self.existing(name)
        inside: list[_Chunk] = [chunk for chunk, *_, owner in self._walk() if owner == section.name]
        doomed, pending = set[int](), list[int]()
        for at, chunk in enumerate(self._chunks):
            if any(chunk is c for c in inside):
                is_header = any(s.keyword == "config" for s in chunk.statements)
                doomed |= {at, *(() if is_header else pending)}
                pending = []
            elif chunk.statements:
                pending = []
            elif doomed:
                pending.append(at)
        self._chunks = [chunk for at, chunk in enumerate(self._chunks) if at not in doomed]
        self._lost = set()

    def set(self, name: str, option: str, value: str | Sequence[str] | None) -> None:
        """Set an option (string), a list (anything else) or nothing (None, '' or an empty list: removed)."""
        if not _NAME.fullmatch(option):
            raise UciError(f"{option!r:.40} cannot be an option: letters, digits and _ only")
        section = self.existing(name)
        keyword, values = ("option", [value]) if isinstance(value, str) else ("list", list(value or ()))
        new = [_Statement(keyword, (option, v)) for v in values if v]
        for statement in new:
            quote(statement.words[1])  # refuses what cannot be written before anything is touched
        place: _Chunk | None = None
        last: _Chunk | None = None
        for chunk, statement, _, owner in list(self._walk()):
            if owner != section.name:
                continue
            last = chunk
            if statement.keyword in ("option", "list") and statement.words[0] == option:
                if place is None:
                    place = chunk
                    at = next(i for i, s in enumerate(chunk.statements) if s is statement)
                    chunk.statements[at : at + 1] = new
                else:
                    chunk.statements = [s for s in chunk.statements if s is not statement]
                chunk.render() if chunk.statements else self._drop(chunk)
        if place is None and new and last is not None:
            self._end_last_line()
            at = next(i for i, c in enumerate(self._chunks) if c is last) + 1
            text = "".join(f"\t{_format(s)}\n" for s in new)
            self._chunks.insert(at, _Chunk(text, new))
            self._lost = {i + (i >= at) for i in self._lost}
        got = self.existing(name).options.get(option)
        wanted = None if not new else (values[0] if keyword == "option" else tuple(s.words[1] for s in new))
        if got != wanted or Document(self.text).sections() != self.sections():
            raise UciError(f"the file is too damaged to set {name}.{option}; repair it first")

    def existing(self, name: str) -> Section:
        section = self.section(name)
        if section is None:
            raise UciError(f"there is no section {name!r:.60}")
        return section

    def _drop(self, chunk: _Chunk) -> None:
        chunk.text, chunk.comment = "", ""

    def _end_last_line(self) -> None:
        if self._chunks and not self.text.endswith("\n"):
            self._chunks[-1].text += "\n"


def anonymous_name(section_type: str, position: int) -> str:
    """What libuci calls the anonymous section that is the `position`th of its file (counted from 1)."""
    digest = 5381
    for char in section_type:
        digest = (digest * 33 + ord(char)) & 0xFFFFFFFF
    return f"cfg{position:02x}{(digest & 0x7FFFFFFF) % 65536:04x}"
