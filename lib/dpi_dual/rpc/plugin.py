"""The rpcd side of a plugin: hands rpcd's request to the engine and its answer back, importing next to nothing.

rpcd starts an interpreter for every call, so start-up time is everything here: `os`, `json` and `socket`
would each cost more than the call itself. What is rare (no engine, `start`, `list`) is imported when it happens.
"""

import _socket
import posix
import sys

from dpi_dual.paths import ENGINE_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: LuCI gives a call 20 s; we answer before it gives up.
ENGINE_TIMEOUT_S = 15.0
#: What only asks is answered in milliseconds; a page that polls must not wait long for an engine that hangs.
READ_TIMEOUT_S = 5.0

#: These wait for the kernel, for CrowdSec or for the analyser.
_SLOW = (
    "mirror_start",
    "mirror_stop",
    "replay",
    "ban",
    "unban",
    "context",
    "replay_request",
    "ban_ip",
    "get_ip_context",
)

#: These act on the engine itself, so the engine is not the one to ask.
SERVICE_ACTIONS = ("start", "stop", "restart")
SERVICE_OBJECTS = ("dpi.status", "luci.dpi-dual")


def request_line(obj: str, method: str, arguments: bytes) -> bytes:
    """What the engine is sent: one line, whatever `arguments` holds."""
    # A raw newline can only stand between JSON tokens; as a blank it cannot end the request early.
    return f'["{obj}","{method}",'.encode() + (arguments.replace(b"\n", b" ").strip() or b"{}") + b"]\n"


def ask_engine(obj: str, method: str, arguments: bytes) -> bytes:
    """One call over the engine's socket: `arguments` is a JSON object, the answer a line of JSON.

    Raises OSError when there is no engine or it does not answer in time.
    """
    request = request_line(obj, method, arguments)
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.settimeout(ENGINE_TIMEOUT_S if method in _SLOW else READ_TIMEOUT_S)
        sock.connect(ENGINE_SOCKET)
        sock.sendall(request)
        chunks = []
        while chunk := sock.recv(65536):
            chunks.append(chunk)
            if chunk.endswith(b"\n"):
                return b"".join(chunks)
    finally:
        sock.close()
    raise ConnectionResetError("the engine closed the connection before it answered")


def _read_all(descriptor: int) -> bytes:
    chunks = []
    while chunk := posix.read(descriptor, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[posix.write(descriptor, data) :]


def main(obj: str) -> "NoReturn":
    """Serves `argv`: `list`, or `call METHOD` with the arguments on standard input; never returns."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["call"] and len(arguments) == 2 and arguments[1].isidentifier():
        method = arguments[1]
        given = _read_all(0)
        if method in SERVICE_ACTIONS and obj in SERVICE_OBJECTS:
            from dpi_dual.rpc import service

            answer = service.answer(obj, method, given)
        else:
            try:
                answer = ask_engine(obj, method, given)
            except OSError as error:
                from dpi_dual.rpc import offline

                answer = offline.answer(obj, method, given, error)
        _write_all(1, answer)
    elif arguments == ["list"]:
        from dpi_dual.rpc import signatures

        _write_all(1, signatures.of_object(obj))
    else:
        _write_all(2, f"usage: {sys.argv[0]} list | call METHOD <arguments.json\n".encode())
        posix._exit(2)
    # Skips the interpreter's tear-down, a tenth of the whole call.
    posix._exit(0)
