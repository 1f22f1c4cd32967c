"""Every shell file passes shellcheck and busybox ash, the shell of a router."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELLS = ("#!/bin/sh", "#!/bin/bash", "#!/usr/bin/env bash")


def _scripts() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split("\0")[:-1] if listed.returncode == 0 else []
    found = []
    for name in names:
        path = ROOT / name
        if path.is_file():
            with path.open("rb") as file:
                if file.read(20).startswith(tuple(shell.encode() for shell in SHELLS)):
                    found.append(name)
    return found


SCRIPTS = _scripts()
needs_git = pytest.mark.skipif(not SCRIPTS, reason="not a git checkout")


@needs_git
def test_those_that_a_router_runs_are_among_them() -> None:
    for name in ("init.d/dpi-dual", "uci-defaults/60-dpi-dual", "lib/mirror-setup.sh", "lib/netifyd-setup.sh"):
        assert name in SCRIPTS


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck(name: str) -> None:
    done = subprocess.run(
        ["shellcheck", "--external-sources", name], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox")
@pytest.mark.parametrize("name", [name for name in SCRIPTS if not name.startswith(".ci/")])
def test_ash(name: str) -> None:
    if b"bash" in (ROOT / name).read_bytes()[:40]:
        pytest.skip("written for bash")
    done = subprocess.run(["busybox", "ash", "-n", name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "name", ["init.d/dpi-dual", "uci-defaults/60-dpi-dual", "lib/mirror-setup.sh", "lib/netifyd-setup.sh"]
)
def test_no_classes_of_characters_for_tr(name: str) -> None:
    """OpenWrt's busybox is built without them (FEATURE_TR_CLASSES): `tr '[:space:]'` takes them for letters."""
    code = [line for line in (ROOT / name).read_text().splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in code if re.search(r"\btr\b[^|]*\[[:=]", line)] == []
