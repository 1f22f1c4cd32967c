"""What the live path does to one request: who, where to, and is it an attack. Bounded work, no mitmproxy."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from dpi_dual.mitm.client import PORT_HEADER, REPLAY_HEADER, TrustedProxies
from dpi_dual.mitm.judge import quick_rules
from dpi_dual.mitm.modify import Modifications
from dpi_dual.mitm.origins import Origins
from dpi_dual.mitm.policy import Policy
from dpi_dual.mitm.record import MAX_TARGET, Pairs, bounded_headers
from dpi_dual.waf.normalise import text_of
from dpi_dual.waf.request import parse
from dpi_dual.waf.verdict import Verdict

_PORT, _REPLAY = PORT_HEADER.lower().encode(), REPLAY_HEADER.lower().encode()


@dataclass(slots=True)
class Heads:
    """The headers of a request, read in one pass."""

    pairs: Pairs
    cut: bool
    forwarded: list[str]
    port: str
    host: str
    encoding: str
    internal: bool
    """Headers of ours were among them: they must not reach the origin."""


def read_headers(fields: Iterable[tuple[bytes, bytes]], authority: str) -> Heads:
    """Raw header fields as text; `authority` is HTTP/2's, empty for HTTP/1."""
    pairs: list[tuple[str, str]] = [("host", authority)] if authority else []
    heads = Heads((), False, [], "", authority, "", False)
    for raw, value in fields:
        name = raw.lower()
        if name in (_PORT, _REPLAY):
            heads.internal = True
            if name == _PORT:
                heads.port = value[:8].decode("latin-1")
            continue
        text = value.decode("ascii") if value.isascii() else text_of(value)
        if name == b"x-forwarded-for":
            heads.forwarded.append(text[:2048])
        elif name == b"host":
            if authority:
                continue
            heads.host = heads.host or text
        elif name == b"content-encoding":
            heads.encoding = text.lower().strip()
        pairs.append((raw.decode("latin-1"), text))
    heads.pairs, heads.cut = bounded_headers(pairs)
    return heads


def inflated(body: bytes, encoding: str, most: int) -> bytes:
    """The body as the origin will read it: gzip and deflate undone up to `most` bytes; else as it is."""
    if encoding not in ("gzip", "x-gzip", "deflate") or not body:
        return body
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        try:
            return zlib.decompressobj(bits).decompress(body, most)
        except zlib.error:
            continue
    return body


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
