"""ubus events from the engine: through python3-ubus in a process of its own where it is installed, else `ubus send`."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE, Process

from dpi_dual.processes import own_program, run_process

#: An event that is not sent within this is given up, and the process with it.
TIMEOUT_S = 5.0
#: The process of the binding costs 9 MiB and 40 ms to start, a `ubus send` nothing and 3 ms: it is worth having only
#: while events come one after the other.
IDLE_S = 15.0

_COMMAND = own_program("dpi_dual.correlation.bus_process")
#: As in `bus_process`, which is not imported here.
_NOT_HERE = 3


def find_ubus() -> str:
    """Path of the command, '' if there is none; `shutil` would load three compression libraries."""
    for folder in os.environ.get("PATH", "/bin:/usr/bin").split(":"):
        if folder.startswith("/") and os.access(f"{folder}/ubus", os.X_OK):
            return f"{folder}/ubus"
    return ""


class Bus:
    """Sends one event at a time."""

    def __init__(self, command: str) -> None:
        """`command`: path of `ubus`."""
        self._command = command
        self._process: Process | None = None
        self._binding = True
        """False once it turned out not to be installed."""
        self.bound = 0
        """Events that went through the binding."""

    async def send(self, name: str, text: str) -> bool:
        """True if ubusd took the event; `text` is its content as JSON on one line."""
        if self._binding:
            sent = await self._through_binding(f'["{name}",{text}]\n'.encode("ascii"))
            if sent is not None:
                self.bound += sent
                return sent
        try:
            status, _, _ = await run_process([self._command, "send", name, text], b"", TIMEOUT_S)
        except (OSError, TimeoutError):
            return False
        return status == 0

    async def _through_binding(self, line: bytes) -> bool | None:
        """None: there is no binding, or it failed; the command is to be tried."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                process = self._process = self._process or await asyncio.create_subprocess_exec(
                    *_COMMAND, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
                )
                if process.stdin is None or process.stdout is None:
                    raise BrokenPipeError
                process.stdin.write(line)
                await process.stdin.drain()
                said = await process.stdout.readline()
        except (OSError, TimeoutError):
            said = b""
        if said:
            return said == b"1\n"
        self._binding = await self.rest() != _NOT_HERE
        return None

    async def rest(self) -> int:
        """Ends the process, if there is one; it starts again with the next event. Its exit status, 0 for none."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(1.0):
                return await process.wait()
        except TimeoutError:
            return -1
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
