"""Decoding of payloads, one by one and many at once."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.capture.decode import BAD, decode, decode_all, decode_stdlib

PAYLOADS = st.one_of(
    st.binary(max_size=30),
    st.dictionaries(st.text(), st.integers() | st.text(), max_size=3).map(
        lambda value: json.dumps(value).encode() + b"\n"
    ),
    st.sampled_from(
        [b'{"a":1},{"b":[1', b"2]}", b"[", b"]", b"", b"1,2", b'{"a":1}', b'"', b'{"a":NaN}', b'{"a":"\xff"}']
    ),
)


def one(payload: bytes) -> object:
    try:
        return decode(payload)
    except (ValueError, RecursionError):
        return BAD


@given(st.lists(PAYLOADS, max_size=6))
def test_all_at_once_gives_as_many_values(payloads: list[bytes]) -> None:
    assert len(decode_all(payloads)) == len(payloads)


@given(st.lists(st.dictionaries(st.text(), st.integers(), max_size=3), max_size=6), st.integers(0, 6))
def test_a_bad_payload_spoils_no_other(values: list[dict[str, int]], place: int) -> None:
    payloads = [json.dumps(value).encode() for value in values]
    payloads.insert(place, b'{"half":')
    decoded = decode_all(payloads)
    assert [value for value in decoded if value is not BAD] == values
    assert decoded.count(BAD) == 1


@pytest.mark.parametrize(
    "payload", [b"", b"{", b'{"a":1}{"b":2}', b"[" * 200_000, b'{"a":' + b"9" * 5000 + b"}", b"nonsense", b"\xff\xfe"]
)
def test_bad_payloads(payload: bytes) -> None:
    assert one(payload) is BAD
    assert decode_all([payload, b"{}"]) == [BAD, {}]


def test_odd_payloads_are_taken() -> None:
    assert decode(b'{"a":"x\xffy"}\n') == {"a": "x\ufffdy"}
    assert decode(b'{"a":"tab\there"}') == {"a": "tab\there"}
    assert decode(b'{"a":"\\ud800"}') == {"a": "\ud800"}
    assert math.isnan(decode(b'{"a":NaN}')["a"])
    assert decode(b'{"a":1,"a":2}') == {"a": 2}


def test_both_decoders_agree() -> None:
    pytest.importorskip("orjson", reason="orjson is not installed here")
    for payload in (b'{"a":NaN}', b'{"a":"\\ud800"}', b'{"a":"x\xff"}', b'{"a":[1,2.5,null,true]}\n'):
        assert repr(decode(payload)) == repr(decode_stdlib(payload))
