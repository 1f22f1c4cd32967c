"""Buffer B: the newest requests, sealed on disk in segments, with an index of what was found in each in memory."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dpi_dual.mitm import folder as disk
from dpi_dual.mitm.record import Record, encode_record, record_of
from dpi_dual.mitm.seal import Seal, SealError
from dpi_dual.mitm.wire import WireError, decode_frame, encode_frame

#: Whatever `buffer_size` and `max_body` multiply to: the directory is RAM on a router.
MAX_BYTES = 64 * 1024 * 1024
SEGMENT_BYTES = 1024 * 1024
SEGMENT_ENTRIES = 256
#: A segment is begun anew at least so often within the retention: a segment goes when its newest entry does.
SEGMENTS_A_RETENTION = 8

_NAME = re.compile(r"ring-(\d{8})\.seg\Z")
_LENGTH = struct.Struct("!I")
_PURPOSE = b"ring"


@dataclass(slots=True)
class Entry:
    """What the index knows of a request; values of parameters are not among it."""

    id: str
    at: float
    client_ip: str
    client_port: int
    method: str
    host: str
    path: str
    blocked: bool
    score: int = 0
    categories: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    """`rule place` each."""
    alert: bool = False
    anomaly: int = 0
    strict_score: int = -1
    """At paranoia 3, once it was analysed again; -1 before."""
    status: int = 0
    response_size: int = 0
    response_type: str = ""
    latency_ms: float = 0.0
    features: tuple[float, ...] = ()
    segment: int = -1
    offset: int = 0
    length: int = 0

    def summary(self) -> dict[str, Any]:
        """As `context` lists it."""
        return {
            "id": self.id,
            "at": round(self.at, 3),
            "client_ip": self.client_ip,
            "client_port": self.client_port,
            "method": self.method,
            "host": self.host,
            "path": self.path,
            "blocked": self.blocked,
            "threat_score": self.score,
            "strict_score": self.strict_score,
            "anomaly_score": self.anomaly,
            "categories": list(self.categories),
            "rules": list(self.rules),
            "alert": self.alert,
            "status": self.status,
            "response_size": self.response_size,
            "response_type": self.response_type,
            "latency_ms": round(self.latency_ms, 2),
        }


#: What an update may change, in the order it is stored.
_UPDATED = (
    "score",
    "categories",
    "rules",
    "alert",
    "anomaly",
    "strict_score",
    "status",
    "response_size",
    "response_type",
    "latency_ms",
    "blocked",
)


@dataclass(slots=True)
class _Segment:
    descriptor: int
    begun_at: float
    size: int = 0
    entries: int = 0
    live: int = 0


@dataclass(slots=True)
class Totals:
    """Kept as entries come and go."""

    hosts: Counter[str] = field(default_factory=Counter)
    grave: int = 0


class Ring:
    """At most `size` entries, none older than `retention_s`, `MAX_BYTES` on disk; survives its process with its key."""

    def __init__(self, folder: int, seal: Seal, size: int, retention_s: float, max_bytes: int = MAX_BYTES) -> None:
        """`folder` is a descriptor of the buffer directory, which stays the caller's."""
        self._folder = folder
        self._seal = seal
        self.size = size
        self.retention_s = retention_s
        self.grave_score = 50
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._segments: OrderedDict[int, _Segment] = OrderedDict()
        self._bytes = 0
        self._counters = Counter[str]()
        self.full = ""
        """Why the last write failed; empty when it did not."""
        self.totals = Totals()
        self._load()

    def __len__(self) -> int:
        return len(self._entries)

    def counters(self) -> dict[str, int]:
        """Entries pushed out before their time, and what could not be written or read."""
        names = ("ring_evicted", "ring_not_stored", "ring_unreadable", "ring_lost_key")
        return {**{name: self._counters[name] for name in names}, "ring_bytes": self._bytes}

    # --- writing

    def put(self, record: Record, now: float, features: tuple[float, ...] = ()) -> Entry:
        """Keeps a request that was redacted before."""
        entry = _entry_of(record)
        entry.features = features
        self._add(entry)
        self._write(encode_record(record), entry, now)
        self._trim(now)
        return entry

    def update(self, entry: Entry, now: float, **values: Any) -> None:
        """Notes what was found out about an entry."""
        if entry.id not in self._entries:
            return
        self._tally(entry, -1)
        for name, value in values.items():
            setattr(entry, name, value)
        self._tally(entry, 1)
        patch = {"t": "update", "id": entry.id, **{name: getattr(entry, name) for name in _UPDATED}}
        self._write(encode_frame(patch), None, now)

    def reseal(self, seal: Seal) -> None:
        """What comes from now on is sealed so; what is there stays readable no longer and goes."""
        self._seal = seal
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()
        self.totals = Totals()
        for number in list(self._segments):
            self._drop_segment(number)

    def expire(self, now: float) -> None:
        """Drops what is older than the retention."""
        while self._entries:
            entry = next(iter(self._entries.values()))
            # An entry of the future comes from a clock that was ahead.
            if -60.0 <= now - entry.at <= self.retention_s:
                break
            self._forget(entry)
        self._drop_empty()

    def close(self) -> None:
        """Closes the files; they stay."""
        for segment in self._segments.values():
            os.close(segment.descriptor)
        self._segments.clear()

    # --- reading

    def get(self, identity: str) -> Entry | None:
        """The entry of a request id."""
        return self._entries.get(identity)

    def newest(self, client_ip: str = "", since: float = 0.0) -> Iterator[Entry]:
        """Entries from the newest on, of one address if one is given."""
        for entry in reversed(self._entries.values()):
            if entry.at < since:
                return
            if not client_ip or entry.client_ip == client_ip:
                yield entry

    def record(self, entry: Entry) -> Record | None:
        """The request itself; None if it could not be stored or read."""
        segment = self._segments.get(entry.segment)
        if segment is None:
            return None
        try:
            blob = os.pread(segment.descriptor, entry.length, entry.offset)
            return record_of(*decode_frame(self._seal.open(blob, _PURPOSE)))
        except (OSError, SealError, WireError):
            self._counters["ring_unreadable"] += 1
            return None

    # --- bounds

    def _trim(self, now: float) -> None:
        while len(self._entries) > self.size:
            self._counters["ring_evicted"] += 1
            self._forget(next(iter(self._entries.values())))
        while self._bytes > self._max_bytes and len(self._segments) > 1:
            oldest = next(iter(self._segments))
            for entry in [entry for entry in self._entries.values() if entry.segment == oldest]:
                self._counters["ring_evicted"] += 1
                self._forget(entry)
            self._drop_segment(oldest)
        self.expire(now)

    def _add(self, entry: Entry) -> None:
        old = self._entries.pop(entry.id, None)
        if old is not None:
            self._tally(old, -1)
        self._entries[entry.id] = entry
        self._tally(entry, 1)

    def _forget(self, entry: Entry) -> None:
        self._entries.pop(entry.id, None)
        self._tally(entry, -1)
        segment = self._segments.get(entry.segment)
        if segment is not None:
            segment.live -= 1

    def _tally(self, entry: Entry, step: int) -> None:
        hosts = self.totals.hosts
        hosts[entry.host] += step
        if not hosts[entry.host]:
            del hosts[entry.host]
        self.totals.grave += step * (entry.score >= self.grave_score)

    def _drop_empty(self) -> None:
        # In order only: an update in a later segment may belong to an entry of an earlier one, never the reverse.
        for number, segment in list(self._segments.items())[:-1]:
            if segment.live > 0:
                break
            self._drop_segment(number)
        if not self._entries and len(self._segments) == 1:
            self._drop_segment(next(iter(self._segments)))

    def _drop_segment(self, number: int) -> None:
        segment = self._segments.pop(number)
        os.close(segment.descriptor)
        self._bytes -= segment.size
        with contextlib.suppress(OSError):
            disk.remove_from(self._folder, f"ring-{number:08d}.seg")

    # --- segments

    def _write(self, frame: bytes, entry: Entry | None, now: float) -> None:
        blob = self._seal.close(frame, _PURPOSE)
        data = _LENGTH.pack(len(blob)) + blob
        try:
            number, segment = self._segment(now)
            written = os.write(segment.descriptor, data)
            if written != len(data):
                os.ftruncate(segment.descriptor, segment.size)
                raise OSError(28, "No space left on device")
        except OSError as error:
            self.full = error.strerror or str(error)
            self._counters["ring_not_stored"] += 1
            return
        self.full = ""
        if entry is not None:
            entry.segment, entry.offset, entry.length = number, segment.size + _LENGTH.size, len(blob)
            segment.live += 1
            segment.entries += 1
        segment.size += len(data)
        self._bytes += len(data)

    def _segment(self, now: float) -> tuple[int, _Segment]:
        if self._segments:
            number = next(reversed(self._segments))
            segment = self._segments[number]
            old = now - segment.begun_at > self.retention_s / SEGMENTS_A_RETENTION
            most = min(SEGMENT_ENTRIES, max(16, self.size // SEGMENTS_A_RETENTION))
            if segment.size < SEGMENT_BYTES and segment.entries < most and not old:
                return number, segment
        else:
            number = 0
        number += 1
        segment = _Segment(disk.append_to(self._folder, f"ring-{number:08d}.seg"), now)
        self._segments[number] = segment
        return number, segment

    def _load(self) -> None:
        """Takes up the segments that a process before us left; those of another key are removed."""
        names = sorted(name for name in os.listdir(self._folder) if _NAME.match(name))  # noqa: PTH208 - by descriptor
        for name in names:
            self._load_segment(name)
        while len(self._entries) > self.size:
            self._forget(next(iter(self._entries.values())))

    def _load_segment(self, name: str) -> None:
        number = int(name[5:13])
        try:
            descriptor = disk.append_to(self._folder, name)
        except OSError:
            self._counters["ring_unreadable"] += 1
            return
        segment = _Segment(descriptor, 0.0)
        self._segments[number] = segment
        data = os.pread(descriptor, min(os.fstat(descriptor).st_size, 2 * self._max_bytes), 0)
        try:
            while segment.size + _LENGTH.size <= len(data):
                (length,) = _LENGTH.unpack_from(data, segment.size)
                start = segment.size + _LENGTH.size
                if start + length > len(data):
                    break
                head, body = decode_frame(self._seal.open(data[start : start + length], _PURPOSE))
                self._take(head, body, number, start, length)
                segment.size = start + length
        except SealError:
            self._counters["ring_lost_key"] += 1
        except WireError:
            self._counters["ring_unreadable"] += 1
        os.ftruncate(descriptor, segment.size)
        self._bytes += segment.size
        if not segment.size:
            self._drop_segment(number)

    def _take(self, head: dict[str, Any], body: bytes, number: int, start: int, length: int) -> None:
        if head.get("t") == "update":
            entry = self._entries.get(str(head.get("id")))
            if entry is not None:
                self._tally(entry, -1)
                for name in _UPDATED:
                    value = head.get(name)
                    setattr(entry, name, tuple(value) if isinstance(value, list) else value)
                self._tally(entry, 1)
            return
        entry = _entry_of(record_of(head, body))
        entry.segment, entry.offset, entry.length = number, start, length
        self._add(entry)
        segment = self._segments[number]
        segment.live += 1
        segment.entries += 1
        segment.begun_at = segment.begun_at or entry.at


def _entry_of(record: Record) -> Entry:
    return Entry(
        record.id,
        record.at,
        record.client_ip,
        record.client_port,
        record.method,
        record.host,
        record.path[:256],
        record.blocked,
    )
