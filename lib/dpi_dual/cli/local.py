"""A command with no call behind it: set-up that root runs here and now, engine or not."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from dpi_dual.cli.command import EXIT_CODES, OK, REFUSED, Answer, Renderer, View
from dpi_dual.cli.terminal import Style, safe, size, wants_colour
from dpi_dual.errors import QueryError


def _nothing(parser: argparse.ArgumentParser) -> None:
    del parser


def _judge(answer: Answer) -> int:
    return REFUSED if "error" in answer else OK


@dataclass(frozen=True, slots=True)
class Local:
    """One such command. `act` answers as a call would; what it raises as QueryError is an error answer.

    A list `notes` in the answer goes to standard error, so that the answer itself can be piped on.
    """

    words: tuple[str, ...]
    help: str
    act: Callable[[argparse.Namespace], Answer]
    show: Renderer
    options: Callable[[argparse.ArgumentParser], None] = _nothing
    examples: tuple[tuple[str, str], ...] = ()
    judge: Callable[[Answer], int] = _judge
    positional: str = ""


def perform(program: str, command: Local, rest: list[str]) -> int:
    """Parses what follows the command's words, acts, shows, and gives the exit code."""
    from dpi_dual.cli.options import Parser

    asked = " ".join((program, *command.words))
    width = max((len(example) for example, _ in command.examples), default=0) + len(program) + 1
    lines = [f"  {program + ' ' + example:{width}}  {about}" for example, about in command.examples]
    parser = Parser(
        prog=asked,
        description=f"{command.help[:1].upper()}{command.help[1:]}.",
        epilog="\n".join([*(["examples:", *lines, ""] if lines else []), EXIT_CODES]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.options(parser)
    parser.add_argument("--json", action="store_true", help="the answer itself, as JSON")
    parser.add_argument("--wide", action="store_true", help="cut nothing, however long the lines get")
    given = parser.parse_args(rest)
    try:
        answer = command.act(given)
    except QueryError as error:
        answer = dict(error.answer())
    if given.json:
        print(json.dumps(answer, indent=2))
    elif "error" in answer:
        print(f"{asked}: {safe(answer['error'])}", file=sys.stderr)
    else:
        for note in answer.get("notes", []):
            print(f"{asked}: {safe(note)}", file=sys.stderr)
        view = View(0 if given.wide else size()[0], Style(wants_colour()), time.time(), asked)
        shown = list(command.show(answer, view))
        if shown:
            print("\n".join(shown))
    return command.judge(answer)
