"""The forensic log: sealed, bounded, and gone in time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dpi_dual.mitm.forensic import ForensicLog, read_line
from dpi_dual.mitm.seal import Seal, SealError, new_key

KEY = new_key()


def test_the_forensic_log_is_sealed_bounded_and_expires(folder: int, buffer_dir: Path) -> None:
    log = ForensicLog(folder, Seal(KEY), 100.0, max_bytes=5000)
    for number in range(100):
        log.write({"number": number}, 1000.0)
    path = buffer_dir / "analysis.jsonl.1"
    assert path.stat().st_size < 6000
    assert read_line(path.read_bytes().splitlines()[-1], Seal(KEY))["number"] > 0
    with pytest.raises(SealError):
        read_line(path.read_bytes().splitlines()[0], Seal(new_key()))
    for at in (1101.0, 1202.0, 1303.0):
        log.expire(at)
    assert [name for name in os.listdir(buffer_dir) if name.startswith("analysis")] == []
