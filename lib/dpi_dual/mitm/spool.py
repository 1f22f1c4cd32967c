"""Events that the engine has not acknowledged yet: bounded, numbered, sealed on disk so that a restart loses none."""

from __future__ import annotations

import os
import secrets
import struct
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from dpi_dual.mitm import folder as disk
from dpi_dual.mitm.seal import Seal, SealError
from dpi_dual.mitm.wire import WireError, decode_frame, encode_frame

NAME = "spool.bin"
MAX_EVENTS = 10_000
#: What was acknowledged is cut off the file once it is so long.
COMPACT_BYTES = 256 * 1024
MAX_FILE = 32 * 1024 * 1024

_LENGTH = struct.Struct("!I")
_PURPOSE = b"spool"


class Spool:
    """Events in order, each with a number that grows within `stream`, the name of this spool's life.

    The engine remembers the last number of a stream: an event sent twice is known by it.
    """

    def __init__(self, folder: int, seal: Seal, max_events: int = MAX_EVENTS) -> None:
        """`folder` is a descriptor of the buffer directory, which stays the caller's."""
        self._folder = folder
        self._seal = seal
        self._max = max_events
        self._events: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._file = -1
        self._size = 0
        self.stream = secrets.token_hex(8)
        self.last = 0
        self.acknowledged = 0
        self._dropped = 0
        self._unwritten = 0
        self._unreadable = 0
        self._load()

    def __len__(self) -> int:
        return len(self._events)

    def counters(self) -> dict[str, int]:
        """Events that found no place, those a restart would lose, and spools of before that could not be read."""
        return {
            "spool_dropped": self._dropped,
            "spool_not_stored": self._unwritten,
            "spool_unreadable": self._unreadable,
        }

    def add(self, event: dict[str, Any]) -> int:
        """Keeps an event until it is acknowledged; the oldest goes if there is no room."""
        # Never a number that was used before, even if the file that remembered it could not be written.
        self.last = max(self.last + 1, int(time.time() * 1000))
        self._events[self.last] = event
        if len(self._events) > self._max:
            self._events.popitem(last=False)
            self._dropped += 1
        self._append({"n": self.last, "event": event})
        return self.last

    def after(self, number: int, limit: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """The events that come after `number`, at most `limit`."""
        for key, event in self._events.items():
            if limit <= 0:
                return
            if key > number:
                limit -= 1
                yield key, event

    def acknowledge(self, number: int) -> None:
        """All up to `number` were reported."""
        number = min(number, self.last)
        if number <= self.acknowledged:
            return
        self.acknowledged = number
        while self._events and next(iter(self._events)) <= number:
            self._events.popitem(last=False)
        if self._size > COMPACT_BYTES:
            self._compact()
        else:
            self._append({"acknowledged": number})

    def reseal(self, seal: Seal) -> None:
        """Stores what is waiting anew under another seal."""
        self._seal = seal
        self._compact()

    def close(self) -> None:
        """Closes the file; it stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _encode(self, head: dict[str, Any]) -> bytes:
        blob = self._seal.close(encode_frame(head), _PURPOSE)
        return _LENGTH.pack(len(blob)) + blob

    def _append(self, head: dict[str, Any]) -> None:
        data = self._encode(head)
        try:
            if self._size + len(data) > MAX_FILE:
                self._compact()
                return
            if os.write(self._file, data) != len(data):
                os.ftruncate(self._file, self._size)
                raise OSError(28, "No space left on device")
        except OSError:
            self._unwritten += 1
            return
        self._size += len(data)

    def _compact(self) -> None:
        start = {"stream": self.stream, "last": self.last, "acknowledged": self.acknowledged}
        parts = [self._encode(start), *(self._encode({"n": n, "event": event}) for n, event in self._events.items())]
        data = b"".join(parts)
        try:
            disk.replace_in(self._folder, NAME, data)
            fresh = disk.append_to(self._folder, NAME)
        except OSError:
            self._unwritten += 1
            return
        self.close()
        self._file = fresh
        self._size = len(data)

    def _load(self) -> None:
        try:
            self._read(disk.read_from(self._folder, NAME, 2 * MAX_FILE))
        except FileNotFoundError:
            pass  # there was no spool before this one
        except (SealError, WireError, KeyError, TypeError, ValueError, OverflowError):
            # Another key, or a damaged file: what had not been told is lost, which somebody should know.
            self._unreadable += 1
        self._compact()

    def _read(self, data: bytes) -> None:
        at = 0
        while at + _LENGTH.size <= len(data):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size + length
            if at > len(data):
                break
            self._take(decode_frame(self._seal.open(data[at - length : at], _PURPOSE))[0])

    def _take(self, head: dict[str, Any]) -> None:
        if isinstance(head.get("stream"), str):
            self.stream, self.last, self.acknowledged = head["stream"], int(head["last"]), int(head["acknowledged"])
        elif "event" in head:
            self.last = max(self.last, int(head["n"]))
            self._events[int(head["n"])] = head["event"]
        elif "acknowledged" in head:
            self.acknowledged = int(head["acknowledged"])
            while self._events and next(iter(self._events)) <= self.acknowledged:
                self._events.popitem(last=False)
