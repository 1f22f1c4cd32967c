"""What processes take, and waiting."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.peer_lab import PeerLabError, Usage, family, quiet, spent, usage, wait_for

_SLEEP = "import time; time.sleep(600)"


def test_a_family_has_children_and_grandchildren() -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_SLEEP!r}])"
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for("the child", lambda: len(family([parent.pid])) == 2, 60)
        child = family([parent.pid])[1]
        both, one = usage([parent.pid]), usage([child])
        assert both.rss_bytes > one.rss_bytes > 0
        os.kill(child, 9)
    finally:
        parent.kill()
        parent.wait()
    assert family([parent.pid]) == []
    assert usage([parent.pid]).rss_bytes == 0


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(PeerLabError, match=r"waited 0\.05 s in vain for a miracle"):
        wait_for("a miracle", lambda: False, 0.05, 0.01)


def test_a_figure_that_never_rests_is_waited_for_no_longer_than_patience_lasts() -> None:
    numbers = iter(range(1_000))
    quiet(lambda: next(numbers), 30, 0.1)
    assert next(numbers) >= 2


def test_processor_time_is_a_share_of_the_time_that_passed() -> None:
    found = spent(Usage(0, 2.0), Usage(3 << 20, 4.5), 50)
    assert (found.rss_mib, found.cpu_percent) == (3, pytest.approx(5))
