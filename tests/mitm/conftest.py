"""Analysers and engines for tests, gone after each."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dpi_dual.mitm import policy as policies
from dpi_dual.mitm.folder import open_folder
from dpi_dual.mitm.seal import new_key
from tests.mitm.feeder import Engine, Feeder, settings_for


@pytest.fixture
def buffer_dir(tmp_path: Path) -> Path:
    """Buffer B's directory."""
    path = tmp_path / "buffer"
    path.mkdir(0o750)
    return path


@pytest.fixture
def folder(buffer_dir: Path) -> Iterator[int]:
    """The same, open."""
    descriptor = open_folder(str(buffer_dir))
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def feeder(buffer_dir: Path) -> Iterator[Callable[..., Feeder]]:
    """Starts analysers; all are gone after the test."""
    made: list[Feeder] = []

    def start(key: bytes | None = None, **mitm: Any) -> Feeder:
        policy = policies.of_settings(settings_for(buffer_dir, **mitm))
        made.append(Feeder(buffer_dir, policy, key or new_key()))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def engine(buffer_dir: Path) -> Iterator[Callable[..., Engine]]:
    """Makes engines' links."""
    made: list[Engine] = []

    def make(db: sqlite3.Connection | None = None, **mitm: Any) -> Engine:
        made.append(Engine(settings_for(buffer_dir, **mitm), db))
        return made[-1]

    yield make
    for one in made:
        one.db.close()
