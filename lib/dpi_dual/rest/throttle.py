"""Logins that were tried lately, by address: who guesses passwords has to wait."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

TRIES = 10
WINDOW_S = 60.0
#: Addresses that are remembered; the oldest give way.
REMEMBERED = 256


class Throttle:
    """Each request is a process of its own, so what is known lies in one small file, locked while it changes."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._clock = clock

    def tried(self, address: str) -> int:
        """Counts a try before it is made; the seconds to wait instead, 0 if it may be made."""
        with self._locked() as file:
            known = self._known(file)
            now = self._clock()
            place = _place(address)
            count, since = known.pop(place, (0, now))
            if not 0 <= now - since < WINDOW_S:
                count, since = 0, now
            known[place] = (count + 1, since)
            self._write(file, known)
        return 0 if count < TRIES else max(1, round(since + WINDOW_S - now))

    def passed(self, address: str) -> None:
        """It was the right password: tries are forgotten."""
        with self._locked() as file:
            known = self._known(file)
            if known.pop(_place(address), None):
                self._write(file, known)

    def _locked(self) -> TextIO:
        self._path.parent.mkdir(0o750, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(self._path, flags, 0o600), "r+", encoding="ascii")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def _known(self, file: TextIO) -> dict[str, tuple[int, float]]:
        file.seek(0)
        try:
            return {str(place): (int(count), float(since)) for place, (count, since) in json.load(file).items()}
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return {}  # new, or cut off by a power loss

    def _write(self, file: TextIO, known: dict[str, tuple[int, float]]) -> None:
        file.seek(0)
        file.truncate()
        json.dump(dict(list(known.items())[-REMEMBERED:]), file)


def _place(address: str) -> str:
    """Whoever has one address of an IPv6 network has them all."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "?"
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
