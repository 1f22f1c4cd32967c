"""Fuzz targets: what visitors of published services send."""

from __future__ import annotations

import json
from functools import cache

from dpi_dual.cli.waf_check import judge_line
from dpi_dual.mitm.client import TrustedProxies, address_of
from dpi_dual.mitm.origins import Origins, host_only
from dpi_dual.mitm.redact import redacted
from dpi_dual.settings import Backend
from dpi_dual.waf import normalise as text
from dpi_dual.waf import sqli, xss
from dpi_dual.waf.quick import QuickRules
from dpi_dual.waf.request import MAX_FIELDS, Field, parse
from dpi_dual.waf.values import Value
from tests.mitm.feeder import record

_TYPES = (
    "",
    "application/x-www-form-urlencoded",
    "application/json",
    "text/xml",
    "multipart/form-data; boundary=B",
    'multipart/form-data; boundary="\'"',
)
REQUESTS = (
    b"GET /item?id=1%27%20union%20select%20password%20from%20users--%20&q=%3Csvg%3E HTTP/1.1\nCookie: a=b; c=%27\n\n",
    b"POST /form HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\nuser=a&password=secret&x=%253Cscript",
    b'POST /json HTTP/1.1\nContent-Type: application/json\n\n{"a":[{"password":"x","b":"\\u003cscript\\u003e"},1.5e3]}',
    b'POST /xml HTTP/1.1\nContent-Type: text/xml\n\n<!DOCTYPE a [<!ENTITY x SYSTEM "file:///a">]><a b="c">&x;</a>',
    b"POST /file HTTP/1.1\nContent-Type: multipart/form-data; boundary=B\n\n"
    b'--B\r\nContent-Disposition: form-data; name="f"; filename="a.php"\r\n\r\n<?php\r\n--B--\r\n',
    b"GET /..%c0%af..%2f%2e%2e/etc/passwd?x=${jndi:ldap://a}&y=() { :;};&z={{7*7}} HTTP/1.1\nHost: a.example\n\n",
)


@cache
def _quick() -> QuickRules:
    return QuickRules(4)


def request(data: bytes) -> None:
    head, _, body = data.partition(b"\n\n")
    # As the addon has them from mitmproxy.
    first, *lines = head.decode("utf-8", "surrogateescape").split("\n")
    method, _, rest = first.partition(" ")
    target = rest.removesuffix(" HTTP/1.1")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    if len(data) % 7 < len(_TYPES) and not any(name == "Content-Type" for name, _ in headers):
        headers.append(("Content-Type", _TYPES[len(data) % 7]))
    found = parse(method, target, headers, body)
    assert len(found.fields) <= MAX_FIELDS + 200
    verdict = _quick().judge(found)
    assert 0 <= verdict.score <= 100
    json.dumps(verdict.as_dict())
    copy = record(1, method=method, target=target, headers=tuple(headers), body=body, quick=verdict)
    assert redacted(redacted(copy)).body == redacted(copy).body
    Origins([Backend("a", "n", "*.example", "1.1.1.1:80")]).of(host_only(found.header("host")))


VALUES = (
    b"1%27%20UnIoN/**/SeLeCt%20pass",
    b"<img src=x onerror=&#x61;lert(1)>",
    b"\\u003cscript\\x3e\\74",
    b"PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    b"$(echo${IFS}a);c''at /e\\tc/passwd",
    b"..\\..//.%2e/%c0%ae%c0%ae/",
)
_VIEWS = ("text", "sql", "shell", "path")


def normalise(data: bytes) -> None:
    given = text.text_of(data)
    most = 4 * len(data) + 16
    assert len(text.folded(text.percent_decoded(given))) <= most
    assert len(text.decoded(given)) <= most
    assert len(text.shell_view(given)) <= len(given)
    assert len(text.path_view(given)) <= len(given)
    text.sql_view(given)
    text.base64_decoded(given)
    value = Value(Field("args", "q", given))
    value.variants()
    list(xss.detect(value.text))
    for letters in sqli.views(value.text):
        assert len(letters) <= sqli.MAX_TOKENS + 1


FORWARDED = (b"127.0.0.1\n198.51.100.1, 127.0.0.1\n4711", b"::1\n[2001:db8::1]:443\n", b"127.0.0.1\n::ffff:1.2.3.4\n1")
_TRUSTED = TrustedProxies(["127.0.0.0/8", "::1", "10.0.0.0/8"])


def forwarded(data: bytes) -> None:
    peer, _, rest = data.decode("utf-8", "surrogateescape").partition("\n")
    values, _, port = rest.rpartition("\n")
    ip, number = _TRUSTED.client(peer, 5, values.split("\n") if values else [], port)
    assert ip == peer or ip == address_of(ip)
    assert 0 <= number < 65536


CHECKS = tuple(
    json.dumps(line).encode()
    for line in (
        {"id": 1, "method": "GET", "path": "/search?q=x", "headers": {"Host": "a.example"}, "body": ""},
        {"path": "/?id=1'%20or%201=1", "headers": [["Cookie", "a=b"], ["X", ["1", 2]]], "body": "a=<script>"},
    )
)


def waf_check(data: bytes) -> None:
    answer = judge_line(_quick(), 1, data)
    assert "\n" not in answer
    told = json.loads(answer)
    assert "error" in told or 0 <= told["score"] <= 100
