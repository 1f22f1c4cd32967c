"""Ring, spool, forensic log and seal on a real directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpi_dual.mitm.folder import open_folder
from dpi_dual.mitm.forensic import ForensicLog, read_line
from dpi_dual.mitm.ring import Ring
from dpi_dual.mitm.seal import Seal, SealError, key_from_file, new_key
from dpi_dual.mitm.spool import Spool
from tests.mitm.feeder import record

KEY = new_key()


@pytest.fixture
def folder(buffer_dir: Path) -> Iterator[int]:
    descriptor = open_folder(str(buffer_dir))
    yield descriptor
    os.close(descriptor)


def test_a_seal_opens_only_for_its_key_and_purpose() -> None:
    sealed = Seal(KEY).close(b"text", b"ring")
    assert b"text" not in sealed
    assert Seal(KEY).open(sealed, b"ring") == b"text"
    for seal, blob, purpose in (
        (Seal(new_key()), sealed, b"ring"),
        (Seal(KEY), sealed, b"spool"),
        (Seal(KEY), sealed[:-1], b"ring"),
        (Seal(KEY), b"", b"ring"),
        (Seal(KEY), b"\x00text", b"ring"),
        (Seal(None), sealed, b"ring"),
    ):
        with pytest.raises(SealError):
            seal.open(blob, purpose)
    assert Seal(None).open(Seal(None).close(b"text", b"ring"), b"ring") == b"text"


def test_a_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = key_from_file(str(path))
    assert key_from_file(str(path)) == key
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="not a key"):
        key_from_file(str(path))


def test_the_ring_is_bounded_by_number_age_and_bytes(folder: int, buffer_dir: Path) -> None:
    ring = Ring(folder, Seal(KEY), 50, 100.0, max_bytes=60_000)
    for number in range(200):
        ring.put(record(number, at=1000.0 + number, quick=None), 1000.0 + number)
    assert len(ring) <= 50
    assert sum(path.stat().st_size for path in buffer_dir.iterdir()) < 80_000
    newest = next(ring.newest())
    assert ring.record(newest).target == "/item?id=199"
    ring.update(newest, 1200.0, score=90)
    assert ring.totals.grave == 1
    for number in range(200, 230):
        ring.put(record(number, at=1200.0, body=b"x" * 8000, quick=None), 1200.0)
    assert sum(path.stat().st_size for path in buffer_dir.iterdir()) < 120_000
    ring.expire(1301.0)
    assert len(ring) == 0
    assert list(buffer_dir.iterdir()) == []
    assert ring.totals.hosts == {}
    ring.close()


def test_the_ring_is_taken_up_again_even_if_its_end_is_torn(folder: int, buffer_dir: Path) -> None:
    ring = Ring(folder, Seal(KEY), 50, 1e6)
    for number in range(5):
        ring.put(record(number, at=1000.0, quick=None), 1000.0)
    ring.update(ring.get(f"{2:016x}"), 1000.0, score=70, categories=("sqli",), alert=True)
    ring.close()
    (segment,) = buffer_dir.iterdir()
    with segment.open("ab") as file:
        file.write(b"\x00\x00\x10\x00torn")
    again = Ring(folder, Seal(KEY), 3, 1e6)
    assert [entry.id for entry in again.newest()] == [f"{number:016x}" for number in (4, 3, 2)]
    entry = again.get(f"{2:016x}")
    assert (entry.score, entry.categories, entry.alert) == (70, ("sqli",), True)
    again.put(record(9, at=1001.0, quick=None), 1001.0)
    assert again.record(again.get(f"{9:016x}")) is not None
    again.close()
    assert len(Ring(folder, Seal(new_key()), 50, 1e6)) == 0
    assert list(buffer_dir.iterdir()) == []


def test_the_spool_remembers_what_was_acknowledged(folder: int) -> None:
    spool = Spool(folder, Seal(KEY), max_events=5)
    numbers = [spool.add({"id": str(number)}) for number in range(7)]
    assert numbers == sorted(set(numbers))
    assert spool.counters()["spool_dropped"] == 2
    spool.acknowledge(numbers[3])
    spool.close()
    again = Spool(folder, Seal(KEY))
    assert again.stream == spool.stream
    assert [event["id"] for _, event in again.after(0, 10)] == ["4", "5", "6"]
    assert again.add({"id": "8"}) > numbers[-1]
    again.acknowledge(1 << 60)
    assert len(again) == 0
    again.close()
    # Without the key it is another stream.
    other = Spool(folder, Seal(new_key()))
    assert other.stream != spool.stream
    other.close()


def test_the_spool_file_does_not_grow(folder: int, buffer_dir: Path) -> None:
    spool = Spool(folder, Seal(KEY))
    for number in range(3000):
        spool.acknowledge(spool.add({"id": str(number), "text": "x" * 200}))
    spool.close()
    assert (buffer_dir / "spool.bin").stat().st_size < 300_000


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


def test_a_directory_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PermissionError):
        open_folder(str(tmp_path / "open"))
    (tmp_path / "link").symlink_to(tmp_path / "open")
    with pytest.raises(OSError, match="link"):
        open_folder(str(tmp_path / "link"))
