"""The engine's only door: a unix socket that takes one JSON line a request and answers with one JSON line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from dpi_dual.directory import private_socket

#: rpcd cuts a plugin's input at 65,536 bytes; a request is that and a little more.
REQUEST_BYTES = 72 * 1024
#: Of a longer one so much is read before its sender is cut off.
SKIPPED_BYTES = 32 * 1024 * 1024
#: ubus refuses messages over 1 MiB, and one near it costs rpcd its place on the bus.
ANSWER_BYTES = 256 * 1024
CONNECTIONS = 64
#: A peer that is slower than this to send its line or to take its answer is dropped.
PEER_TIMEOUT_S = 20.0
#: How soon a socket that somebody removed is missed: nobody could reach the engine any more.
LOOK_S = 10.0

log = logging.getLogger(__name__)

Dispatch = Callable[[str, str, object], Awaitable[dict[str, object]]]


def encode(answer: dict[str, object]) -> bytes:
    """One line of JSON: ASCII only, so that no invalid UTF-8 or raw NUL can reach ubus."""
    return json.dumps(answer, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


class ControlServer:
    """Serves `["object","method",{params}]` lines; `dispatch(object, method, params)` makes the answers."""

    def __init__(self, path: str, dispatch: Dispatch) -> None:
        self._path = path
        self._dispatch = dispatch
        self._open = 0
        self._idle: dict[asyncio.StreamWriter, None] = {}
        """Connections that wait for their peer's next line, the longest idle first."""
        self._counters = {
            "control_requests": 0,
            "control_bad_requests": 0,
            "control_idle_dropped": 0,
            "control_refused": 0,
            "control_slow_peers": 0,
        }

    def counters(self) -> dict[str, int]:
        return dict(self._counters)

    async def run(self) -> None:
        """Listens until cancelled; the socket is 0660 and gone afterwards. FileNotFoundError if it goes before."""
        path = Path(self._path)
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(
            self._serve, sock=private_socket(self._path, 0o660), limit=REQUEST_BYTES
        )
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                if not path.exists():
                    raise FileNotFoundError(f"somebody removed {path}")
        finally:
            # Not `async with`: since Python 3.12 that waits until every peer has gone.
            server.close()
            for writer in self._idle:
                writer.transport.abort()
            path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= CONNECTIONS and not self._make_room():
            self._counters["control_refused"] += 1
            writer.close()
            return
        self._open += 1
        try:
            while line := await self._next_line(reader, writer):
                writer.write(encode_bounded(await self._answer(line)))
                await asyncio.wait_for(writer.drain(), PEER_TIMEOUT_S)
        except TimeoutError:
            self._counters["control_slow_peers"] += 1
        except ConnectionError:
            pass  # the peer left; it has nobody to tell
        finally:
            self._open -= 1
            with contextlib.suppress(ConnectionError):
                writer.close()

    def _make_room(self) -> bool:
        """Drops the connection that has been idle longest: those that are merely held open lock nobody out."""
        writer = next(iter(self._idle), None)
        if writer is None:
            return False
        del self._idle[writer]
        self._counters["control_idle_dropped"] += 1
        writer.transport.abort()
        return True

    async def _next_line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        self._idle[writer] = None
        try:
            return await asyncio.wait_for(reader.readline(), PEER_TIMEOUT_S)
        except ValueError:  # no newline within the limit
            self._counters["control_bad_requests"] += 1
            writer.write(encode({"error": f"the request is longer than {REQUEST_BYTES} bytes", "code": "too_long"}))
            await self._skip(reader)
            return b""
        finally:
            self._idle.pop(writer, None)

    async def _skip(self, reader: asyncio.StreamReader) -> None:
        """Reads a line that is too long to its end: closed with input unread, the peer would not get our answer."""
        left = SKIPPED_BYTES
        while left > 0:
            piece = await asyncio.wait_for(reader.read(65536), PEER_TIMEOUT_S)
            if not piece or piece.endswith(b"\n"):
                return
            left -= len(piece)

    async def _answer(self, line: bytes) -> dict[str, object]:
        self._counters["control_requests"] += 1
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            self._counters["control_bad_requests"] += 1
            return {"error": "the arguments are not valid JSON (rpcd cuts them at 65,536 bytes)", "code": "bad_json"}
        match request:
            case [str(obj), str(method), params]:
                return await self._dispatch(obj, method, params)
        self._counters["control_bad_requests"] += 1
        return {"error": 'a request is one line: ["object", "method", {parameters}]', "code": "bad_request"}


def encode_bounded(answer: dict[str, object]) -> bytes:
    """`encode`, but an answer over `ANSWER_BYTES` becomes an error that says how to ask for less."""
    try:
        line = encode(answer)
    except (TypeError, ValueError) as error:
        log.error("an answer is not JSON", exc_info=error)
        line = encode({"error": f"the answer cannot be written as JSON: {error}", "code": "internal"})
    if len(line) > ANSWER_BYTES:
        return encode(
            {
                "error": f"the answer has {len(line)} bytes, more than {ANSWER_BYTES}; ask for fewer rows with limit",
                "code": "too_large",
            }
        )
    return line
