"""Hostile text on its way to a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.cli import terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("router.lan", "router.lan"),
        ("Bücher-PC", "Bücher-PC"),
        ("书房", "书房"),
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("moc.elpmaxe\u202e", "moc.elpmaxe\\u202e"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("half \ud800", "half \\ud800"),
        (7, "7"),
    ],
)
def test_safe(text: object, shown: str) -> None:
    assert terminal.safe(text) == shown


@given(st.text(st.characters(), max_size=700), st.integers(0, 60), st.booleans())
def test_whatever_comes_stays_printable_and_within_its_columns(text: str, most: int, keep_end: bool) -> None:
    shown = terminal.safe(text)
    assert shown.isprintable() or not shown
    cut = terminal.clip(shown, most, keep_end)
    assert terminal.columns(cut) <= most
    assert cut == shown or "…" in cut or most == 0


def test_a_pile_of_combining_marks_is_kept_low() -> None:
    assert terminal.safe("a" + "\u0301" * 200 + "b") == "a\u0301\u0301\u0301b"


def test_columns_of_wide_and_combining_characters() -> None:
    assert terminal.columns("书房") == 4
    assert terminal.columns("e\u0301") == 1


def test_addresses_of_one_provider_can_still_be_told_apart() -> None:
    cut = [terminal.clip_middle(f"2001:db8:2000:{net}::1", 15) for net in ("a", "b", "10", "11")]
    assert cut == ["2001:db…00:a::1", "2001:db…00:b::1", "2001:db…0:10::1", "2001:db…0:11::1"]
    assert terminal.clip_middle("192.0.2.1", 15) == "192.0.2.1"
    for most in range(12):
        assert terminal.columns(terminal.clip_middle("2001:db8:2000:ü::1", most)) <= most


def test_clip_keeps_the_end_that_matters() -> None:
    assert terminal.clip("r4---sn-h5q7.googlevideo.com", 16) == "r4---sn-h5q7.go…"
    assert terminal.clip("r4---sn-h5q7.googlevideo.com", 16, keep_end=True) == "…googlevideo.com"


def test_no_colour_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.wants_colour()
    assert terminal.Style(False).bad("no") == "no"
    assert terminal.Style(True).bad("no") == "\x1b[31mno\x1b[0m"


@pytest.mark.parametrize(("told", "wide"), [("100", 100), ("5", 20)])
def test_columns_from_the_environment(monkeypatch: pytest.MonkeyPatch, told: str, wide: int) -> None:
    monkeypatch.setenv("COLUMNS", told)
    assert terminal.size()[0] == wide


@pytest.mark.parametrize("told", ["0", "-1", "wide", ""])
def test_nonsense_in_the_environment_is_not_believed(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    usual = terminal.size()[0]
    monkeypatch.setenv("COLUMNS", told)
    assert terminal.size()[0] == usual
