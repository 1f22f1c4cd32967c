"""Blanks secrets in a copy before anything of it is stored: credentials, cookies, passwords."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dpi_dual.mitm.record import Record
from dpi_dual.waf.normalise import percent_decoded

BLANK = "[redacted]"

#: Headers that hold nothing but a secret.
HEADERS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "cookie2",
        "set-cookie",
        "set-cookie2",
        "x-api-key",
        "api-key",
        "apikey",
        "x-auth-token",
        "x-access-token",
        "x-amz-security-token",
        "x-csrf-token",
        "x-xsrf-token",
        "x-csrftoken",
        "x-goog-api-key",
        "x-vault-token",
        "x-gitlab-token",
        "private-token",
        "authentication",
        "authentication-info",
        "proxy-authentication-info",
    }
)

#: A header or parameter whose name says that its value is a secret.
_SECRET = re.compile(
    r"(?<!com)(?<!by)(?<!over)(?<!under)(?<!sur)(?<!tres)pass(?:w(?:or)?d|phrase|code|wrt)?(?:\d|\b|_|-|$)|passw|\bpwd|pwd\b|kennwort|secret|token|credential|"
    r"api[_\-]?key|apikey|access[_\-]?key|private[_\-]?key|session[_\-]?(?:id|key)?\b|sess(?:id|key)|"
    r"(?:^|[_\-])(?:auth|otp|totp|pin|cvv|cvc|csrf|xsrf|sid)(?:$|[_\-])|card[_\-]?(?:number|no)|authori[sz]ation|bearer|jwt",
    re.IGNORECASE,
)
#: Credentials in the authority of an absolute target: `http://user:password@host/`.
_USERINFO = re.compile(r"(?<=//)[^/@\s]{1,512}@")

_MULTIPART_NAME = re.compile(rb"(?i)[;\s]name=(?:\"([^\"\r\n]{0,512})\"|([^;\s]{0,512}))")
_BOUNDARY = re.compile(r"(?i)boundary=\"?([^\";,\s]{1,100})")
#: `"password": "…"` in text that is no whole JSON document (cut off, or too deep).
_QUOTED = re.compile(rb"\"([^\"\\]{1,128})\"(\s{0,8}:\s{0,8})(\"(?:[^\"\\]|\\.)*(?:\"|$)|[^\s,}\]]+)")
_XML_ELEMENT = re.compile(rb"<([A-Za-z_][\w:.\-]{0,127})([^<>]{0,1024})>([^<]{1,65536})")
_MAX_DEPTH = 64


def is_secret(name: str) -> bool:
    """Whether a parameter of this name holds a secret."""
    return _SECRET.search(name[:256]) is not None


def redacted(record: Record, more_headers: Iterable[str] = ()) -> Record:
    """A copy without secrets; `more_headers` are the owner's own."""
    more = {name.lower() for name in more_headers}
    places: list[str] = []
    headers: list[tuple[str, str]] = []
    content_type = ""
    for name, value in record.headers:
        lower = name.lower()
        if lower in HEADERS or lower in more or is_secret(lower):
            headers.append((name, BLANK))
            places.append("REQUEST_COOKIES" if lower.startswith("cookie") else f"REQUEST_HEADERS:{lower}")
        elif lower == "referer":
            headers.append((name, _target(value, [])))
        else:
            headers.append((name, value))
            if lower == "content-type":
                content_type = value
    target = _target(record.target, places)
    body = _body(record.body, content_type, places) if record.body else b""
    blanked = tuple(dict.fromkeys(places))[:64]
    quick = record.quick
    if quick is not None and quick.rules and blanked:
        hits = tuple(replace(hit, matched=BLANK) if is_redacted(hit.place, blanked) else hit for hit in quick.rules)
        quick = replace(quick, rules=hits)
    return replace(record, headers=tuple(headers), target=target, body=body, quick=quick, redacted=blanked)


def is_redacted(place: str, places: tuple[str, ...]) -> bool:
    """Whether `place` of a hit is among those blanked."""
    collection, _, name = place.partition(":")
    if collection.startswith("REQUEST_COOKIES"):
        return "REQUEST_COOKIES" in places
    if collection == "REQUEST_HEADERS":
        return f"{collection}:{name.lower()}" in places
    if collection in _WHOLE or name.startswith(("json", "xml")):
        return any(not blanked.startswith(("REQUEST_COOKIES", "REQUEST_HEADERS")) for blanked in places)
    return place in places


