"""The files of an engine that has gone: read only where they are ours, bounded, and no number that JSON lacks."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

#: The largest, the correlated threats, is 2,000 lines of some kilobytes.
MAX_BYTES = 16 * 1024 * 1024


def _content(path: Path) -> bytes:
    """Raises OSError, also for what somebody else has put there: a link, a pipe that never ends, another's file."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0):
            raise PermissionError(f"{path} is not ours")
        return file.read(MAX_BYTES)


def _parsed(text: bytes) -> Any:
    """NaN and the infinities become null: no reader of our answer takes them."""
    return json.loads(text, parse_constant=lambda _: None, parse_float=_finite)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if abs(number) < 1e300 else None


def snapshot(directory: str, name: str) -> dict[str, Any]:
    """The object in a file; empty if there is none or it is not ours."""
    try:
        found = _parsed(_content(Path(directory, name)))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one a line, newest first."""
    try:
        found = [_parsed(line) for line in _content(path).splitlines()]
    except (OSError, ValueError, RecursionError):
        return []
    return [entry for entry in found if isinstance(entry, dict)][::-1]


def counts(given: dict[str, Any], *names: str) -> dict[str, int]:
    """Counts out of a snapshot, 0 for what is none."""
    return {name: value if type(value := given.get(name)) is int and 0 <= value < 1 << 53 else 0 for name in names}
