"""Runs a program: finds the command, asks the engine, shows the answer, ends with the exit code."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dpi_dual import __version__
from dpi_dual.cli.command import DOWN, EXIT_CODES, OK, REFUSED, USAGE, Answer, Command, View
from dpi_dual.cli.local import Local, perform
from dpi_dual.cli.terminal import Style, safe, size, wants_colour

#: Ended because nobody reads on, as a program that SIGPIPE ends (`… | head`); ended by Ctrl-C.
_NO_READER, _INTERRUPTED = 141, 130

_HINTS = {
    "no_permission": "Run it as root.",
    "engine_down": "Start it: dpi-dualctl start. Why it ended: logread -e dpi-dual.",
    "switched_off": "Switch it on: uci set dpi-dual.settings.enabled=1; uci commit dpi-dual; dpi-dualctl start.",
    "timeout": "Try again; if it stays so, 'dpi-dualctl restart'.",
    "no_init_script": "From a checkout, 'sbin/dpi-duald' runs the engine in the foreground.",
}

_DOWN = "the engine does not run; this is what is known without it"

_EVERYWHERE = (
    ("--json", "the answer itself, as JSON"),
    ("--csv", "of a list: its rows as CSV, for a spreadsheet"),
    ("--wide", "cut nothing, however long the lines get"),
    ("--watch [SECONDS]", "show it again and again, until Ctrl-C"),
    ("--help", "what the command takes, with examples"),
)


@dataclass(frozen=True, slots=True)
class Foreground:
    """A command that is no call: it runs something here until it ends."""

    help: str
    run: Callable[[], int] | None = None
    run_with: Callable[[Sequence[str]], int] | None = None
    """The same, for a command that reads its own arguments, `--help` among them."""
    group: str = ""
    """The heading it stands under; the first if empty."""


@dataclass(frozen=True, slots=True)
class Program:
    """One executable: its commands under headings."""

    name: str
    about: str
    groups: tuple[tuple[str, tuple[Command, ...]], ...]
    examples: tuple[tuple[str, str], ...]
    foreground: dict[str, Foreground]
    local: tuple[tuple[str, tuple[Local, ...]], ...] = ()
    """Commands without a call behind them, under headings of their own."""

    def commands(self) -> Iterator[Command]:
        """All calls."""
        for _, commands in self.groups:
            yield from commands

    def typed(self) -> Iterator[Command | Local]:
        """All that is found by its words."""
        yield from self.commands()
        for _, commands in self.local:
            yield from commands

    def names(self) -> list[str]:
        """What may be typed after the program's name."""
        return [*self.foreground, *(" ".join(command.words) for command in self.typed())]


def _help(program: Program) -> str:
    from dpi_dual.cli.options import summary

    lines = [f"usage: {program.name} COMMAND [OPTIONS]", "", program.about]
    wide = max(14, max(map(len, program.names())) + 2)

    def typed(command: Command | Local) -> str:
        """The words, with the parameters in their places as far as there is room."""
        shown = " ".join(command.words)
        for name in command.positional.split():
            if len(longer := f"{shown} {name.upper()}") > wide - 2:
                return f"{shown} …" if len(shown) + 2 <= wide - 2 else shown
            shown = longer
        return shown

    first = program.groups[0][0]
    for title, commands in program.groups:
        rows = [(name, own.help) for name, own in program.foreground.items() if (own.group or first) == title]
        rows += [(typed(command), summary(command)) for command in commands]
        lines += ["", f"{title}:", *(f"  {name:{wide}}{about}" for name, about in rows)]
    for title, local in program.local:
        told = [(typed(command), command.help) for command in local]
        lines += ["", f"{title}:", *(f"  {name:{wide}}{about}" for name, about in told)]
    lines += ["", "options of every command:"]
    lines += [f"  {option:20}{about}" for option, about in _EVERYWHERE]
    width = max(len(example) for example, _ in program.examples) + len(program.name) + 3
    lines += ["", "examples:", *(f"  {program.name + ' ' + line:{width}}{about}" for line, about in program.examples)]
    return "\n".join([*lines, "", EXIT_CODES, ""])


def _complain(program: str, message: str, hint: str = "") -> None:
    print(f"{program}: {safe(message)}", file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)


def _find(program: Program, argv: Sequence[str]) -> tuple[Command | Local | Foreground, list[str]] | str:
    """The command that `argv` begins with and what follows it, or what is wrong."""
    # A flag may stand before the command too; none of these takes a value.
    early = 0
    while early < len(argv) and argv[early] in ("--json", "--wide", "--help", "-h"):
        early += 1
    flags, words = list(argv[:early]), list(argv[early:])
    if not words:
        return "a command is missing"
    if words[0] in program.foreground:
        return program.foreground[words[0]], flags + words[1:]
    for command in sorted(program.typed(), key=lambda command: -len(command.words)):
        if tuple(words[: len(command.words)]) == command.words:
            return command, flags + words[len(command.words) :]
    typed = words[0]
    if typed.startswith("-"):
        return f"{typed} is not known before a command; options follow the command"
    from dpi_dual.cli.options import nearest

    below = [command for command in program.typed() if command.words[0] == typed]
    if below:
        return f"'{typed}' needs one of: {', '.join(' '.join(command.words[1:]) for command in below)}"
    meant = nearest(typed, program.names())
    return f"there is no command '{typed}'" + (f"; did you mean '{meant}'?" if meant else "")


