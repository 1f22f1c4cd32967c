"""A command: the ubus call behind it, how its answer is shown, and what its exit code says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from dpi_dual.cli.terminal import Style, clip

Answer = dict[str, Any]

#: Exit codes, the same for every command.
OK, PROBLEM, USAGE, DOWN, REFUSED = range(5)

EXIT_CODES = """exit codes:
  0  done; for `health`: nothing is wrong
  1  the answer came and reports a problem (`health` is not ok)
  2  the command line was wrong
  3  the engine is down or did not answer (what is known without it is still shown)
  4  the call was refused or failed"""


@dataclass(frozen=True, slots=True)
class View:
    """What an answer is shown in: room, colours, the time, and the command line that asked."""

    room: int
    """Columns; 0: as wide as it gets."""
    style: Style
    now: float
    """Unix time that ages are counted from."""
    asked: str = "dpi-dualctl"
    """The command as typed, without paging: for the hint at the next page."""
    params: dict[str, Any] = field(default_factory=dict)

    def fit(self, text: str) -> str:
        """`text` cut to the room there is; before it is coloured."""
        return clip(text, self.room) if self.room else text


def mapping(value: object) -> dict[str, Any]:
    """`value` if it is an object, else an empty one: an older engine may not have the key."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


Renderer = Callable[[Answer, View], Iterable[str]]


def judge(answer: Answer) -> int:
    """The exit code of an answer whose figures need the engine."""
    if answer.get("engine") == "down" or answer.get("code") in ("engine_down", "timeout"):
        return DOWN
    return REFUSED if "error" in answer else OK


def judge_without_engine(answer: Answer) -> int:
    """The exit code of an answer that is as good without the engine: the kernel's or the init script's."""
    return judge({key: value for key, value in answer.items() if key != "engine"})


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a program; its parameters and its one-line help come from `schema/ubus.json`."""

    words: tuple[str, ...]
    object: str
    method: str
    show: Renderer
    examples: tuple[tuple[str, str], ...] = ()
    """What follows the program's name, and what it does."""
    positional: str = ""
    """The parameters that are given without their names, in that order."""
    help: str = ""
    """One line, where the schema's would mislead."""
    judge: Callable[[Answer], int] = judge
    json_only: Callable[[Answer], Answer] | None = None
    """The command always prints JSON: what this picks from the answer."""
