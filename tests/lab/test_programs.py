"""What the lab needs is said before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.__main__ import PROGRAMS

ROOT = Path(__file__).resolve().parent.parent.parent


def test_what_is_missing_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    # All programs but CrowdSec's, and no directory of the system's.
    for name in PROGRAMS:
        (tmp_path / name).symlink_to("/bin/true" if not name.startswith("c") else tmp_path / "missing")
    code = f"import os, lab.__main__ as m; os.environ['PATH'] = {str(tmp_path)!r}; m._refuse_without_programs()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "lab: missing system packages: crowdsec. As root:  lab/bootstrap lab"


@pytest.mark.parametrize("name", ["cscli", "visitor", "dpi-dualctl"])
def test_commands_say_that_no_lab_runs(tmp_path: Path, name: str) -> None:
    environment = {**os.environ, "DPI_LAB_DIRECTORY": str(tmp_path)}
    command = [ROOT / "lab" / "bin" / name, "decisions"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("no lab runs in this checkout")
