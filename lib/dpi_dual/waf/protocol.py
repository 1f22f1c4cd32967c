"""What is wrong with a request as HTTP: smuggling, odd methods, characters that have no business where they stand."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from dpi_dual.waf.request import Request
from dpi_dual.waf.verdict import Hit, cleaned

#: RFC 9110, WebDAV (RFC 4918, 3253, 5323) and PATCH (RFC 5789): what services behind a router really use.
_METHODS_TEXT = """
GET HEAD POST PUT DELETE PATCH OPTIONS PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK REPORT SEARCH CHECKOUT
CHECKIN MERGE MKACTIVITY VERSION-CONTROL MKCALENDAR ACL PURGE QUERY
"""
METHODS = frozenset(_METHODS_TEXT.split())


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in code; the same fields as a signature's."""

    category: str
    score: int
    paranoia: int
    description: str


RULES = {
    "protocol-method": Rule("protocol", 40, 1, "A method that no ordinary client sends"),
    "protocol-smuggling": Rule("protocol", 50, 1, "Two ideas of where the body ends"),
    "protocol-header-injection": Rule("protocol", 50, 1, "A line end or NUL inside a header"),
    "protocol-null": Rule("protocol", 35, 1, "A NUL byte in a value"),
    "protocol-overlong": Rule("protocol", 40, 1, "UTF-8 longer than it need be"),
    "protocol-range": Rule("protocol", 40, 1, "Very many ranges"),
    "protocol-host": Rule("protocol", 40, 1, "A Host that is no host"),
    "protocol-content-type": Rule("protocol", 45, 1, "A content type that is code"),
    "protocol-proxy-header": Rule("protocol", 35, 1, "A header that changes where a program thinks it is"),
    "protocol-encoding": Rule("protocol", 15, 2, "A percent sign that encodes nothing"),
    "protocol-limits": Rule("protocol", 20, 1, "More parameters, depth or text than is looked at"),
}

_BAD_HOST = re.compile(r"[^\w.\-:\[\]%]")
_MANY_RANGES = re.compile(r"bytes\s?=\s?(?:\d{0,20}-\d{0,20}\s?,\s?){5}", re.IGNORECASE)
_BAD_PERCENT = re.compile(r"%(?![0-9a-fA-F]{2}|[uU][0-9a-fA-F]{4})")
_OVERLONG = re.compile(r"%c[01]%[89ab][0-9a-f]|%e0%[89][0-9a-f]%[89ab]|%f0%8[0-9a-f]%[89ab]", re.IGNORECASE)
_CODE = re.compile(r"[${}<>()\\|`]|\(#")
_REROUTING = {"x-original-url", "x-rewrite-url", "proxy"}


def hits(request: Request, paranoia: int) -> list[Hit]:
    """The rules of this module that match."""
    found: list[Hit] = []

    def report(name: str, place: str, matched: str) -> None:
        rule = RULES[name]
        if rule.paranoia <= paranoia:
            found.append(Hit(name, rule.category, place, cleaned(matched), rule.score))

    if request.method not in METHODS:
        report("protocol-method", "REQUEST_METHOD", request.method)
    _headers(request, report)
    target = request.raw_path
    if "%" in target:
        lower = target.lower()
        if "%00" in lower or "%2500" in lower:
            report("protocol-null", "REQUEST_URI", "%00")
        overlong = _OVERLONG.search(lower)
        if overlong:
            report("protocol-overlong", "REQUEST_URI", overlong[0])
        wrong = _BAD_PERCENT.search(target)
        if wrong:
            report("protocol-encoding", "REQUEST_URI", target[wrong.start() :][:8])
    for field in request.fields:
        if "\0" in field.value and field.kind in ("args", "cookies", "names"):
            report("protocol-null", field.place, field.value)
            break
    if request.truncated:
        report("protocol-limits", "REQUEST", " ".join(request.truncated))
    return found


def _headers(request: Request, report: Callable[[str, str, str], None]) -> None:
    lengths: list[str] = []
    coding = ""
    for name, value in request.headers:
        if "\n" in value or "\r" in value or "\0" in value or "\n" in name:
            report("protocol-header-injection", f"REQUEST_HEADERS:{name}", value)
        if name == "content-length":
            lengths.append(value.strip())
        elif name == "transfer-encoding":
            coding = (coding + "," + value).strip(",").strip() if coding else value.strip()
        elif name == "range" and _MANY_RANGES.match(value):
            report("protocol-range", "REQUEST_HEADERS:range", value)
        elif name == "host" and value and _BAD_HOST.search(value):
            report("protocol-host", "REQUEST_HEADERS:host", value)
        elif name == "content-type" and _CODE.search(value):
            report("protocol-content-type", "REQUEST_HEADERS:content-type", value)
        elif name in _REROUTING:
            report("protocol-proxy-header", f"REQUEST_HEADERS:{name}", value)
    if (
        (coding and lengths)
        or len(set(lengths)) > 1
        or any(not length.isdecimal() for length in lengths)
        or (coding and coding.lower() not in ("chunked", "identity", "gzip", "gzip, chunked", "deflate"))
    ):
        report("protocol-smuggling", "REQUEST_HEADERS", f"{coding} {' '.join(lengths)}")
