"""Cutting agent streams into payloads, whatever the pieces they come in."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.capture.framing import MAX_NDPID_PAYLOAD, MAX_NETIFYD_PAYLOAD, Framing, FramingError
from tests.capture.streams import STREAMS, bare, cut, cut_anyhow, digits, framed, framed_5, stream

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=5)


def payloads(pieces: Iterable[bytes], framing: Framing | None = None) -> list[bytes]:
    framing = framing or Framing()
    return [payload for piece in pieces for payload in framing.feed(piece)]


@pytest.mark.parametrize("name", STREAMS)
def test_pieces_do_not_matter(name: str) -> None:
    data = stream(name)
    whole = payloads([data])
    assert len(whole) > 5
    assert all(isinstance(json.loads(payload), dict) for payload in whole)
    assert payloads(cut(data, 1)) == whole
    for seed in range(20):
        assert payloads(cut_anyhow(data, seed)) == whole


@pytest.mark.parametrize(
    ("frame", "kind"), [(framed, "netifyd"), (framed_5, "netifyd"), (bare, "netifyd-stream"), (digits, "ndpid")]
)
@given(objects=st.lists(OBJECTS, min_size=1, max_size=6), size=st.integers(1, 70))
def test_what_goes_in_comes_out(frame, kind: str, objects: list[dict[str, object]], size: int) -> None:
    # A first object that begins like a length header is one: nobody could tell.
    objects = [{"type": "x"}, *objects]
    framing = Framing()
    found = payloads(cut(b"".join(map(frame, objects)), size), framing)
    assert [json.loads(payload) for payload in found] == objects
    assert framing.kind == kind


def test_length_is_trusted_rather_than_lines() -> None:
    """Agents before 4.2.2 sent the first status without its newline; others may put newlines inside."""
    first, second = b'{"type":"agent_status"}', b'{\n"type":\n"flow"}\n'
    data = b'{"length": %d}\n%s{"length": %d}\n%s' % (len(first), first, len(second), second)
    for size in (1, 7, 1000):
        assert payloads(cut(data, size)) == [first, second]


def test_variants_of_a_header() -> None:
    body = b'{"a":1}'
    for header in (
        b'{"length":7}\n',
        b'{"length": 7}\n',
        b'{ "length" : 7 }\n',
        b'\n{"length": 7} \r\n',
        b" " * 100 + b'{"length":7}\n',
    ):
        for size in (1, 100):
            assert payloads(cut(header + body + header + body, size)) == [body, body], header


def test_empty_frames_are_payloads() -> None:
    assert payloads([b'{"length": 0}\n{"length": 2}\n{}']) == [b"", b"{}"]
    assert payloads([b"00000", b"00002{}"]) == [b"", b"{}"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"hello",
        b'{"length": 7}\n{"a":1}garbage',
        b'{"length": 7}\n{"a":1}{"lengtg": 7}\n',
        b'{"length": 7}\n{"a":1}{"length": -7}\n',
        b'{"length": 7}\n{"a":1}{"length": 7.5}\n',
        b'{"length": 7}\n{"a":1}{"length": 1_0}\n',
        b'{"length": %d}\n' % (MAX_NETIFYD_PAYLOAD + 1),
        b'{"length": 99999999999999999999}\n' + b"x" * 99,
        b'{"length": 7}\n{"a":1}' + b" " * 100 + b"x" * 64,
        b"%05d" % (MAX_NDPID_PAYLOAD + 1),
        b"00002{}0000x{}",
        b'{"type":"a"}x{"type":"b"}',
        b'{"type":"a"}[1]',
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_nonsense_ends_the_connection(data: bytes, size: int) -> None:
    with pytest.raises(FramingError):
        payloads(cut(data, size))


def test_payloads_before_nonsense_are_delivered() -> None:
    found = []
    with pytest.raises(FramingError):
        for payload in Framing().feed(b'{"length": 2}\n{}{"length": 2}\n{}nonsense'):
            found.append(payload)
    assert found == [b"{}", b"{}"]


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_any_bytes_give_payloads_or_a_framing_error(pieces: list[bytes]) -> None:
    framing = Framing()
    try:
        for piece in pieces:
            for payload in framing.feed(piece):
                assert isinstance(payload, bytes)
    except FramingError:
        pass


@given(
    st.sampled_from([b'{"length": 5}\n', b'{"type":"flow","a":"', b"00050", b"{", b'{"le']),
    st.lists(
        st.sampled_from([b"{", b"}", b'"', b"\\", b"\n", b'{"length": 3}\n', b"00003", b"abc", b" "]), max_size=60
    ),
    st.integers(1, 9),
)
def test_pieces_do_not_matter_for_nonsense_either(start: bytes, tokens: list[bytes], size: int) -> None:
    data = start + b"".join(tokens)

    def outcome(pieces: list[bytes]) -> tuple[list[bytes], bool]:
        found: list[bytes] = []
        framing = Framing()
        try:
            for piece in pieces:
                for payload in framing.feed(piece):
                    found.append(payload)
        except FramingError:
            return found, True
        return found, False

    assert outcome(cut(data, size)) == outcome([data])


@pytest.mark.parametrize(
    "data",
    [
        b'{"length": %d}\n' % MAX_NETIFYD_PAYLOAD + b"x" * MAX_NETIFYD_PAYLOAD,
        b'{"a":"' + b"x" * 1_000_000 + b'"}',
        b'{"a":"' + b'\\"' * 500_000 + b'"}',
        b"{" * 500_000 + b"}" * 500_000,
        b'{"a":1}' * 140_000,
    ],
    ids=["framed", "string", "escapes", "nesting", "many"],
)
def test_time_is_linear_in_bytes(data: bytes) -> None:
    """A megabyte byte by byte: were it quadratic, this would take hours, not seconds."""
    framing = Framing()
    started = time.process_time()
    for start in range(len(data)):
        for _ in framing.feed(data[start : start + 1]):
            pass
    assert time.process_time() - started < 60


@pytest.mark.parametrize("start", [b'{"a":"', b'{"a":', b"{" * 9, b'{"length": %d}\n' % MAX_NETIFYD_PAYLOAD])
def test_memory_is_bounded(start: bytes) -> None:
    framing = Framing()
    tracemalloc.start()
    try:
        piece = b"\\x" * 32_768
        with pytest.raises(FramingError):
            for _ in framing.feed(start):
                pass
            for _ in range(80):
                for _ in framing.feed(piece):
                    pass
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_NETIFYD_PAYLOAD
    finally:
        tracemalloc.stop()
