"""dpi-duald: runs the engine in the foreground, as procd wants it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from dpi_dual import __version__, paths
from dpi_dual.engine.control import ControlServer
from dpi_dual.engine.service import AlreadyRunning, Engine
from dpi_dual.log import to_stderr


def main(argv: list[str] | None = None) -> int:
    """Runs until SIGTERM; returns 0 after a clean stop, 1 if another engine runs, 2 on wrong usage."""
    arguments = sys.argv[1:] if argv is None else argv
    only, verbose = _options(arguments) if arguments else (frozenset[str](), False)
    # Whatever started us: what we make is for root and its group.
    os.umask(0o027)
    to_stderr(logging.DEBUG if verbose else logging.INFO, "%(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_run(only))
    except AlreadyRunning as error:
        print(f"dpi-duald: {error}", file=sys.stderr)
        return 1
    return 0


def _options(arguments: list[str]) -> tuple[frozenset[str], bool]:
    """The parts to run (all if none) and whether to log more."""
    # Imported here: the service starts without options, and half a megabyte would stay with it.
    import argparse

    parser = argparse.ArgumentParser(
        prog="dpi-duald",
        description="The DPI Dual-Stream engine in the foreground. SIGHUP reloads its UCI settings, SIGTERM stops it.",
    )
    parser.add_argument("--version", action="version", version=f"dpi-duald {__version__}")
    parser.add_argument(
        "--only", action="append", choices=["tap", "lan", "correlation"], default=[], help="run only this part"
    )
    parser.add_argument("--verbose", action="store_true", help="log what is going on, not only what is wrong")
    options = parser.parse_args(arguments)
    return frozenset(options.only), options.verbose


async def _run(only: frozenset[str]) -> None:
    engine = Engine(only=only)
    # Imported here: the dispatcher needs the engine's types, and its schemas are the larger half of a start.
    from dpi_dual.rpc.dispatch import Dispatcher

    control = ControlServer(paths.ENGINE_SOCKET, Dispatcher(engine))
    engine.attach("control", control.run, control)
    await engine.run()


if __name__ == "__main__":
    sys.exit(main())