def ask(command: Command, params: dict[str, Any]) -> Answer:
    """The answer to the call behind `command`; what goes wrong on the way is an error answer too."""
    try:
        from dpi_dual.rpc import client

        return client.call(command.object, command.method, params)
    except ModuleNotFoundError as error:
        sentence = f"the Python module {error.name} is not installed for {sys.executable}"
        return {"error": sentence, "code": "module_missing"}
    except ValueError:
        return {"error": "the engine's answer is not JSON; was it stopped just now?", "code": "timeout"}


def _json(answer: Answer, indent: int | None = 2) -> list[str]:
    import json

    return json.dumps(answer, indent=indent).splitlines()


def _call(program: str, command: Command, rest: list[str]) -> int:
    from dpi_dual.cli.options import parameters, parser_of

    given = parser_of(program, command).parse_args(rest)
    params = parameters(command, given)
    asked = " ".join((program, *command.words))
    watching = getattr(given, "watch", None)
    as_json = command.json_only is not None or given.json
    style = Style(wants_colour())

    def show() -> tuple[list[str], int]:
        answer = ask(command, params)
        if "error" in answer and not (as_json or watching):
            return [], _refused(asked, command, answer)
        code = command.judge(answer)
        if as_json:
            if command.json_only is not None and "error" not in answer:
                answer = command.json_only(answer)
            return _json(answer, None if watching else 2), code
        if "error" in answer:
            return [style.bad(safe(answer["error"]))], code
        if getattr(given, "csv", False):
            from dpi_dual.cli.csv_lines import csv_lines

            lines = list(csv_lines(command, answer))
            if code == DOWN:
                _complain(asked, _DOWN, _hint("engine_down"))
            if answer.get("next"):
                told = f"{len(lines) - 1} of {answer.get('total')} rows; go on with --before {answer['next']}"
                _complain(
                    asked, told, "" if params.get("limit") else "--limit 500 gives as many at once as there may be."
                )
            return lines, code
        view = View(0 if given.wide else size()[0], style, time.time(), _typed(asked, command, params), params)
        lines = list(command.show(answer, view))
        # `health` says so itself, as the first of its problems.
        if code == DOWN and not isinstance(answer.get("problems"), list):
            if watching:
                lines = [view.style.warn(_DOWN), "", *lines]
            else:
                _complain(asked, _DOWN, _hint("engine_down"))
        return lines, code

    if watching:
        from dpi_dual.cli.watch import repeat

        return repeat(show, watching, asked)
    lines, code = show()
    if lines:
        print("\n".join(lines))
    return code


def _typed(asked: str, command: Command, params: dict[str, Any]) -> str:
    """The command line again, without its place in the pages; quoted for a shell."""
    from shlex import quote

    parts = [asked]
    for name, value in params.items():
        if name in command.positional.split():
            parts.append(quote(str(value)))
        elif isinstance(value, bool):
            parts.append(("--" if value else "--no-") + name.replace("_", "-"))
        elif name != "before":
            parts += ["--" + name.replace("_", "-"), quote(str(value))]
    return " ".join(parts)


def _hint(code: str) -> str:
    """What can be done about an error; where all is switched off on purpose, a start alone would not help."""
    if code == "engine_down":
        from dpi_dual import config

        code = code if config.load().settings.enabled else "switched_off"
    return _HINTS.get(code, "")


def _refused(asked: str, command: Command, answer: Answer) -> int:
    code = str(answer.get("code", ""))
    _complain(asked, str(answer["error"]), _hint(code))
    if code in ("engine_down", "timeout", "no_permission"):
        return DOWN
    return REFUSED


def _perform(program: Program, argv: Sequence[str]) -> int:
    first = argv[0] if argv else ""
    if first in ("--version", "-V"):
        print(f"{program.name} {__version__}")
        return OK
    if not argv or all(word in ("--help", "-h", "help") for word in argv):
        (sys.stdout if argv else sys.stderr).write(_help(program))
        return OK if argv else USAGE
    found = _find(program, [*argv[1:], "--help"] if first == "help" else argv)
    if isinstance(found, str):
        _complain(program.name, found, f"See '{program.name} --help'.")
        return USAGE
    command, rest = found
    if isinstance(command, Command):
        return _call(program.name, command, rest)
    if isinstance(command, Local):
        return perform(program.name, command, rest)
    if command.run_with is not None:
        return command.run_with(rest)
    if any(word in ("--help", "-h") for word in rest):
        name = next(name for name, known in program.foreground.items() if known is command)
        print(f"usage: {program.name} {name}\n\n{command.help[:1].upper()}{command.help[1:]}.")
        return OK
    if rest:
        _complain(program.name, f"{rest[0]} is not known here", f"See '{program.name} --help'.")
        return USAGE
    return command.run() if command.run is not None else USAGE


def main(program: Program, argv: Sequence[str] | None = None) -> int:
    """Runs `program` with `argv` and gives its exit code; a reader that went away ends it quietly."""
    if sys.stdout is None:
        # Started with standard output closed: write to nowhere rather than into whatever opens first.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal without UTF-8 gets '?' for what it cannot show, not a traceback.
            stream.reconfigure(errors="replace")
    try:
        code = _perform(program, list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # What is still buffered has no reader either; the interpreter would complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NO_READER
    except OSError as error:
        _complain(program.name, f"the output cannot be written: {error.strerror or error}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
