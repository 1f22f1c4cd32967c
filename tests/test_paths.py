"""Where things live: on a router unless the environment says otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLACES = {
    "CONFIG_DIR": ("DPI_DUAL_CONFIG_DIR", "/etc/config"),
    "RUN_DIR": ("DPI_DUAL_RUN_DIR", "/var/run/dpi-dual"),
    "INIT_SCRIPT": ("DPI_DUAL_INIT", "/etc/init.d/dpi-dual"),
    "NETIFYD_SOCKET": ("DPI_DUAL_NETIFYD_SOCKET", "/var/run/netifyd/netifyd.sock"),
}


def places(**environment: str) -> dict[str, str]:
    """What a process with this environment goes by."""
    names = [*PLACES, "ENGINE_SOCKET"]
    program = f"import json; from dpi_dual import paths; print(json.dumps([getattr(paths, n) for n in {names}]))"
    given = {name: value for name, value in os.environ.items() if not name.startswith("DPI_DUAL_")}
    said = subprocess.check_output(
        [sys.executable, "-c", program], env={**given, "PYTHONPATH": str(ROOT / "lib"), **environment}
    )
    return dict(zip(names, json.loads(said), strict=True))


def test_on_a_router() -> None:
    assert places() == {
        **{name: place for name, (_, place) in PLACES.items()},
        "ENGINE_SOCKET": "/var/run/dpi-dual/engine.sock",
    }


@pytest.mark.parametrize("name", PLACES)
def test_each_place_can_be_moved_by_itself(name: str) -> None:
    moved = places(**{PLACES[name][0]: "/elsewhere/grün"})
    assert moved[name] == "/elsewhere/grün"
    assert moved["ENGINE_SOCKET"] == ("/elsewhere/grün" if name == "RUN_DIR" else "/var/run/dpi-dual") + "/engine.sock"
    assert {other: moved[other] for other in PLACES if other != name} == {
        other: place for other, (_, place) in PLACES.items() if other != name
    }
