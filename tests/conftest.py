"""What every test may lean on: the recordings when they are at hand, and hosts made of network namespaces."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lab.netns import Namespace
from tests.default_files import DEFAULT_FILE

# A timing never decides a test, and on a busy machine generated input can take its time.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# Started in the background by a shell, we and all that we start would ignore Ctrl-C, which some tests are about.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = ROOT.parent / "shared" / "netifyd-samples"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The directory of recorded agent streams; tests that ask for it are skipped in a clone without it."""
    if not RECORDINGS.is_dir():
        pytest.skip("the recorded agent streams are not beside this checkout")
    return RECORDINGS


def _namespaces_work() -> bool:
    probe = ["unshare", "--net", "--mount", "true"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True, check=False).returncode == 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("root")]
    if marked and not _namespaces_work():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs root (or unshare -Urnm) to make network namespaces"))


@pytest.fixture
def make_host() -> Iterator[Callable[[str], Namespace]]:
    """Makes hosts; all are gone after the test."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(Namespace(name))


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """A directory with the default files, as the package installs them."""
    (tmp_path / "dpi-dual").write_bytes(DEFAULT_FILE.read_bytes())
    (tmp_path / "dpi-dual-secrets").write_bytes(DEFAULT_FILE.with_name("dpi-dual-secrets").read_bytes())
    (tmp_path / "dpi-dual-secrets").chmod(0o600)
    return tmp_path
