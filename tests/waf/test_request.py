"""Every value of a request is found, under its place, and hostile requests cost a bounded amount."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.waf.quick import QuickRules
from dpi_dual.waf.request import MAX_FIELDS, MAX_VALUE, Request, parse

QUICK = QuickRules(2)


def places(request: Request) -> dict[str, str]:
    return {field.place: field.value for field in request.fields}


def test_query_names_and_values():
    found = places(parse("GET", "/a%20b?id=1%27&x[]=%3C&bad%3Cname=2&flag"))
    assert found["ARGS:id"] == "1'"
    assert found["ARGS:x[]"] == "<"
    assert found["ARGS:bad<name"] == "2"
    assert found["ARGS_NAMES:bad<name"] == "bad<name"
    assert found["ARGS_NAMES:flag"] == "flag"
    assert found["REQUEST_FILENAME"] in ("/a b", "a b")


def test_duplicates_are_all_seen():
    values = [field.value for field in parse("GET", "/?a=1&a=2&a=3").fields if field.kind == "args"]
    assert values == ["1", "2", "3"]


def test_headers_and_cookies():
    found = places(parse("GET", "/", [("Cookie", "a=1; b=%27x"), ("User-Agent", "U"), ("X-Any", "y")]))
    assert found["REQUEST_COOKIES:a"] == "1"
    assert found["REQUEST_COOKIES:b"] == "'x"
    assert found["REQUEST_HEADERS:user-agent"] == "U"
    assert found["REQUEST_HEADERS:x-any"] == "y"


def test_absolute_target_names_the_host():
    request = parse("GET", "http://other.example/p?q=1", {"Host": "a.example"})
    assert request.host == "other.example"
    assert places(request)["ARGS:q"] == "1"


def test_form():
    found = places(parse("POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b+c&d=%27"))
    assert (found["ARGS:a"], found["ARGS:d"]) == ("b c", "'")


def test_json_without_content_type():
    found = places(parse("POST", "/", {}, '{"a": {"b": ["x", {"c": "y"}]}, "$ne": 1, "n": 5}'))
    assert found["ARGS:json.a.b"] == "x"
    assert found["ARGS:json.a.b.c"] == "y"
    assert found["ARGS_NAMES:json"] == "$ne"


def test_xml_texts_and_attributes_without_expansion():
    body = '<!DOCTYPE a [<!ENTITY e "boom">]><a x="1\'"><b>t &e;</b><![CDATA[<script>]]></a>'
    found = places(parse("POST", "/", {"Content-Type": "text/xml"}, body))
    assert found["ARGS:xml.x"] == "1'"
    assert found["ARGS:xml"] == "t &e;"
    assert found["ARGS:xml.cdata"] == "<script>"


def test_multipart():
    body = (
        '--B\r\nContent-Disposition: form-data; name="t"\r\n\r\nvalue\r\n'
        '--B\r\nContent-Disposition: form-data; name="f"; filename="../x.php"\r\n\r\n<?php\r\n--B--\r\n'
    )
    found = places(parse("POST", "/", {"Content-Type": "multipart/form-data; boundary=B"}, body))
    assert found["ARGS:t"] == "value"
    assert found["FILES:f"] == "../x.php"
    assert found["FILES_CONTENT:f"] == "<?php"


def test_raw_body_is_one_text():
    assert places(parse("POST", "/", {}, "<not xml' or 1=1"))["XML"] == "<not xml' or 1=1"
    assert places(parse("POST", "/", {}, "' or 1=1"))["REQUEST_BODY"] == "' or 1=1"


def test_malformed_is_named():
    assert parse("POST", "/", {"Content-Type": "application/json"}, "{oops").malformed == ("json",)
    assert parse("POST", "/", {"Content-Type": "multipart/form-data"}, "x").malformed == ("multipart",)


HOSTILE = {
    "10,000 parameters": ("/?" + "&".join(f"p{i}=1" for i in range(10_000)), {}, ""),
    "10,000 odd names": ("/?" + "&".join(f"<{i}" for i in range(10_000)), {}, ""),
    "10,000 cookies": ("/", {"Cookie": "; ".join(f"c{i}=1" for i in range(10_000))}, ""),
    "deep JSON": ("/", {"Content-Type": "application/json"}, "[" * 100_000),
    "deep JSON, closed": ("/", {"Content-Type": "application/json"}, '{"a":' * 60 + "1" + "}" * 60),
    "wide JSON": ("/", {"Content-Type": "application/json"}, json.dumps([f"v{i}" for i in range(50_000)])),
    "huge number": ("/", {"Content-Type": "application/json"}, "[" + "9" * 100_000 + "]"),
    "many tags": ("/", {"Content-Type": "text/xml"}, "<a x='1'>" * 50_000),
    "entity bomb": ("/", {"Content-Type": "text/xml"}, '<!ENTITY a "&b;&b;">' * 5_000),
    "many parts": ("/", {"Content-Type": "multipart/form-data; boundary=B"}, "--B\r\n\r\nx\r\n" * 20_000),
    "long value": ("/?q=" + "a" * 1_000_000, {}, ""),
    "long path": ("/" + "a'/" * 100_000, {}, ""),
    "bad escapes": ("/?q=" + "%" * 100_000, {}, "%zz%"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_requests_are_bounded(name: str):
    path, headers, body = HOSTILE[name]
    request = parse("POST", path, headers, body)
    assert len(request.fields) <= MAX_FIELDS
    assert all(len(field.value) <= MAX_VALUE + 1 for field in request.fields)
    QUICK.judge(request)


@pytest.mark.parametrize("name", ["10,000 parameters", "wide JSON", "deep JSON", "long value"])
def test_what_was_cut_is_named(name: str):
    path, headers, body = HOSTILE[name]
    assert parse("POST", path, headers, body).truncated


def test_an_attack_at_the_end_of_a_long_value_is_seen():
    verdict = QUICK.judge(parse("POST", "/", {}, "q=" + "a" * 200_000 + "<script>alert(1)</script>"))
    assert "xss" in verdict.categories


@given(
    st.text(max_size=20),
    st.text(max_size=200),
    st.lists(st.tuples(st.text(max_size=20), st.text(max_size=60)), max_size=5),
    st.one_of(st.text(max_size=300), st.binary(max_size=300)),
    st.sampled_from(["", "application/json", "text/xml", "multipart/form-data; boundary=B", "text/plain"]),
)
def test_anything_parses_and_is_judged(method, path, headers, body, content_type):
    verdict = QUICK.judge(parse(method, path, [("Content-Type", content_type), *headers], body))
    assert 0 <= verdict.score <= 100
    json.dumps(verdict.as_dict())
