"""Notices of changed interfaces and traffic control, from the real kernel."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.netns import Namespace

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.root

SCRIPT = """
import asyncio, subprocess, sys
from dpi_dual.capture.link_watch import LinkWatch

def run(command):
    subprocess.run(command.split(), check=True)

async def main():
    with LinkWatch(settle_s=0.05) as watch:
        assert not await watch.wait(0.1), "nothing has changed"
        run("ip link add own0 type ifb")
        assert await watch.wait(5), "a new interface"
        assert not await watch.wait(0.1), "that was one change"
        run("tc qdisc add dev own0 clsact")
        assert await watch.wait(5), "a new qdisc"
        for number in range(50):
            run("ip link set own0 mtu %d" % (1000 + number))
        assert await watch.wait(5), "many at once"
        assert not await watch.wait(0.1), "are one"
        run("ip link del own0")
        await asyncio.sleep(0.1)
        watch.forget()
        assert not await watch.wait(0.1), "forgotten"
        watch._socket.setsockopt(1, 8, 1)  # SO_RCVBUF as small as it gets: notices are lost
        watch._loop.remove_reader(watch._socket)
        run("ip link add own1 type ifb")
        for number in range(100):
            run("ip link set own1 mtu %d" % (1000 + number))
        watch._loop.add_reader(watch._socket, watch._drain)
        assert await watch.wait(5), "lost notices are a change"
        assert watch.overruns > 0
        watch.close()
        watch.close()
    print("all")

asyncio.run(main())
"""


def test_changes_are_told_once_they_have_settled(make_host: Callable[[str], Namespace]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    done = make_host("router").run(sys.executable, "-W", "error", "-c", SCRIPT, env=environment, check=False)
    assert done.stdout == "all\n", done.stderr
