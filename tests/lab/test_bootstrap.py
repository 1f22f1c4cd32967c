"""Preparing a machine: what it leaves behind when it is ended half-way."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Programs of /usr/sbin are missing, apt-get is one that ends whoever called it.
_SCRIPT = """
mount -t tmpfs tmpfs /usr/sbin
lab/bootstrap lab
echo "status $?"
ls /usr/sbin
"""


@pytest.mark.root
def test_ended_while_packages_are_installed_no_service_stays_forbidden(tmp_path: Path) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\ntest -e /usr/sbin/policy-rc.d && echo forbidden >&2\nkill -TERM $PPID\n")
    apt.chmod(0o755)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _SCRIPT],
        cwd=ROOT,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Installing system packages:" in done.stderr
    assert done.stdout == "status 130\n"
    assert [log.read_text() for log in tmp_path.glob("tmp.*")] == ["forbidden\n"]
