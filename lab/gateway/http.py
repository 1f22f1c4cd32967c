"""A small HTTP/1.1 server in uhttpd's manner: bounded in everything a client can send, keep-alive, chunked answers."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

from lab.gateway import blobmsg, jsonrpc
from lab.gateway.bus import Bus
from lab.gateway.sessions import NULL_SESSION

#: uhttpd's own bound on the text of one JSON-RPC request; a CGI program has to bound its input itself.
MAX_BODY = 65536
MAX_CGI_BODY = 4 << 20
MAX_HEAD = 16384
MAX_HEADERS = 100
MAX_CONNECTIONS = 100
REQUEST_TIMEOUT_S = 60.0
KEEP_ALIVE_S = 20.0

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
_JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """One request; header names are in lower case, the path is without its query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    query: str = ""


@dataclass
class Response:
    """`body` is text at once, or pieces that are sent as they come."""

    code: int = 200
    reason: str = "OK"
    content_type: str = _JSON
    body: bytes | AsyncIterator[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    close: bool = False


Handler = Callable[[Request], Awaitable[Response]]


class BadRequestError(Exception):
    """What the client sent cannot be understood; the connection ends after the answer."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class TooLongError(Exception):
    """The body is longer than a JSON-RPC request may be."""


def ubus_handler(bus: Bus, prefix: str = "/ubus") -> Handler:
    """What is served under `/ubus`: JSON-RPC by POST, the older REST paths, `list` by GET."""

    async def handle(request: Request) -> Response:
        path = request.path[len(prefix) :]
        if request.method == "POST" and path in ("", "/"):
            return Response(body=jsonrpc.respond(bus, request.body))
        if request.method == "POST" and path.startswith("/call/"):
            sid = _bearer(request.headers.get("authorization", ""))
            return Response(body=await jsonrpc.call_path(bus, path[len("/call/") :], sid, request.body))
        if request.method == "GET" and (path == "/list" or path.startswith("/list/")):
            pattern = path[len("/list/") :] or None
            objects = list(bus.lookup(pattern))
            if not objects:
                error = {"code": 4, "message": "Not found"}
                return Response(500, "Ubus Protocol Error", body=blobmsg.encode(error))
            return Response(body=blobmsg.encode(jsonrpc.describe(objects, with_names=pattern is None)))
        if request.method == "OPTIONS":
            return Response(headers={"Content-Length": "0"})
        if request.method in ("GET", "POST"):
            return Response(404, "Not Found", "text/html", b"<h1>Not Found</h1>")
        return Response(400, "Bad Request", "text/html", b"<h1>Bad Request</h1>Invalid Request", close=True)

    return handle


def _bearer(value: str) -> str:
    return value[7:] if value[:7].lower() == "bearer " else NULL_SESSION


class Server:
    """Serves handlers by the first part of the path (`/ubus`, `/luci-static` and the like)."""

    def __init__(self, routes: dict[str, Handler]) -> None:
        self._routes = routes
        self._connections = 0
        self.refused = 0
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._connected, sock=listener, limit=MAX_HEAD)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= MAX_CONNECTIONS:
            self.refused += 1
            writer.close()
            return
        self._connections += 1
        try:
            idle_s = REQUEST_TIMEOUT_S
            while await self._one_request(reader, writer, idle_s):
                idle_s = KEEP_ALIVE_S
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away, or kept us waiting
        finally:
            self._connections -= 1
            writer.close()

    async def _one_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle_s: float) -> bool:
        """Reads and answers one request; False when the connection is to end."""
        version = "HTTP/1.0"
        try:
            async with asyncio.timeout(idle_s):
                head = await _read_head(reader)
            method, target, version, headers = _parse_head(head)
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                limit = MAX_BODY if target.startswith("/ubus") else MAX_CGI_BODY
                body = await _read_body(reader, writer, headers, limit)
        except TooLongError:
            await _send(writer, version, Response(body=jsonrpc.PARSE_ERROR_TEXT, close=True), False)
            return False
        except BadRequestError as problem:
            page = f"<h1>{problem.reason}</h1>".encode()
            await _send(writer, version, Response(problem.code, problem.reason, "text/html", page, close=True), False)
            return False
        path, _, query = target.partition("?")
        # As in uhttpd, whose strings end at a NUL.
        request = Request(method, unquote(path).partition("\0")[0], headers, body, query)
        response = await self._handler(request.path)(request)
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close" and not response.close
        await _send(writer, version, response, keep, method == "HEAD")
        return keep

    def _handler(self, path: str) -> Handler:
        for prefix, handler in self._routes.items():
            if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
                return handler
        return not_found


async def not_found(request: Request) -> Response:
    page = b"<h1>Not Found</h1>The requested URL was not found on this server."
    return Response(404, "Not Found", "text/html", page)


async def _read_head(reader: asyncio.StreamReader) -> list[str]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise BadRequestError(431, "Request Header Fields Too Large") from None
    return head.decode("latin-1").lstrip("\r\n").split("\r\n")[:-2]


def _parse_head(lines: list[str]) -> tuple[str, str, str, dict[str, str]]:
    words = lines[0].split(" ") if lines else []
    if len(words) != 3 or words[0] not in _METHODS or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        raise BadRequestError(400, "Bad Request")
    if len(lines) > MAX_HEADERS:
        raise BadRequestError(431, "Request Header Fields Too Large")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.match(name) or _CONTROL.search(value):
            raise BadRequestError(400, "Bad Request")
        name = name.lower()
        if name in headers and name in ("content-length", "transfer-encoding"):
            raise BadRequestError(400, "Bad Request")
        headers[name] = value.strip(" \t")
    if "content-length" in headers and "transfer-encoding" in headers:
        raise BadRequestError(400, "Bad Request")
    if headers.get("transfer-encoding", "chunked").lower() != "chunked":
        raise BadRequestError(501, "Not Implemented")
    if not re.fullmatch("[0-9]{1,10}", headers.get("content-length", "0")):
        raise BadRequestError(400, "Bad Request")
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise BadRequestError(412, "Precondition Failed")
    return words[0], words[1], words[2], headers


async def _read_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str], limit: int
) -> bytes:
    if "expect" in headers:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "transfer-encoding" not in headers:
        length = int(headers.get("content-length", "0"))
        if length > limit:
            raise TooLongError
        return await reader.readexactly(length)
    body = bytearray()
    while True:
        size = await _line(reader)
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}(;.*)?", size):
            raise BadRequestError(400, "Bad Request")
        length = int(size.split(b";", 1)[0], 16)
        if length == 0:
            break
        if len(body) + length > limit:
            raise TooLongError
        body += await reader.readexactly(length)
        if await reader.readexactly(2) != b"\r\n":
            raise BadRequestError(400, "Bad Request")
    for _ in range(MAX_HEADERS):
        if not await _line(reader):
            return bytes(body)
    raise BadRequestError(431, "Request Header Fields Too Large")


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n"))[:-2]
    except asyncio.LimitOverrunError:
        raise BadRequestError(400, "Bad Request") from None


async def _send(
    writer: asyncio.StreamWriter, version: str, response: Response, keep: bool, head_only: bool = False
) -> None:
    chunked = version == "HTTP/1.1" and "Content-Length" not in response.headers
    lines = [f"{version} {response.code:03} {response.reason}", f"Connection: {'Keep-Alive' if keep else 'close'}"]
    lines += ["Transfer-Encoding: chunked"] if chunked else []
    lines += [f"Keep-Alive: timeout={KEEP_ALIVE_S:.0f}"] if keep else []
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    lines += [f"Content-Type: {response.content_type}"] if response.content_type else []
    lines += ["", ""]
    writer.write("\r\n".join(lines).encode("latin-1"))
    pieces = _once(response.body) if isinstance(response.body, bytes) else response.body
    async for piece in pieces:
        if piece and not head_only:
            writer.write(b"%X\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await writer.drain()
    if chunked and not head_only:
        writer.write(b"0\r\n\r\n")
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        await writer.drain()


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
