"""The spool: what was acknowledged is not told again, and its file does not grow."""

from __future__ import annotations

from pathlib import Path

from dpi_dual.mitm.seal import Seal, new_key
from dpi_dual.mitm.spool import Spool

KEY = new_key()


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


def test_a_spool_that_cannot_be_read_is_counted(folder: int) -> None:
    spool = Spool(folder, Seal(KEY))
    spool.add({"id": "told-to-nobody"})
    spool.close()
    assert spool.counters()["spool_unreadable"] == 0
    other = Spool(folder, Seal(new_key()))
    assert (len(other), other.counters()["spool_unreadable"]) == (0, 1)
    other.close()
