"""Fuzz targets: what addon, analyser and engine say to each other, and what lies in the buffer's directory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from dpi_dual import config
from dpi_dual.mitm import policy as policies
from dpi_dual.mitm.analyser import Analyser
from dpi_dual.mitm.analysis import Analysis
from dpi_dual.mitm.folder import open_folder
from dpi_dual.mitm.judge import CandidateError, candidates_of
from dpi_dual.mitm.link import MitmLink
from dpi_dual.mitm.policy import PolicyError
from dpi_dual.mitm.queries import Queries
from dpi_dual.mitm.record import encode_record
from dpi_dual.mitm.wire import Frames, WireError, decode_line, encode_frame, encode_line
from tests.mitm.feeder import attack, record

_AT = 1_700_000_000.0


def _line(**content: Any) -> bytes:
    return encode_line(content)


# --- at the engine

_EVENT = {
    "n": 1,
    "id": "00000000000000a1",
    "request_id": "00000000000000a1",
    "at": _AT,
    "event": "waf_block",
    "client_ip": "198.51.100.7",
    "client_port": 40000,
    "host": "shop.example.org",
    "path": "/item",
    "method": "GET",
    "threat_score": 90,
    "categories": ["sqli"],
    "blocked": True,
    "rule": "sqli-union",
    "place": "ARGS:id",
    "tier": "quick",
    "rules": [{"rule": "sqli-union", "category": "sqli", "place": "ARGS:id", "score": 90}],
}
LINES = (
    _line(hello={"version": "1", "session": "a1", "stream": "b2"}),
    _line(stream="b2", events=[_EVENT]),
    _line(
        figures={"entries": 3, "requests_total": 9, "threat_distribution": {"high": 1}, "top_hosts": {"a.example": 2}},
        counters={"analysed_requests": 9},
        problems=[{"code": "mitm_x", "message": "something"}],
    ),
    _line(answer=1, result={"requests": []}),
)


def link(data: bytes) -> None:
    published: list[tuple[str, Any]] = []
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        engine = MitmLink(config.defaults(), db, lambda name, content: published.append((name, content)))
        for line in data.split(b"\n")[:16]:
            try:
                engine._message(decode_line(line))
            except WireError:
                pass
        shown = [engine.status(), engine.buffer(), engine.alerts(), engine.counters(), *engine.store.file()]
        assert len(json.dumps(shown, allow_nan=False)) < 1 << 20
        assert all(len(problem.message) < 1000 for problem in engine.problems())


# --- at the analyser

_COPIES = (encode_record(record(1, at=_AT, body=b"a=1")), encode_record(attack(2, at=_AT)))
FRAMES = (
    *_COPIES,
    encode_frame({"t": "response", "id": f"{1:016x}", "status": 200, "size": 10, "type": "text/html"}),
    encode_frame({"t": "policy", "policy": policies.default().as_dict()})
    + encode_frame({"t": "counters", "requests": 1}),
)
COPIES = tuple(json.dumps(head).encode() for frame in FRAMES for head, _ in Frames().feed(frame))


class _Down:
    """Takes what the analyser says to the addon."""

    def write(self, data: bytes) -> None:
        assert list(Frames().feed(data))


def _analyser(folder: int) -> Analyser:
    here, there = socket.socketpair()
    there.close()
    with here:
        made = Analyser(here, folder, bytes(32), policies.default())
    made._down = _Down()  # type: ignore[assignment]
    return made


@contextlib.contextmanager
def _folder() -> Iterator[int]:
    with tempfile.TemporaryDirectory() as path:
        descriptor = open_folder(path)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _looked_at(analyser: Analyser) -> None:
    """All that it would say and do next."""
    analysis = analyser.analysis
    while (waiting := analysis.take()) is not None:
        waiting.record.request()
        analysis.finish(waiting, None)
    analysis.tick()
    encode_line({"figures": analysis.figures(), "counters": analysis.counters(), "problems": analysis.problems()})
    for number, event in analysis.spool.after(0, 100):
        encode_line({"n": number, **event})
    for entry in analysis.ring.newest():
        json.dumps(entry.summary())
        analysis.ring.record(entry)


def frames(data: bytes) -> None:
    with _folder() as folder:
        analyser = _analyser(folder)
        try:
            for head, body in Frames().feed(data):
                analyser._take(head, body)
        except WireError:
            pass  # it ends, and is started again
        _looked_at(analyser)
        analyser.analysis.close()


def copies(data: bytes) -> None:
    with _folder() as folder:
        analyser = _analyser(folder)
        for line in data.split(b"\n")[:16]:
            try:
                head = decode_line(line)
            except WireError:
                continue
            analyser._take(head, b"a=1&password=x")
        _looked_at(analyser)
        analyser.analysis.close()


QUERIES = tuple(
    json.dumps(question).encode()
    for question in (
        ["context", {"ip": "198.51.100.7", "since": 0.0, "limit": 50}],
        ["request", {"id": f"{1:016x}"}],
        ["candidates", {"exclusions": [{"rule": "sqli-union", "host": "a.example", "path": "/", "param": "id"}]}],
        ["candidates", {"rules": [{"id": "x", "category": "sqli", "pattern": "a+b", "place": "args", "score": 40}]}],
    )
)


@cache
def _queries() -> Queries:
    # Lives as long as the run: its directory is gone at once, the ring keeps its files open.
    with tempfile.TemporaryDirectory() as path:
        analysis = Analysis(open_folder(path), bytes(32), policies.default(), lambda ip, until: None)
        for number in range(5):
            analysis.request(record(number, at=_AT))
    return Queries(analysis, lambda head, body=b"": None)


def queries(data: bytes) -> None:
    try:
        question = json.loads(data)
    except (ValueError, RecursionError):
        return
    match question:
        case ["candidates", dict(given)]:
            with contextlib.suppress(CandidateError):
                candidates_of(given.get("exclusions"), given.get("rules"))
        case [str(name), params] if name != "replay":  # which starts processes
            json.dumps(asyncio.run(_queries().answer(name, params)))


POLICIES = (json.dumps(policies.default().as_dict()).encode(),)


def policy(data: bytes) -> None:
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        found = policies.from_dict(given)
    except PolicyError as error:
        assert len(str(error)) < 500
        return
    assert policies.from_dict(json.loads(json.dumps(found.as_dict()))) == found


# --- files

_LENGTH = struct.Struct("!I")


def _blob(frame: bytes) -> bytes:
    return _LENGTH.pack(len(frame) + 1) + b"\x00" + frame


_SPOOLED = [{"stream": "a1", "last": 5, "acknowledged": 3}, {"n": 4, "event": {"id": "x"}}, {"acknowledged": 4}]
STORED = (
    b"".join(_blob(encode_frame(head)) for head in _SPOOLED),
    b"".join(_blob(frame) for frame in _COPIES) + _blob(encode_frame({"u": f"{1:016x}", "v": [5, ["sqli"]]})),
    POLICIES[0],
)


def stored(data: bytes) -> None:
    from dpi_dual.mitm.analyser import saved_policy

    plain = policies.default().changed(encrypt_buffer=False)
    with _folder() as folder:
        for name in ("spool.bin", "ring-00000001.seg", "policy.json"):
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
        saved_policy(folder)
        analysis = Analysis(folder, bytes(32), plain, _nobody)
        for entry in analysis.ring.newest():
            analysis.ring.record(entry)
        analysis.figures()
        analysis.close()


_nobody: Callable[[str, float], None] = lambda ip, until: None  # noqa: E731
