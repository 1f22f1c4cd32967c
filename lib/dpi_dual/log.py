"""The log on standard error: one line a message, whatever text of the wire is in it."""

from __future__ import annotations

import logging
import sys


class OneLine(logging.Formatter):
    """Escapes what would begin a line of its own or move a terminal's cursor; tracebacks keep their lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = super().formatMessage(record)
        return line if line.isprintable() else "".join(map(_escaped, line))


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


def to_stderr(level: int, form: str) -> None:
    """For a program's start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(form))
    logging.basicConfig(level=level, handlers=[handler])
