"""What the soak says of memory and open files."""

from __future__ import annotations

from lab.soak import FLAT_FILES, Samples

MIB = 1 << 20


def samples(engine: list[tuple[int, int, int]]) -> Samples:
    steady = [(0, 80 * MIB, 12), (1, 80 * MIB, 12)]
    return Samples({"engine": engine, "mitmdump": steady, "analyser": steady})


def test_what_stays_as_it_is_is_no_growth() -> None:
    lines, complaints = samples([(0, 30 * MIB, 17), (1, 31 * MIB, 18)]).growth()
    assert lines[0] == "engine: 30.0 MiB and 17 files in the first round, 31.0 MiB and 18 files in the last"
    assert complaints == []


def test_growth_of_memory_and_of_open_files_is_named() -> None:
    _, complaints = samples([(0, 30 * MIB, 17), (1, 60 * MIB, 18 + FLAT_FILES)]).growth()
    assert complaints == ["the memory of engine grew", "the open files of engine grew"]


def test_what_never_ran_is_named() -> None:
    _, complaints = samples([]).growth()
    assert complaints == ["engine never ran"]
