"""Secrets are blanked wherever a client may put them; what is no secret stays byte for byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.mitm.redact import is_redacted, is_secret, redacted
from tests.mitm.feeder import record

MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\nSECRET\r\n'
    b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nkept\r\n--b--\r\n'
)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"user=kept&password=SECRET"),
        ("application/x-www-form-urlencoded", b"user=kept&user%5Bpass%77ord%5D=SECRET"),
        ("", b"user=kept&new_password=SECRET&confirm-passwd=SECRET"),
        ("application/json", b'{"user":"kept","login":{"Password":"SECRET","tokens":["SECRET"]}}'),
        ("application/json", b'{"user":"kept","access_token":"SECRET"'),
        ("application/json", b'[{"user":"kept","pin":1234,"api_key":"SECRET \\" SECRET"}, '),
        ("text/xml", b"<a><user>kept</user><password>SECRET</password></a>"),
        ("multipart/form-data; boundary=b", MULTIPART),
    ],
)
def test_bodies(content_type: str, body: bytes) -> None:
    found = redacted(record(1, method="POST", headers=(("content-type", content_type),), body=body, quick=None))
    assert b"SECRET" not in found.body
    assert b"1234" not in found.body
    assert b"kept" in found.body
    assert found.redacted


def test_headers_and_targets() -> None:
    headers = (
        ("Authorization", "Bearer SECRET"),
        ("COOKIE", "a=SECRET"),
        ("X-Own", "SECRET"),
        ("X-Acme-Token", "SECRET"),
        ("Referer", "https://u:SECRET@h/?token=SECRET&page=kept"),
        ("User-Agent", "kept"),
    )
    found = redacted(record(1, target="/p?session_id=SECRET&q=kept", headers=headers, quick=None), ("x-own",))
    assert "SECRET" not in repr((found.headers, found.target))
    assert repr((found.headers, found.target)).count("kept") == 3
    for place in ("REQUEST_COOKIES:a", "REQUEST_HEADERS:authorization", "REQUEST_HEADERS:X-Own", "ARGS:session_id"):
        assert is_redacted(place, found.redacted)
    assert not is_redacted("ARGS:q", found.redacted)


def test_what_a_rule_matched_is_blanked_with_its_value() -> None:
    value = "SECRET' union select SECRET from SECRET--"
    headers = (("cookie", f"sid={value}"), ("content-type", "application/json"), ("user-agent", "Firefox"))
    body = json.dumps({"login": {"password": value}, "note": value.replace("SECRET", "kept")}).encode()
    guilty = record(1, method="POST", target=f"/p?token={value}".replace(" ", "+"), headers=headers, body=body)
    assert guilty.quick is not None
    assert {hit.place.partition(":")[0] for hit in guilty.quick.rules} >= {"REQUEST_COOKIES", "ARGS"}
    found = redacted(guilty)
    assert "SECRET" not in repr(found)
    assert "secret" not in repr(found)


def test_what_is_no_secret_stays() -> None:
    body = b'{"author": "x",  "passage": "y", "compass": 3, "bypass": true, "tokenizer": null}'
    found = redacted(record(1, target="/p?a=%zz&b=1", body=b"x\x00=\xff&y", quick=None))
    assert (found.target, found.body, found.redacted) == ("/p?a=%zz&b=1", b"x\x00=\xff&y", ())
    assert not any(map(is_secret, ("author", "passage", "compass", "shipping", "spinner", "q", "sort")))
    assert json.loads(redacted(record(1, body=body, quick=None)).body)["author"] == "x"


@given(st.text(), st.binary(max_size=500), st.sampled_from(["", "multipart/form-data; boundary=b", "text/xml"]))
def test_never_raises(target: str, body: bytes, content_type: str) -> None:
    redacted(record(1, target=target, headers=(("content-type", content_type),), body=body, quick=None))


def test_deep_nesting_is_no_way_around() -> None:
    body = b'{"a":' * 100 + b'{"password":"SECRET"}' + b"}" * 100
    assert b"SECRET" not in redacted(record(1, body=body, quick=None)).body
    body = b"[" * 20_000 + b'{"password":"SECRET"}'
    assert b"SECRET" not in redacted(record(1, body=body, quick=None)).body