#: Places that show several values as one text: what is blanked in one of them was in there too.
_WHOLE = frozenset({"REQUEST_BODY", "XML", "QUERY_STRING", "REQUEST_URI", "FILES_CONTENT", "ARGS_NAMES"})


def _target(target: str, places: list[str]) -> str:
    if "@" in target:
        target = _USERINFO.sub(f"{BLANK}@", target)
    path, mark, query = target.partition("?")
    return path + mark + _pairs(query, places) if query else target


def _pairs(encoded: str, places: list[str]) -> str:
    """`a=b&password=…`; the text stays byte for byte where nothing is secret."""
    if not _SECRET.search(percent_decoded(encoded)):
        return encoded
    kept = []
    for pair in encoded.split("&"):
        name, equals, value = pair.partition("=")
        if value and is_secret(percent_decoded(name)):
            places.append(f"ARGS:{name[:64]}")
            kept.append(name + equals + BLANK)
        else:
            kept.append(pair)
    return "&".join(kept)


def _body(body: bytes, content_type: str, places: list[str]) -> bytes:
    declared = content_type[:200].lower()
    boundary = _BOUNDARY.search(content_type) if "multipart/" in declared else None
    if boundary:
        return _multipart(body, boundary[1].encode("utf-8", "replace"), places)
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in (b"{", b"["):
        return _json(body, places)
    if start == b"<":
        return _XML_ELEMENT.sub(lambda match: _element(match, places), body)
    if b"=" in body[:1024] and b"\x00" not in body[:1024]:
        return _pairs(body.decode("latin-1"), places).encode("latin-1", "replace")
    return body


def _json(body: bytes, places: list[str]) -> bytes:
    """The document written anew if a secret was in it; by pattern when it cannot be parsed."""
    try:
        document = json.loads(body)
        found: list[str] = []
        changed = _json_value(document, 0, found)
    except (ValueError, RecursionError):
        return _QUOTED.sub(lambda match: _quoted(match, places), body)
    if not found:
        return body
    places += found
    places.append("BODY")
    return json.dumps(changed, separators=(",", ":")).encode("ascii")


def _json_value(value: Any, depth: int, found: list[str]) -> Any:
    if depth > _MAX_DEPTH:
        found.append("BODY")
        return BLANK
    if isinstance(value, dict):
        return {name: _json_member(name, inner, depth, found) for name, inner in value.items()}
    if isinstance(value, list):
        return [_json_value(inner, depth + 1, found) for inner in value]
    return value


def _json_member(name: str, inner: Any, depth: int, found: list[str]) -> Any:
    if is_secret(name) and inner not in (None, "", True, False):
        found.append(f"ARGS:{name[:64]}")
        return BLANK
    return _json_value(inner, depth + 1, found)


def _quoted(match: re.Match[bytes], places: list[str]) -> bytes:
    name = match[1].decode("utf-8", "replace")
    if not is_secret(name):
        return match[0]
    places.append(f"ARGS:{name[:64]}")
    return b'"' + match[1] + b'"' + match[2] + b'"' + BLANK.encode() + b'"'


def _element(match: re.Match[bytes], places: list[str]) -> bytes:
    name = match[1].decode("utf-8", "replace")
    if not is_secret(name):
        return match[0]
    places.append("XML")
    return b"<" + match[1] + match[2] + b">" + BLANK.encode()


def _multipart(body: bytes, boundary: bytes, places: list[str]) -> bytes:
    parts = body.split(b"--" + boundary)
    for index, part in enumerate(parts):
        head, blank, content = part.partition(b"\r\n\r\n")
        name = _MULTIPART_NAME.search(head)
        if blank and content and name and is_secret((name[1] or name[2] or b"").decode("utf-8", "replace")):
            places.append(f"ARGS:{(name[1] or name[2] or b'').decode('utf-8', 'replace')[:64]}")
            parts[index] = head + blank + BLANK.encode() + b"\r\n"
    return (b"--" + boundary).join(parts)
