"""A client's kinds of traffic, and what of them the history has."""

from __future__ import annotations

from dpi_dual.lan.kinds import MAX_KINDS, OTHER_CLIENTS, OTHERS, Kind, Kinds, Pending, fold
from dpi_dual.lan.protocols import MAX_ROWS, ProtocolRow


def rows(count: int) -> list[ProtocolRow]:
    return [ProtocolRow("TLS", f"app{number}", 0.0) for number in range(count)]


def test_the_smallest_idle_one_goes_into_others() -> None:
    kinds = Kinds()
    for size, row in enumerate(rows(MAX_KINDS), start=1):
        kinds.of(row).bytes_in = size
    assert OTHERS not in kinds
    kinds.of(ProtocolRow("SSH", "Unknown", 0.0))
    assert kinds[OTHERS].bytes == 1 and len(kinds) == MAX_KINDS + 1
    assert "app0" not in kinds.applications() and kinds.applications()["(others)"].bytes == 1


def test_live_ones_stay() -> None:
    kinds = Kinds()
    for row in rows(MAX_KINDS):
        kinds.of(row).live = 1
    assert kinds.of(ProtocolRow("SSH", "Unknown", 0.0)) is kinds[OTHERS]


def test_what_is_taken_is_written() -> None:
    kinds = Kinds()
    (row,) = rows(1)
    kind = kinds.of(row)
    kind.bytes_in, kind.flows = 10, 1
    pending: dict[tuple[str, str], list[int]] = {}
    kinds.peek("mac", pending)
    assert pending == {("mac", "app0"): [10, 0, 0, 1]}
    pending = {}
    kinds.take("mac", pending)
    kind.bytes_out += 3
    kinds.take("mac", pending)
    kinds.take("mac", pending)
    assert pending == {("mac", "app0"): [10, 3, 0, 1]}


def test_handing_over_keeps_what_is_written_where_it_was() -> None:
    unknown, named = Kind(), Kind()
    unknown.bytes_in, unknown.flows, unknown.live = 100, 1, 1
    unknown.mark_written()
    unknown.bytes_in += 20
    unknown.hand_over(named, (120, 0, 0), live=1)
    assert unknown.bytes == 0 and named.bytes == 120 and (named.flows, named.live) == (1, 1)
    assert unknown.grown() == (0, 0, 0, 0) and named.grown() == (20, 0, 0, 0)


def test_swallowing_keeps_what_is_not_written() -> None:
    a, b = Kinds(), Kinds()
    (row,) = rows(1)
    a.of(row).bytes_in = 5
    a[row].mark_written()
    b.of(row).bytes_in = 7
    a.swallow(b)
    assert a[row].bytes == 12 and a[row].grown() == (7, 0, 0, 0)


def test_folding_keeps_the_largest_and_loses_no_byte() -> None:
    pending: Pending = {(f"c{n}", f"a{n}"): [n, 0, 0, 1] for n in range(5000)}
    found = fold(pending, 10, {("c1", "a1")})
    assert len(found) <= 10 + 1 + MAX_ROWS + 1
    assert {("c1", "a1"), ("c4999", "a4999"), ("c4990", "a4990"), (OTHER_CLIENTS, "(others)")} <= set(found)
    assert ("c4989", "a4989") not in found
    assert [sum(column) for column in zip(*found.values(), strict=True)] == [sum(range(5000)), 0, 0, 5000]
