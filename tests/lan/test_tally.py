"""Counters of a row."""

from dpi_dual.lan.tally import Tally


def test_figures() -> None:
    tally = Tally()
    tally.bytes_in, tally.bytes_out, tally.bytes_unsplit, tally.flows, tally.live = 1, 2, 3, 4, 1
    assert tally.figures() == {
        "flows": 4,
        "flows_live": 1,
        "bytes": 6,
        "bytes_in": 1,
        "bytes_out": 2,
        "bytes_unsplit": 3,
    }


def test_a_move_takes_no_more_than_there_is() -> None:
    a, b = Tally(), Tally()
    a.bytes_in, a.flows, a.live = 10, 1, 1
    a.move(b, (15, 1, 0), live=1)
    assert (a.bytes, a.flows, a.live) == (0, 0, 0) and (b.bytes, b.flows, b.live) == (10, 1, 1)
    a.move(b, (1, 1, 1), live=1)
    assert (b.bytes, b.flows, b.live) == (10, 1, 1)


def test_absorb() -> None:
    a, b = Tally(), Tally()
    a.bytes_in, b.bytes_out, b.flows = 10, 5, 2
    a.absorb(b)
    assert (a.bytes, a.flows) == (15, 2)
