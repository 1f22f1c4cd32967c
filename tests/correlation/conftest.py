"""A scene for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.correlation.scene import Scene

Make = Callable[..., Scene]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes scenes; `make(uci)` in the same place goes on with what the one before it kept."""
    with ExitStack() as stack:
        yield lambda uci="", place="scene": stack.enter_context(closing(Scene(tmp_path / place, uci)))


@pytest.fixture
def scene(make: Make) -> Scene:
    return make()
