"""One HTTP/1.1 request to CrowdSec's local API: bounded in size and time, without OpenSSL in the engine's memory.

The standard library's HTTP client pulls in `ssl` and `email`, some 6 MiB that would stay resident for what is one
request every few seconds, to loopback in nearly every case. Hence plain HTTP only: an `https` address is refused
by name (`Endpoint.parse`), with the advice to use a TLS tunnel such as HAProxy's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

CONNECT_S = 3.0
#: The longest silence within an answer.
IDLE_S = 10.0
#: What is read at once, and the largest head of an answer: small, so that taking a piece of the decision stream
#: apart holds up the engine for a few milliseconds only.
PIECE = 16 * 1024
#: An ordinary answer; the decision stream has a bound of its own.
MAX_BODY = 1024 * 1024

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class LapiError(Exception):
    """No usable answer. `code` is unreachable, timeout, bad_answer, bad_url or https; `sent`: LAPI may have acted."""

    def __init__(self, code: str, message: str, sent: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where LAPI listens."""

    host: str
    port: int
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """`http://host:port/prefix`; LapiError says what is wrong with anything else."""
        scheme, separator, rest = url.strip().partition("://")
        if separator and scheme.lower() == "https":
            raise LapiError(
                "https",
                f"dpi-dual.crowdsec.url: {url[:200]!r} is an https address, which the engine does not speak"
                " (OpenSSL would cost it 6 MiB of memory)",
            )
        authority, slash, path = rest.partition("/")
        bad = LapiError("bad_url", f"dpi-dual.crowdsec.url: {url[:200]!r} is no address such as http://127.0.0.1:8080")
        if scheme.lower() != "http" or not authority or "@" in authority or not (url.isascii() and url.isprintable()):
            raise bad
        host, colon, port = authority.rpartition(":")
        if not colon or authority.endswith("]"):
            host, port = authority, "80"
        host = host.removeprefix("[").removesuffix("]")
        prefix = (slash + path).rstrip("/")
        if not host or " " in url or "?" in prefix or "#" in prefix:
            raise bad
        if not port.isdigit() or len(port) > 5 or not 0 < int(port) < 65536:
            raise bad
        return cls(host, int(port), prefix)

    @property
    def is_loopback(self) -> bool:
        """True when no other machine can listen to what we say."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def quoted(value: str) -> str:
    """`value` as part of a query (RFC 3986 percent-encoding)."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in value.encode("utf-8", "replace"))


def query(path: str, **parameters: object) -> str:
    """`path` with its query string."""
    return path + "?" + "&".join(f"{name}={quoted(str(value))}" for name, value in parameters.items())


class Answer:
    """An answer whose head has come; the body is read once, by `read` or `pieces`."""

    def __init__(self, reader: asyncio.StreamReader, status: int, headers: Mapping[str, str], idle_s: float) -> None:
        self.status = status
        self._reader = reader
        self._headers = headers
        self._idle_s = idle_s

    async def read(self, most: int = MAX_BODY) -> bytes:
        """The whole body, at most `most` bytes of it; LapiError if it is larger."""
        body = bytearray()
        async for piece in self.pieces(most):
            body += piece
        return bytes(body)

    async def pieces(self, most: int) -> AsyncIterator[bytes]:
        """The body as it comes (RFC 9112, section 6): chunked, of a stated length, or up to the end."""
        if self.status in (204, 304):
            return
        left = most
        async for piece in self._body():
            left -= len(piece)
            if left < 0:
                raise LapiError("bad_answer", f"the answer is larger than {most} bytes", True)
            yield piece

    async def _body(self) -> AsyncIterator[bytes]:
        if "chunked" in self._headers.get("transfer-encoding", "").lower():
            while size := _chunk_size(await self._line()):
                async for piece in self._exactly(size):
                    yield piece
                if await self._line():
                    raise LapiError("bad_answer", "a chunk of the answer is longer than it said", True)
            return  # trailers, if any, say nothing that we need: the connection is closed after this answer
        length = self._headers.get("content-length")
        if length is None:
            while piece := await self._some(PIECE):
                yield piece
            return
        if not (length.isascii() and length.isdigit() and len(length) < 16):
            raise LapiError("bad_answer", "the answer states no usable length", True)
        async for piece in self._exactly(int(length)):
            yield piece

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        while size:
            piece = await self._some(min(size, PIECE))
            if not piece:
                raise LapiError("unreachable", "the connection was closed in the middle of an answer", True)
            size -= len(piece)
            yield piece

    async def _some(self, most: int) -> bytes:
        async with _patience(self._idle_s):
            return await self._reader.read(most)

    async def _line(self) -> bytes:
        async with _patience(self._idle_s):
            line = await self._reader.readuntil(b"\n")
        return line.rstrip(b"\r\n")


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not 0 < len(digits) <= 8 or not all(char in b"0123456789abcdefABCDEF" for char in digits):
        raise LapiError("bad_answer", "the answer has a chunk without a size", True)
    return int(digits, 16)


@asynccontextmanager
async def _patience(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise LapiError("timeout", f"no answer within {seconds:g} s", True) from None


@asynccontextmanager
async def request(
    endpoint: Endpoint,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    idle_s: float = IDLE_S,
) -> AsyncIterator[Answer]:
    """Asks, on a connection of its own, and gives the answer once its head is there.

    LapiError for whatever goes wrong up to the end of the block, `sent` telling whether LAPI may have acted.
    """
    head = _head(endpoint, method, path, headers, len(body))
    try:
        async with asyncio.timeout(min(CONNECT_S, idle_s)):
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=PIECE)
    except TimeoutError:
        raise LapiError("timeout", f"{endpoint} does not take connections") from None
    except OSError as error:
        raise LapiError("unreachable", f"{endpoint}: {_reason(error)}") from None
    try:
        writer.write(head + body)
        async with _patience(idle_s):
            await writer.drain()
            status, fields = await _read_head(reader)
        yield Answer(reader, status, fields, idle_s)
    except (OSError, EOFError) as error:
        raise LapiError("unreachable", f"{endpoint}: {_reason(error)}", True) from None
    except asyncio.LimitOverrunError:
        raise LapiError("bad_answer", f"{endpoint} does not answer as an HTTP server", True) from None
    finally:
        writer.close()


def _reason(error: OSError | EOFError) -> str:
    if isinstance(error, EOFError):
        return "the connection was closed before the answer was complete"
    # asyncio puts the address into the text once more; a resolver's numbers are negative
    return os.strerror(error.errno) if error.errno and error.errno > 0 else (error.strerror or str(error))[:200]


def _head(endpoint: Endpoint, method: str, path: str, headers: Mapping[str, str], length: int) -> bytes:
    lines = [f"{method} {endpoint.prefix}{path} HTTP/1.1", f"Host: {endpoint}", "Connection: close"]
    lines += ["Accept: application/json", "User-Agent: dpi-dual/1", f"Content-Length: {length}"]
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise LapiError("bad_url", f"the {name} header would hold a character that HTTP does not allow")
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    while True:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.split("\r\n")
        version, _, rest = first.partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
            raise LapiError("bad_answer", f"not an HTTP answer: {first[:60]!r}", True)
        if not code.startswith("1"):  # 1xx: the answer itself is still to come
            pairs = (line.partition(":") for line in lines if ":" in line)
            return int(code), {name.strip().lower(): value.strip() for name, _, value in pairs}
