"""Processes beside the engine: what is rarely used, or slow, or large, is not to stay in its memory."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import dpi_dual

_LIBRARY = str(Path(next(iter(dpi_dual.__path__))).resolve().parent)


def own_program(module: str) -> list[str]:
    """The command that runs `main` of a module of ours.

    It finds this library wherever it lies; `-I` keeps the surroundings from mixing in another one.
    """
    boot = f"import sys; sys.path.insert(0, sys.argv.pop(1)); from {module} import main; sys.exit(main())"
    return [sys.executable, "-I", "-c", boot, _LIBRARY]


async def run_process(command: list[str], given: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
    """Exit status, output and complaints of a command; TimeoutError or OSError if it did not come to that."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, complaint = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out, complaint
