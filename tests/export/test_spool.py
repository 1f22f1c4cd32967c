"""The spool never outgrows its bound, whatever others do to its file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.export.spool import Spool

LINE = b'{"n": 123456789}\n'


def held(path: Path) -> list[bytes]:
    old = path.with_name(path.name + ".1")
    return (old.read_bytes() if old.exists() else b"").splitlines() + path.read_bytes().splitlines()


def test_the_older_half_gives_way_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "spool" / "eve.json"
    spool = Spool(str(path), 20 * len(LINE))
    for number in range(100):
        spool.append([b"%017d\n" % number])
        assert sum(file.stat().st_size for file in path.parent.iterdir()) <= 20 * len(LINE) + len(LINE)
    lines = held(path)
    assert lines == [b"%017d" % number for number in range(100 - len(lines), 100)]
    assert (spool.written, spool.dropped) == (100, 100 - len(lines))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_any_sizes_stay_within_the_bound(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    path = tmp_path_factory.mktemp("spool") / "eve.json"
    spool = Spool(str(path), 200)
    for size in sizes:
        spool.append([b"x" * size + b"\n"])
    assert sum(file.stat().st_size for file in path.parent.iterdir()) <= 200 + 31
    assert spool.written - spool.dropped == len(held(path))


def test_who_rotates_or_deletes_the_file_loses_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    spool = Spool(str(path), 1 << 20)
    spool.append([LINE] * 3)
    path.rename(tmp_path / "taken")
    spool.append([LINE])
    assert path.read_bytes() == LINE
    path.unlink()
    spool.append([LINE] * 2)
    path.write_bytes(b"")
    spool.append([LINE])
    assert path.read_bytes() == LINE
    assert spool.dropped == 0


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"keep")
    (tmp_path / "eve.json").symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        Spool(str(tmp_path / "eve.json"), 1 << 20).append([LINE])
    assert target.read_bytes() == b"keep"
