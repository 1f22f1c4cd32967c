"""A request taken apart once: every value an application might read, with its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dpi_dual.waf.normalise import percent_decoded, text_of

#: Bounds, so that no request costs more than so much work; what is beyond them is named in `Request.truncated`.
MAX_FIELDS = 2_000
MAX_HEADERS = 128
MAX_NAME = 512
MAX_VALUE = 65_536
MAX_TOTAL = 1_048_576

#: Field kind → the Core Rule Set's name of the collection.
COLLECTIONS = {
    "args": "ARGS",
    "names": "ARGS_NAMES",
    "cookies": "REQUEST_COOKIES",
    "cookie_names": "REQUEST_COOKIES_NAMES",
    "headers": "REQUEST_HEADERS",
    "header_names": "REQUEST_HEADERS_NAMES",
    "path": "REQUEST_FILENAME",
    "segment": "REQUEST_FILENAME",
    "query": "QUERY_STRING",
    "files": "FILES",
    "file_content": "FILES_CONTENT",
    "xml": "XML",
    "body": "REQUEST_BODY",
    "formal": "REQUEST_HEADERS",
    "target": "REQUEST_URI",
    "raw_query": "QUERY_STRING",
}


class Field(NamedTuple):
    """One value with where it stood; percent-encoding is undone once, as an application would."""

    kind: str
    name: str
    value: str

    @property
    def place(self) -> str:
        """`ARGS:id`, `REQUEST_FILENAME`."""
        collection = COLLECTIONS[self.kind]
        return f"{collection}:{self.name[:64]}" if self.name else collection


Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as parts. `raw_path` is the target as it was sent, with its query."""

    method: str
    raw_path: str
    host: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order they came."""
    fields: tuple[Field, ...]
    body: str
    truncated: tuple[str, ...] = ()
    """Which bounds cut something off: fields, headers, value, total, depth."""
    malformed: tuple[str, ...] = ()
    """What could not be parsed as it claimed to be: json, multipart, encoding."""

    @property
    def path(self) -> str:
        """Without the query."""
        return self.raw_path.partition("?")[0]

    def header(self, name: str) -> str:
        """The first value of a header, or an empty string; `name` in lower case."""
        return next((value for key, value in self.headers if key == name), "")


class Collector:
    """Gathers fields up to the bounds."""

    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.truncated: set[str] = set()
        self.malformed: set[str] = set()
        self._room = MAX_TOTAL

    def add(self, kind: str, name: str, value: str) -> bool:
        """False when there is no more room."""
        size = len(value)
        if size > MAX_VALUE:
            self.truncated.add("value")
            # The end of a long value is as easy a place to hide something as its start.
            value = value[: MAX_VALUE - 4_096] + "\n" + value[-4_096:]
            size = MAX_VALUE
        if len(self.fields) >= MAX_FIELDS or size > self._room:
            self.truncated.add("fields" if len(self.fields) >= MAX_FIELDS else "total")
            return False
        self._room -= size
        self.fields.append(Field(kind, name if len(name) <= MAX_NAME else name[:MAX_NAME], value))
        return True


def _unplus(text: str) -> str:
    return percent_decoded(text.replace("+", " ")) if "%" in text or "+" in text else text


#: A name that needs no look of its own: neither a path into an object nor Python's or JavaScript's own.
_ORDINARY_NAME = re.compile(r"(?!__)[A-Za-z0-9_\-]*\Z")


def add_pairs(collector: Collector, encoded: str, whole: str) -> None:
    """The parameters of a query or form; `whole` is the kind under which an odd one is seen as one text."""
    odd = False
    for count, pair in enumerate(encoded.split("&", MAX_FIELDS)):
        if not pair:
            odd = odd or count > 0
            continue
        if count == MAX_FIELDS:
            collector.truncated.add("fields")
            return
        name, equals, value = pair.partition("=")
        if not _ORDINARY_NAME.match(name):
            name = _unplus(name)
            if not _ORDINARY_NAME.match(name):
                odd = odd or not _ARRAY_NAME.fullmatch(name)
                collector.add("names", name, name)
        elif not equals:
            # `?-d+allow_url_include`, `?phpinfo`: a name alone is a value too.
            collector.add("names", name, name)
        if equals and not collector.add("args", name, _unplus(value)):
            return
    if odd:
        collector.add(whole, "", _unplus(encoded))


#: PHP and Rails arrays: `filter[price][]`.
_ARRAY_NAME = re.compile(r"[\w.\-]{1,128}(?:\[[\w.\-]{0,64}\]){1,8}")


def _add_cookies(collector: Collector, header: str) -> None:
    for count, pair in enumerate(header.split(";", MAX_FIELDS)):
        name, _, value = pair.strip().partition("=")
        if count == MAX_FIELDS:
            return
        if not _ORDINARY_NAME.match(name):
            collector.add("cookie_names", name, percent_decoded(name))
        if value:
            collector.add("cookies", name, percent_decoded(value) if "%" in value else value)


#: An absolute-form target: scheme and authority go to the host.
_ABSOLUTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]{0,15}://([^/?#]*)")

#: Headers that a browser or proxy makes from a fixed grammar; log4shell still hides there, injections do not.
_FORMAL_TEXT = """
accept accept-encoding connection keep-alive content-length cache-control pragma upgrade-insecure-requests dnt
te date if-none-match if-match if-modified-since if-unmodified-since if-range expect upgrade priority
proxy-connection transfer-encoding authorization proxy-authorization etag content-md5 digest x-csrf-token
x-xsrf-token x-request-id traceparent tracestate
"""
_FORMAL = frozenset(_FORMAL_TEXT.split())


def is_formal(header: str) -> bool:
    """Whether a header (lower case) has a fixed grammar rather than text that an application would use."""
    return header in _FORMAL or header.startswith("sec-")


def parse(method: str, path: str, headers: Headers = (), body: str | bytes = "") -> Request:
    """Never raises; what cannot be parsed is looked at as one text."""
    collector = Collector()
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    kept: list[tuple[str, str]] = []
    for name, value in pairs:
        if len(kept) >= MAX_HEADERS:
            collector.truncated.add("headers")
            break
        kept.append((str(name).lower(), str(value)))
    host = next((value for name, value in kept if name == "host"), "")
    target = path
    absolute = _ABSOLUTE.match(path)
    if absolute:
        host, target = absolute[1], path[absolute.end() :] or "/"
    _add_target(collector, target)
    for name, value in kept:
        if name == "cookie":
            _add_cookies(collector, value)
        else:
            collector.add("headers", name, value)
    text = body if isinstance(body, str) else text_of(body)
    if text:
        from dpi_dual.waf.body import add_body

        content_type = next((value for name, value in kept if name == "content-type"), "")
        add_body(collector, content_type, text)
    return Request(
        method,
        path,
        host,
        tuple(kept),
        tuple(collector.fields),
        text,
        tuple(sorted(collector.truncated)),
        tuple(sorted(collector.malformed)),
    )


#: A path segment with nothing in it but what file names have.
_ORDINARY_SEGMENT = re.compile(r"[A-Za-z0-9_.\-~/]*\Z")


def _add_target(collector: Collector, target: str) -> None:
    path, _, query = target.partition("?")
    decoded = percent_decoded(path) if "%" in path else path
    collector.add("path", "", decoded)
    if not _ORDINARY_SEGMENT.match(decoded):
        for segment in decoded.split("/", 65)[:65]:
            if not _ORDINARY_SEGMENT.match(segment):
                collector.add("segment", "", segment)
        # Markup and addresses have slashes of their own.
        collector.add("segment", "", decoded.lstrip("/"))
    if query:
        # No browser sends a fragment; what stands behind `#` here is part of what the application gets.
        add_pairs(collector, query, "query")
