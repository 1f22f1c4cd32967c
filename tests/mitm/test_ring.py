"""The ring of Buffer B: bounded, sealed, and taken up again after a crash."""

from __future__ import annotations

from pathlib import Path

from dpi_dual.mitm.ring import Ring
from dpi_dual.mitm.seal import Seal, new_key
from tests.mitm.feeder import record

KEY = new_key()


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
