"""Shows something again and again: in place on a terminal, one after another elsewhere."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from dpi_dual.cli.terminal import clip, size

#: Alternate screen, hidden cursor and no line wrap, and back; ECMA-48 and xterm's control sequences.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def frame(lines: list[str], title: str, wide: int, high: int) -> str:
    """One screenful: the title, as many lines as there is room for, and how many there was none for."""
    room = high - 2
    if len(lines) > room:
        lines = [*lines[: max(room - 1, 0)], f"… {len(lines) - room + 1} more lines; a taller window shows them"]
    drawn = [clip(title, wide), "", *lines]
    return _HOME + "\n".join(line + _REST_OF_LINE for line in drawn[:high]) + _REST_OF_SCREEN


def repeat(show: Callable[[], tuple[list[str], int]], seconds: float, title: str) -> int:
    """Shows what `show` gives every so many seconds until Ctrl-C; the exit code is the last showing's."""
    code = 0
    on_screen = sys.stdout.isatty()
    signal.signal(signal.SIGTERM, _terminated)
    out = sys.stdout
    try:
        if on_screen:
            out.write(_ENTER)
        due = time.monotonic()
        while True:
            lines, code = show()
            if on_screen:
                clock = time.strftime("%H:%M:%S")
                out.write(frame(lines, f"{title}  ·  every {seconds:g} s, {clock}  ·  Ctrl-C ends", *size()))
            else:
                out.write("\n".join(lines) + "\n")
            out.flush()
            now = time.monotonic()
            due = max(due + seconds, now)
            time.sleep(due - now)
    except KeyboardInterrupt:
        return code
    finally:
        if on_screen:
            out.write(_LEAVE)
            out.flush()
