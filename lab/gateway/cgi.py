"""Runs a CGI program as uhttpd does (RFC 3875): a clean environment, the body on standard input, headers out."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from lab.gateway.http import Handler, Request, Response

#: uhttpd's script_timeout, and how many scripts it runs at a time (max_requests).
TIMEOUT_S = 60.0
PARALLEL = 3

#: The headers that uhttpd hands on, under the names it gives them.
_HANDED = (
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "connection",
    "cookie",
    "host",
    "origin",
    "referer",
    "user-agent",
    "x-http-method-override",
)
#: What the lab's own programs need to find each other.
_OURS = re.compile(r"DPI_DUAL_|DPI_LAB_")
_BINDINGS = Path(__file__).resolve().parent.parent / "bindings"


def cgi_handler(program: Path, prefix: str, ubus_socket: Path) -> Handler:
    """Serves all below `prefix` with one program."""
    turns = asyncio.Semaphore(PARALLEL)

    async def handle(request: Request) -> Response:
        async with turns:
            return await _run(program, _environment(request, program, prefix, ubus_socket), request.body)

    return handle


def _environment(request: Request, program: Path, prefix: str, ubus_socket: Path) -> dict[str, str]:
    headers = request.headers
    optional = {"CONTENT_TYPE": headers.get("content-type"), "CONTENT_LENGTH": headers.get("content-length")}
    return {
        "PATH": "/sbin:/usr/sbin:/bin:/usr/bin",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "dpi-dual-lab",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "REQUEST_METHOD": request.method,
        "REQUEST_URI": request.path + ("?" + request.query if request.query else ""),
        "SCRIPT_NAME": f"/cgi-bin/{program.name}",
        "SCRIPT_FILENAME": str(program),
        "PATH_INFO": request.path.removeprefix(prefix),
        "QUERY_STRING": request.query,
        "REMOTE_ADDR": "127.0.0.1",
        "PYTHONPATH": str(_BINDINGS),
        "DPI_LAB_UBUS_SOCKET": str(ubus_socket),
        **{name: value for name, value in os.environ.items() if _OURS.match(name)},
        **{f"HTTP_{name.upper().replace('-', '_')}": headers[name] for name in _HANDED if name in headers},
        **{name: value for name, value in optional.items() if value is not None},
    }


async def _run(program: Path, environment: dict[str, str], body: bytes) -> Response:
    process = await asyncio.create_subprocess_exec(
        str(program), env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate(body)
    except TimeoutError:
        output = b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    head, blank, content = output.partition(b"\r\n\r\n")
    if not blank:
        print(f"gateway: {program.name} printed no headers", file=sys.stderr, flush=True)
        page = b"<h1>Bad Gateway</h1>The process did not produce any response"
        return Response(502, "Bad Gateway", "text/html", page, close=True)
    headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n"))
    code, _, reason = headers.pop("Status", "200 OK").partition(" ")
    return Response(int(code), reason, headers.pop("Content-Type", ""), content, headers)
