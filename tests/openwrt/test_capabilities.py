"""What procd's jail leaves to the processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CAPABILITIES = Path(__file__).resolve().parents[2] / "openwrt" / "capabilities"
SETS = {"ambient", "bounding", "effective", "inheritable", "permitted"}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        # The mirror, connection tracking; the socket of an analyser that is another user's.
        ("dpi-dual", ["CAP_DAC_OVERRIDE", "CAP_NET_ADMIN"]),
        # `mitm.listen` below port 1024.
        ("dpi-dual-mitmdump", ["CAP_NET_BIND_SERVICE"]),
    ],
)
def test_only_these_are_kept(name: str, kept: list[str]) -> None:
    sets = json.loads((CAPABILITIES / f"{name}.json").read_text())
    assert set(sets) == SETS
    # Ambient too: the jail locks root's own rights, and the mirror is made by a process that the engine starts.
    assert all(names == kept for names in sets.values())


def test_the_init_script_knows_each() -> None:
    script = (CAPABILITIES.parent.parent / "init.d" / "dpi-dual").read_text()
    for file in CAPABILITIES.glob("*.json"):
        assert f"confine {file.stem}\n" in script
