"""What the live path does to one request: who, where to, and is it an attack. Bounded work, no mitmproxy."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from dpi_dual.mitm.client import PORT_HEADER, REPLAY_HEADER, TrustedProxies
from dpi_dual.mitm.judge import quick_rules
from dpi_dual.mitm.modify import Modifications
from dpi_dual.mitm.origins import Origins
from dpi_dual.mitm.policy import Policy
from dpi_dual.mitm.record import MAX_HEADER_BYTES, MAX_HEADERS, MAX_TARGET, Pairs
from dpi_dual.waf.normalise import text_of
from dpi_dual.waf.request import parse
from dpi_dual.waf.verdict import Verdict

_PORT, _REPLAY = PORT_HEADER.lower(), REPLAY_HEADER.lower()


@dataclass(slots=True)
class Heads:
    """The headers of a request, read in one pass."""

    host: str
    pairs: Pairs = ()
    cut: bool = False
    """There were more than a copy takes."""
    forwarded: list[str] = field(default_factory=list)
    port: str = ""
    encoding: str = ""
    length: int | None = 0
    """Bytes of the body to come; None: told only by its end."""
    internal: bool = False
    """Headers of ours were among them: they must not reach the origin."""


class _Names(dict[bytes, tuple[str, str]]):
    """Header names as text and in lower case; the same few dozen come with every request."""

    def __missing__(self, raw: bytes) -> tuple[str, str]:
        if len(self) >= 1024:
            self.clear()
        text = raw.decode("latin-1")
        pair = (text, text.lower())
        if len(raw) <= 64:
            self[raw] = pair
        return pair


_names = _Names()
_SPECIAL = frozenset(
    {_PORT, _REPLAY, "x-forwarded-for", "host", "content-encoding", "content-length", "transfer-encoding"}
)


def read_headers(fields: Iterable[tuple[bytes, bytes]], authority: str | None) -> Heads:
    """Raw header fields as text; `authority` is HTTP/2's, None for HTTP/1.

    HTTP/2 needs no Content-Length: what has none there may still have a body.
    """
    http2 = authority is not None
    heads = Heads(authority or "", length=None if http2 else 0)
    pairs: list[tuple[str, str]] = [("host", heads.host)] if authority else []
    room = MAX_HEADER_BYTES
    for raw, value in fields:
        name, lower = _names[raw]
        text = value.decode("ascii") if value.isascii() else text_of(value)
        if lower in _SPECIAL and not _special(heads, lower, text, bool(authority)):
            continue
        room -= len(raw) + len(value)
        if room < 0 or len(pairs) >= MAX_HEADERS:
            heads.cut = True
            continue
        pairs.append((name, text))
    heads.pairs = tuple(pairs)
    return heads


def _special(heads: Heads, name: str, text: str, authority: bool) -> bool:
    """Notes what is needed here; False for what is no part of the copy."""
    if name in (_PORT, _REPLAY):
        heads.internal = True
        heads.port = text[:8] if name == _PORT else heads.port
        return False
    if name == "x-forwarded-for":
        heads.forwarded.append(text[:2048])
    elif name == "host":
        heads.host = heads.host or text
        return not authority
    elif name == "content-encoding":
        heads.encoding = text.lower().strip()
    elif name == "transfer-encoding":
        heads.length = None
    elif heads.length is not None or authority:
        # mitmproxy refuses what is no number, and two that differ.
        heads.length = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
    return True


def inflated(body: bytes, encoding: str, most: int) -> bytes:
    """The body as the origin will read it: gzip and deflate undone up to `most` bytes; else as it is."""
    if encoding not in ("gzip", "x-gzip", "deflate") or not body:
        return body
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, most)
    except zlib.error:
        if encoding != "deflate":
            return body
    # RFC 9110 section 8.4.1.2: some send deflate without its wrapper. Almost any text begins like that, so only what is
    # whole counts; otherwise text that is merely called deflate would pass unseen.
    raw = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        text = raw.decompress(body, most)
    except zlib.error:
        return body
    return text if len(text) >= most or (raw.eof and not raw.unused_data) else body


class LivePath:
    """One policy made ready; replaced as a whole when the policy changes."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.mitm = policy.mitm
        self.trusted = TrustedProxies(policy.mitm.trusted_proxy)
        self.origins = Origins(policy.backend)
        self.on_request = Modifications(policy.modify, "request")
        self.on_response = Modifications(policy.modify, "response")
        self._rules = quick_rules(policy)

    def judge(self, method: str, target: str, pairs: Pairs, body: bytes, encoding: str = "") -> Verdict:
        """The quick tier's verdict."""
        if body and encoding:
            body = inflated(body, encoding, self.mitm.max_body)
        return self._rules.judge(parse(method, target, pairs, body))


def target_of(raw: bytes) -> tuple[str, bool]:
    """A request target as text, and whether it was cut."""
    text = raw[:MAX_TARGET].decode("ascii") if raw.isascii() else text_of(raw[:MAX_TARGET])
    return text, len(raw) > MAX_TARGET
