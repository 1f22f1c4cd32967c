"""`dpi-dualctl mirror` and its wrapper on the real kernel, without an engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.netns import Namespace
from tests.cli import programs

pytestmark = pytest.mark.root

Ctl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ctl(make_host: Callable[[str], Namespace], tmp_path: Path) -> Ctl:
    """Runs `dpi-dualctl mirror …` in a host whose WAN is `wan9`; a first word `setup` runs mirror-setup.sh instead."""
    host = make_host("router")
    host.ip_batch("link add wan9 type veth peer name far9", "link set wan9 up", "link set far9 up")
    env = programs.place(tmp_path)
    config = Path(env["DPI_DUAL_CONFIG_DIR"]) / "dpi-dual"
    config.write_text("config global 'settings'\nconfig tap 'tap'\n\tlist mirror_source 'wan9'\n")
    wrapper = tmp_path / "dpi-dualctl"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -I {programs.ROOT}/sbin/dpi-dualctl "$@"\n')
    wrapper.chmod(0o755)

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        start = [str(wrapper), "mirror"]
        if argv[:1] == ("setup",):
            start, argv = [str(programs.ROOT / "lib" / "mirror-setup.sh")], argv[1:]
        given = {**os.environ, **env, "DPI_DUALCTL": str(wrapper)}
        return host.run(*start, *argv, env=given, check=False)

    return run


def test_start_status_stop(ctl: Ctl) -> None:
    before = ctl("status")
    assert before.returncode == 1
    assert before.stdout.startswith("tap0: not there (software mode)\nfrom wan9: up, not mirrored\n")

    started = ctl("start")
    assert (started.returncode, started.stderr) == (0, "")
    assert started.stdout.startswith("tap0: mirroring (software mode)\nfrom wan9: up, mirrored: ingress ")

    answer = json.loads(ctl("--json").stdout)
    assert answer["complete"]
    assert [answer["sources"][0][way]["count"] for way in ("ingress", "egress")] == [1, 1]

    assert ctl("stop").returncode == 0
    assert ctl("status").returncode == 1


def test_the_wrapper(ctl: Ctl) -> None:
    assert ctl("setup", "status").returncode == 1
    assert ctl("setup", "start").returncode == 0
    restarted = ctl("setup", "restart", "--json")
    assert restarted.returncode == 0
    assert [json.loads(restarted.stdout)["sources"][0][way]["count"] for way in ("ingress", "egress")] == [1, 1]
    assert ctl("setup", "stop").returncode == 0
    assert not json.loads(ctl("setup", "status", "--json").stdout)["exists"]
