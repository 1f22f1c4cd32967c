"""Command-line options made from `schema/ubus.json`, so that a parameter is described in one place."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

from dpi_dual.cli.command import EXIT_CODES, USAGE, Command
from dpi_dual.cli.terminal import safe

Rules = dict[str, Any]


@cache
def _file() -> dict[str, Any]:
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib costs 5 ms
    with open(os.path.join(package, "schema", "ubus.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH123
        found: dict[str, Any] = json.load(file)
    return found


def schema() -> dict[str, dict[str, Rules]]:
    """Objects and their methods."""
    objects: dict[str, dict[str, Rules]] = _file()["objects"]
    return objects


def definition(rules: Rules) -> Rules:
    """`rules`, or what they refer to (`#/$defs/flow`)."""
    found: Rules = _file()["$defs"].get(str(rules.get("$ref", "")).removeprefix("#/$defs/"), rules)
    return found


def method_of(command: Command) -> Rules:
    """The schema of the call behind `command`."""
    return schema()[command.object][command.method]


#: Where what stands in its place goes, while the same may also be named: argparse would let the one undo the other.
_PLACE = "place of "


def summary(command: Command) -> str:
    """One line about `command`."""
    return command.help or str(method_of(command)["help"])


def nearest(word: str, known: list[str]) -> str:
    """What was probably meant by `word`, or nothing."""
    from difflib import get_close_matches

    begun = [name for name in known if len(word) > 1 and name.startswith(word)]
    if begun:
        return min(begun, key=len)  # who types `stat` means `status`, not `start`
    return next(iter(get_close_matches(word, known, 1, 0.6)), "")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints name the command and where to read on."""

    def error(self, message: str) -> NoReturn:
        """Says what was wrong and ends with the usage exit code."""
        if message.startswith("unrecognized arguments: "):
            strange = message.partition(": ")[2].split()[0]
            known = [option for action in self._actions for option in action.option_strings]
            meant = nearest(strange.partition("=")[0], known) if strange.startswith("-") else ""
            message = f"{strange} is not known here" + (f"; did you mean {meant}?" if meant else "")
            if any(not action.option_strings for action in self._actions) and not strange.startswith("-"):
                message = f"{strange} is one word too many; what has blanks in it wants quotes"
        self.exit(USAGE, f"{self.prog}: {safe(message)}\nSee '{self.prog} --help'.\n")


def _whole(rules: Rules) -> Callable[[str], int]:
    def integer(text: str) -> int:
        try:
            value = int(text[:20])
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number") from None
        low, high = rules.get("minimum", value), rules.get("maximum", value)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not between {low:,} and {high:,}")
        return value

    return integer


def _moment(text: str) -> float:
    """A Unix time: as such, as an age (`90s`, `30m`, `4h`, `7d`), or as a date with or without a time of day."""
    import time
    from datetime import datetime

    unit = {"s": 1, "m": 60, "h": 3600, "d": 86_400}.get(text[-1:])
    try:
        moment = time.time() - float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text[:40]).timestamp()
        except (ValueError, OverflowError, OSError):
            moment = -1.0
    if 0 <= moment < 1e11:
        return round(moment, 3)
    told = "a time such as 30m, 4h, 7d (so long ago), 2026-03-15, 2026-03-15T14:30, or a Unix time"
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {told}")


def _text(rules: Rules) -> Callable[[str], str]:
    def string(text: str) -> str:
        most = rules.get("maxLength", len(text))
        if len(text) > most:
            raise argparse.ArgumentTypeError(f"it has {len(text)} characters; at most {most} are taken")
        return text

    return string


def _describe(rules: Rules) -> str:
    parts = [str(rules.get("description", ""))]
    if "default" in rules:
        parts.append(f"({rules['default']})")
    elif rules.get("type") == "number":
        parts.append("(30m, 4h, 7d: so long ago; or a date)")
    elif "maximum" in rules:
        parts.append(f"(at most {rules['maximum']})")
    return " ".join(part for part in parts if part).replace("%", "%%")


def _add(parser: argparse.ArgumentParser, name: str, rules: Rules, positional: bool, required: bool) -> None:
    kind = rules.get("type", "string")
    given: dict[str, Any] = {"help": _describe(rules), "default": None}
    if kind == "boolean":
        given["action"] = argparse.BooleanOptionalAction
    elif "enum" in rules:
        given["choices"] = rules["enum"]
    elif kind in ("integer", "string"):
        given["type"] = _whole(rules) if kind == "integer" else _text(rules)
        given["metavar"] = "N" if kind == "integer" else name.upper()
    elif kind == "number":
        given.update(type=_moment if name in ("since", "until") else float, metavar="WHEN")
    elif kind == "array":
        given.update(action="append", type=_text(rules.get("items", {})), metavar=name.upper())
    if positional:
        optional = {} if required else {"nargs": "?"}
        parser.add_argument(name if required else _PLACE + name, **{**given, "metavar": name.upper(), **optional})
    if not positional or (not required and kind != "boolean"):
        # What may be left out may also be named: what stands before it need not be given then.
        hidden = {"help": argparse.SUPPRESS} if positional else {}
        parser.add_argument("--" + name.replace("_", "-"), dest=name, **{**given, **hidden})


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number of seconds from 0.1 to 86400")
    return seconds


def parser_of(program: str, command: Command) -> Parser:
    """The parser of what follows the command's words."""
    prog = " ".join((program, *command.words))
    epilog = EXIT_CODES
    if command.examples:
        width = max(len(example) for example, _ in command.examples) + len(program) + 1
        lines = [f"  {program + ' ' + example:{width}}  {about}" for example, about in command.examples]
        epilog = "\n".join(["examples:", *lines, "", EXIT_CODES])
    method = method_of(command)
    parser = Parser(
        prog=prog,
        description=f"{summary(command)[:1].upper()}{summary(command)[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    properties, positional = method["params"]["properties"], command.positional.split()
    for name in (*positional, *(name for name in properties if name not in positional)):
        _add(parser, name, properties[name], name in positional, name in method["params"].get("required", ()))
    if command.json_only is None:
        parser.add_argument("--json", action="store_true", help="the answer itself, as JSON")
        from dpi_dual.cli.csv_lines import key_of

        if key_of(command):
            parser.add_argument("--csv", action="store_true", help="the rows as CSV, for a spreadsheet")
        parser.add_argument("--wide", action="store_true", help="cut nothing, however long the lines get")
    if method["access"] == "read" and command.json_only is None:
        watch: dict[str, Any] = {"nargs": "?", "const": 2.0, "type": _interval, "metavar": "SECONDS"}
        parser.add_argument("--watch", help="show it again every 2 (or so many) seconds, until Ctrl-C", **watch)
    return parser


def parameters(command: Command, given: argparse.Namespace) -> dict[str, Any]:
    """The parameters of the call: what was given, the rest is left to the engine's defaults."""
    names = method_of(command)["params"]["properties"]
    found = {name: getattr(given, _PLACE + name, None) for name in names}
    named = {name: getattr(given, name, None) for name in names}
    return {name: value for name in names if (value := named[name] if found[name] is None else found[name]) is not None}
