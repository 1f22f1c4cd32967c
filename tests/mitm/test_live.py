"""The live path's reading of a request: headers, bodies and targets, within bounds."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.mitm.live import inflated, read_headers, target_of


def test_headers_are_read_in_one_pass() -> None:
    heads = read_headers(
        [
            (b"Host", b"Shop.example.org:8080"),
            (b"X-Forwarded-For", b"1.1.1.1"),
            (b"x-forwarded-for", b"2.2.2.2"),
            (b"X-DPI-Client-Port", b"4711"),
            (b"Content-Length", b"12"),
            (b"Content-Encoding", b"GZIP"),
            (b"X-Bytes", b"\xff\xfe"),
        ],
        None,
    )
    assert (heads.host, heads.forwarded, heads.port) == ("Shop.example.org:8080", ["1.1.1.1", "2.2.2.2"], "4711")
    assert (heads.length, heads.encoding, heads.internal) == (12, "gzip", True)
    assert "x-dpi-client-port" not in {name.lower() for name, _ in heads.pairs}
    assert read_headers([(b"transfer-encoding", b"chunked")], None).length is None
    assert read_headers([], "h").length is None
    assert read_headers([], None).length == 0
    assert read_headers([(b"host", b"other")], "h").pairs == (("host", "h"),)
    flood = read_headers([(b"x-%d" % n, b"y" * 100) for n in range(100_000)], None)
    assert flood.cut
    assert len(flood.pairs) == 128


@given(st.lists(st.tuples(st.binary(), st.binary())), st.none() | st.text())
def test_any_headers_are_read(fields: list[tuple[bytes, bytes]], authority: str | None) -> None:
    read_headers(fields, authority)


def test_bodies_are_unpacked_within_bounds() -> None:
    text = b"comment=hello"
    for packed, encoding in (
        (gzip.compress(text), "gzip"),
        (zlib.compress(text), "deflate"),
        (zlib.compress(text)[2:-4], "deflate"),
        (text, "gzip"),
        (text, "br"),
        (text, "deflate"),
    ):
        assert inflated(packed, encoding, 1000) == text
    assert len(inflated(gzip.compress(b"a" * 10_000_000), "gzip", 1000)) == 1000
    assert target_of(b"/\xff" + b"x" * 20_000)[1] is True
