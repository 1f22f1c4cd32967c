"""Runs rpcd's exec plugins as rpcd runs them: `PLUGIN list` once at start, `PLUGIN call METHOD` for each call."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.gateway import blobmsg
from lab.gateway.status import Status

#: rpcd writes the arguments once and closes the pipe: what does not fit in a pipe is lost.
MAX_ARGUMENTS = 65536

#: rpcd kills a plugin after this long.
CALL_TIMEOUT_S = 120.0

#: rpcd itself would wait for ever for a plugin that prints its methods and stays.
LIST_TIMEOUT_S = 5.0

MAX_OUTPUT = 16 << 20

Signature = dict[str, dict[str, str]]
"""Method → parameter → type name as `ubus -v list` shows it."""


class PluginFaultError(RuntimeError):
    """A plugin did what would hurt a router: the message says what."""


@dataclass(frozen=True)
class Plugin:
    """One executable of the plugin directory; its file name is the name of its ubus object."""

    path: Path
    signature: Signature

    @property
    def name(self) -> str:
        return self.path.name


def scan(directory: Path) -> tuple[list[Plugin], list[str]]:
    """Asks every executable of `directory` for its methods, one after another; also what was wrong with some."""
    plugins: list[Plugin] = []
    faults: list[str] = []
    for path in sorted(directory.iterdir()):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) or not mode & stat.S_IXUSR:
            continue
        try:
            signature = _list_methods(path.absolute())
        except PluginFaultError as fault:
            faults.append(str(fault))
            continue
        if signature is None:
            faults.append(f"{path.name}: `list` printed no JSON object with methods; it gets no ubus object")
        else:
            plugins.append(Plugin(path.absolute(), signature))
    return plugins, faults


def _list_methods(path: Path) -> Signature | None:
    try:
        process = subprocess.Popen(
            [path, "list"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise PluginFaultError(f"{path.name}: cannot be run: {error.strerror}") from error
    with process:
        try:
            output, _ = process.communicate(timeout=LIST_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise PluginFaultError(
                f"{path.name}: `list` did not end within {LIST_TIMEOUT_S:.0f} s; "
                "on a router it would block every object after it"
            ) from None
    try:
        methods = blobmsg.parse_first(output)
    except blobmsg.IncompleteError:
        return None
    if not isinstance(methods, dict) or not methods:
        return None
    return {
        method: {name: type_name(example) for name, example in parameters.items()}
        for method, parameters in methods.items()
        if isinstance(parameters, dict)
    }


def type_name(example: Any) -> str:
    """The type that an example value in a signature stands for; 8, 16 and 64 stand for integer widths."""
    if isinstance(example, bool):
        return "Boolean"
    if isinstance(example, int):
        if not -(1 << 31) <= example < 1 << 31 or example in (16, 64):
            return "(unknown)"
        return "Boolean" if example == 8 else "Integer"
    if isinstance(example, str):
        return "String"
    if isinstance(example, list):
        return "Array"
    return "Table" if isinstance(example, dict) else "(unknown)"


async def call(
    plugin: Plugin, method: str, arguments: dict[str, Any], timeout_s: float = CALL_TIMEOUT_S
) -> tuple[Status, dict[str, Any] | None]:
    """Runs one call to its end; raises `PluginFaultError` for an answer that a router's rpcd would not survive."""
    try:
        output = await _run([str(plugin.path), "call", method], blobmsg.encode(arguments)[:MAX_ARGUMENTS], timeout_s)
    except TimeoutError:
        return Status.TIMEOUT, None
    except PermissionError:
        return Status.PERMISSION_DENIED, None
    except FileNotFoundError:
        return Status.NOT_FOUND, None
    if not output:
        return Status.NO_DATA, None
    if len(output) > MAX_OUTPUT:
        raise PluginFaultError(f"{plugin.name} {method}: printed more than {MAX_OUTPUT} bytes")
    try:
        answer = blobmsg.parse_first(output)
    except blobmsg.IncompleteError:
        return Status.INVALID_ARGUMENT, None
    if answer is None:
        return Status.NO_DATA, None
    if not isinstance(answer, dict):
        return Status.INVALID_ARGUMENT, None
    size = blobmsg.message_size(answer)
    if size > blobmsg.MAX_MESSAGE:
        raise PluginFaultError(
            f"{plugin.name} {method}: an answer of {size} bytes; over {blobmsg.MAX_MESSAGE} ubusd drops rpcd, "
            "and with it every session and object of the router"
        )
    return Status.OK, answer


async def _run(argv: list[str], arguments: bytes, timeout_s: float) -> bytes:
    """What `argv` wrote to standard output until it exited.

    Not asyncio's own subprocesses: their `wait` may also wait for a grandchild that inherited a pipe,
    and rpcd does not; nor does it take the end of the output for the end of the call.
    """
    loop = asyncio.get_running_loop()
    stdin_read, stdin_write = os.pipe()
    stdout_read, stdout_write = os.pipe()
    stderr_read, stderr_write = os.pipe()
    process = None
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 - only until it has been started
            argv, stdin=stdin_read, stdout=stdout_write, stderr=stderr_write
        )
    finally:
        for descriptor in (stdin_read, stdout_write, stderr_write):
            os.close(descriptor)
        if process is None:
            for descriptor in (stdin_write, stdout_read, stderr_read):
                os.close(descriptor)
    output = bytearray()
    open_pipes = {stdout_read, stderr_read}
    finished: asyncio.Future[None] = loop.create_future()

    def drain(descriptor: int) -> None:
        """Takes what is there now; stops watching a pipe at its end."""
        while descriptor in open_pipes:
            try:
                chunk = os.read(descriptor, 65536)
            except BlockingIOError:
                return
            if not chunk:
                loop.remove_reader(descriptor)
                open_pipes.discard(descriptor)
            elif descriptor == stdout_read and len(output) <= MAX_OUTPUT:
                output.extend(chunk)

    def exited() -> None:
        if not finished.done():
            finished.set_result(None)

    pidfd = os.pidfd_open(process.pid)
    try:
        for descriptor in (stdin_write, stdout_read, stderr_read):
            os.set_blocking(descriptor, False)
        loop.add_reader(pidfd, exited)
        loop.add_reader(stdout_read, drain, stdout_read)
        loop.add_reader(stderr_read, drain, stderr_read)
        try:
            os.write(stdin_write, arguments)
        except BrokenPipeError:
            pass  # it does not read its arguments, and need not
        finally:
            os.close(stdin_write)
        try:
            await asyncio.wait_for(finished, timeout_s)
        except (TimeoutError, asyncio.CancelledError):
            process.send_signal(signal.SIGKILL)
            raise
        drain(stdout_read)
        drain(stderr_read)
        return bytes(output)
    finally:
        for descriptor in (pidfd, stdout_read, stderr_read):
            loop.remove_reader(descriptor)
            os.close(descriptor)
        process.wait()
