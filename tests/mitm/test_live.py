"""Parts of the live path that need no proxy: headers, origins, bodies, modification, policy, wire."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.mitm import policy as policies
from dpi_dual.mitm.judge import CandidateError, candidates_of
from dpi_dual.mitm.live import inflated, read_headers, target_of
from dpi_dual.mitm.modify import Modifications, change_body, change_headers, rewrites_body
from dpi_dual.mitm.origins import Origins, host_only, parse_address
from dpi_dual.mitm.record import encode_record, record_of
from dpi_dual.mitm.wire import Frames, WireError, decode_frame, decode_line, encode_frame
from dpi_dual.settings import Backend, Modify
from tests.mitm.feeder import attack, record


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


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("Shop.Example.org", "shop.example.org"),
        ("shop.example.org:443", "shop.example.org"),
        ("shop.example.org.", "shop.example.org"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
        ("", ""),
    ],
)
def test_host_only(authority: str, host: str) -> None:
    assert host_only(authority) == host


def test_origins() -> None:
    origins = Origins(
        [
            Backend("a", "shop", "shop.example.org", "10.0.0.1:80"),
            Backend("b", "", "*.example.org", "https://[2001:db8::1]:8443"),
            Backend("c", "deep", "*.deep.example.org", "http://web.lan:81/"),
            Backend("d", "bad", "bad.example.org", "nowhere"),
        ]
    )
    assert origins.of("shop.example.org") == ("shop", "http", "10.0.0.1", 80)
    assert origins.of("other.example.org") == ("b", "https", "2001:db8::1", 8443)
    assert origins.of("a.b.deep.example.org") == ("deep", "http", "web.lan", 81)
    assert origins.of("example.org") is None
    assert origins.of("") is None
    assert not Origins([])
    for wrong in ("host", "host:0", "host:70000", "ftp://host:21", ":80"):
        with pytest.raises(ValueError, match="no address"):
            parse_address(wrong)


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


def _rule(**given: str) -> Modify:
    empty = dict.fromkeys(("section", "host", "path", "name", "match", "value"), "")
    return Modify(**{**empty, "phase": "request", "action": "set_header", **given})


def test_modifications() -> None:
    rules = Modifications(
        [
            _rule(name="X-A", value="1\r\n2", host="*.example.org"),
            _rule(name="X-B", action="remove_header", path="/admin"),
            _rule(action="replace_body", match="a(b)", value=r"\1\g<0>"),
            _rule(action="replace_body", match="("),
            _rule(name="X-C", phase="response"),
        ],
        "request",
    )
    headers = {"X-B": "x"}
    here = rules.of("www.example.org", "/admin/x")
    change_headers(here, headers)
    assert headers == {"X-A": "1  2"}
    assert rewrites_body(here)
    assert change_body(here, b"-ab-\xff") == rb"-\1\g<0>-" + b"\xff"
    assert [rule.name for rule in rules.of("example.com", "/")] == [""]
    assert (
        change_body(Modifications([_rule(action="replace_body", value="all")], "request").of("h", "/"), b"x") == b"all"
    )


def test_a_policy_travels_and_a_wrong_one_is_named() -> None:
    policy = replace(policies.default(), backend=(Backend("a", "n", "h", "1.1.1.1:80"),), modify=(_rule(),))
    assert policies.from_dict(policy.as_dict()) == policy
    for path, value in (("buffer_size", "10"), ("enabled", 1), ("trusted_proxy", "x"), ("redact_headers", [1])):
        wrong = policy.as_dict()
        wrong["mitm"][path] = value
        with pytest.raises(policies.PolicyError, match=path):
            policies.from_dict(wrong)
    for given_policy in (None, [], {}, {"mitm": {}}, {**policy.as_dict(), "backend": [{}]}):
        with pytest.raises(policies.PolicyError):
            policies.from_dict(given_policy)


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


@pytest.mark.parametrize(
    ("exclusions", "rules"),
    [
        ("x", None),
        ([{}], None),
        ([{"rule": 1}], None),
        ([{"rule": "a", "other": "b"}], None),
        (None, [{"id": "a", "pattern": "x", "category": "nonsense"}]),
        (None, [{"id": "a", "pattern": "x", "place": "nowhere"}]),
        (None, [{"id": "a", "pattern": "x", "score": 101}]),
        (None, [{"id": "a", "pattern": "x", "score": True}]),
        (None, [{"id": "a", "pattern": "x" * 1000}]),
        (None, [{"id": "a", "pattern": "x"}] * 51),
    ],
)
def test_candidates_that_cannot_be_tried(exclusions: object, rules: object) -> None:
    with pytest.raises(CandidateError):
        candidates_of(exclusions, rules)
