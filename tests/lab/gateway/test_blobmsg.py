"""JSON as libubox reads and prints it; the expected texts were read off the original."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.gateway import blobmsg


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.5, "0.500000"),
        (1700000000.123456789, "1700000000.123457"),
        (1e-9, "0.000000"),
        (float("nan"), "nan"),
        (9223372036854775808, "9223372036854775807"),
        (-9223372036854775809, "-9223372036854775808"),
        (True, "true"),
        (None, "null"),
        ('a/b\u007f\b\f\x1f"\\', '"a/b\u007f\\b\\u000c\\u001f\\"\\\\"'),
        ("cut\0here", '"cut"'),
        ("x\ud800y", '"x\ufffdy"'),
        ({"": 1, "b": {}}, '{1,"b":{}}'),
        ([1, [], {"x": None}], '[1,[],{"x":null}]'),
    ],
)
def test_values_come_out_as_libubox_prints_them(value: Any, printed: str) -> None:
    assert blobmsg.dumps(blobmsg.normalise(value)) == printed


def test_indented_output_is_that_of_ubus_call() -> None:
    text = blobmsg.dumps({"a": [1, {"b": True}], "c": {}, "d": []}, indent=True)
    assert (
        text == '{\n\t"a": [\n\t\t1,\n\t\t{\n\t\t\t"b": true\n\t\t}\n\t],\n\t"c": {\n\t\t\n\t},\n\t"d": [\n\t\t\n\t]\n}'
    )


@pytest.mark.parametrize("text", [b"", b" \n", b'{"a":1', b"null", b"12", b"{a:1}", b'"x', b"hello", b'{"a":"x\0y"}'])
def test_what_is_no_whole_value_is_refused(text: bytes) -> None:
    with pytest.raises(blobmsg.IncompleteError):
        blobmsg.parse_first(text)


def test_only_the_first_value_counts() -> None:
    assert blobmsg.parse_first(b'\r\n{"a":1}{"b":2} rubbish') == {"a": 1}
    assert blobmsg.parse_first(b"null\n") is None
    assert blobmsg.parse_first(b'{"a":"\xff"}') == {"a": "\udcff"}
    assert blobmsg.encode({"a": "\udcff"}) == b'{"a":"\xff"}'


@pytest.mark.parametrize(("levels", "accepted"), [(31, True), (32, False), (100_000, False)])
def test_nesting_has_the_limit_of_json_c(levels: int, accepted: bool) -> None:
    text = b'{"a":' + b"[" * levels + b"]" * levels + b"}"
    if accepted:
        blobmsg.parse_first(text)
    else:
        with pytest.raises(blobmsg.IncompleteError):
            blobmsg.parse_first(text)


@given(st.binary())
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        value = blobmsg.parse_first(data)
    except blobmsg.IncompleteError:
        return
    assert isinstance(blobmsg.encode(value), bytes)


_text = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1))

_name = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1), min_size=1, max_size=5)

_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_name, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_name, _value, max_size=4), st.booleans())
def test_what_is_printed_reads_back(document: dict[str, Any], indent: bool) -> None:
    assert blobmsg.normalise(document) == document
    assert json.loads(blobmsg.dumps(document, indent)) == document
