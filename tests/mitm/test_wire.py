"""Frames and lines between addon, analyser and engine: cut anywhere, or garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.mitm.record import encode_record, record_of
from dpi_dual.mitm.wire import Frames, WireError, decode_frame, decode_line, encode_frame
from tests.mitm.feeder import attack, record


def test_frames_survive_any_cut() -> None:
    stream = b"".join(encode_record(one) for one in (record(1, body=b"\x00\xff"), attack(2), record(3, quick=None)))
    for size in (1, 7, 100, len(stream)):
        frames = Frames()
        found = [pair for start in range(0, len(stream), size) for pair in frames.feed(stream[start : start + size])]
        assert [head["id"] for head, _ in found] == [f"{n:016x}" for n in (1, 2, 3)]
    assert record_of(*decode_frame(encode_record(attack(2, at=1.0)))) == attack(2, at=1.0)
    taken = Frames()
    next(taken.feed(stream))
    assert [head["id"] for head, _ in taken.feed(b"")] == [f"{n:016x}" for n in (2, 3)]


@given(st.binary())
def test_garbage_on_the_wire(data: bytes) -> None:
    frames = Frames()
    try:
        for head, body in frames.feed(data):
            record_of(*decode_frame(encode_frame(head, body)))
    except WireError:
        pass
    try:
        decode_line(data)
    except WireError:
        pass
    with pytest.raises(WireError):
        list(Frames().feed(b"\xff" * 8))
