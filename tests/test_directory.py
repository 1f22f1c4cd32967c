"""Directories below /tmp: nobody else's in our place, and files that are whole or not there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dpi_dual.directory import private_directory, replace_file


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    directory, stop, seen = str(tmp_path), threading.Event(), []
    replace_file(directory, "f", b"0" * 100_000)

    def read() -> None:
        while not stop.is_set():
            data = (tmp_path / "f").read_bytes()
            seen.append(len(data) == 100_000 and len(set(data)) == 1)

    reader = threading.Thread(target=read)
    reader.start()
    for digit in range(300):
        replace_file(directory, "f", str(digit % 10).encode() * 100_000)
    stop.set()
    reader.join()
    assert seen
    assert all(seen)
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_a_directory_anyone_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stats").mkdir()
    (tmp_path / "stats").chmod(0o777)
    with pytest.raises(PermissionError, match="writable by all"):
        private_directory(str(tmp_path / "stats"))
