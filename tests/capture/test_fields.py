"""Validation of single values off the wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.capture import fields

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(ANYTHING)
def test_nothing_raises_and_types_hold(value: object) -> None:
    assert type(fields.count(value)) is int
    assert 0 <= fields.small(value, 65535) <= 65535
    assert type(fields.seconds(value)) is float
    for clean in (fields.text, fields.hostname, fields.ip, fields.mac):
        text = clean(value)
        assert type(text) is str
        assert len(text) <= 253
        assert text.isprintable()
        json.dumps(text).encode()
        text.encode()  # no lone surrogates


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("Video.Example.NET.", "video.example.net"),
        ("a b\tc", "abc"),
        ("evil\x00\x1b[31m\n.example", "evil[31m.example"),
        ("\ud800x\udfff", "x"),
        ("<script>", "<script>"),
        ("x" * 300, "x" * 253),
        (5, ""),
        (None, ""),
    ],
)
def test_hostname(value: object, clean: str) -> None:
    assert fields.hostname(value) == clean


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::10", "2001:db8::10"),
        ("::1", "::1"),
        ("192.0.2.256", ""),
        ("192.0.2.1\x00", ""),
        ("fe80::1%eth0", ""),
        ("x" * 1000, ""),
        ("", ""),
        (True, ""),
        (["192.0.2.1"], ""),
    ],
)
def test_ip(value: object, clean: str) -> None:
    assert fields.ip(value) == clean


@pytest.mark.parametrize(
    ("value", "clean"),
    [("02:00:5E:00:01:64", "02:00:5e:00:01:64"), ("02:00:5e:00:01", ""), ("02-00-5e-00-01-64", ""), (1, "")],
)
def test_mac(value: object, clean: str) -> None:
    assert fields.mac(value) == clean


def test_counters_are_whole_and_believable() -> None:
    assert fields.count(0) == 0
    assert fields.count(1 << 53) == 1 << 53
    for value in (-1, (1 << 53) + 1, True, 1.0, float("nan"), "1", None, [], {}):
        assert fields.count(value) == -1
    for value in (0, -1, True, 1.5, float("inf"), fields.MAX_TIME_MS, "x"):
        assert fields.seconds(value) == 0.0


def test_what_is_known_is_bounded() -> None:
    known = fields.Known(str.upper, limit=10)
    for number in range(1000):
        assert known[f"x{number}"] == f"X{number}"
        assert len(known) <= 10
    assert known["y" * 10_000] == "Y" * 10_000
    assert len(max(known, key=len)) < 300
