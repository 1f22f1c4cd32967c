"""Another clock for the router's programs, so that a fault can set it: Debian's `faketime`."""

from __future__ import annotations

import os
from pathlib import Path

FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"

#: Names the file that says how far the router's clock is wrong, in seconds.
CLOCK_VARIABLE = "DPI_LAB_CLOCK"


def faketime_library() -> Path | None:
    """The library that gives programs another clock, or None."""
    return next(iter(Path("/").glob(FAKETIME.lstrip("/"))), None)


def with_own_clock() -> dict[str, str]:
    """The environment of a program that goes by the router's clock; where there is none, everybody's."""
    library, clock = faketime_library(), os.environ.get(CLOCK_VARIABLE)
    if library is None or clock is None:
        return dict(os.environ)
    # What measures intervals goes on undisturbed, as on a machine whose clock is set.
    own = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DISABLE_SHM": "1"}
    return {**os.environ, **own, "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": clock}
