"""A copy of one request, as the addon hands it to the analyser and Buffer B keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dpi_dual.mitm.wire import WireError, encode_frame
from dpi_dual.waf.request import Request, parse
from dpi_dual.waf.verdict import Hit, Verdict

#: Bounds of a copy; the WAF looks at no more headers either.
MAX_HEADERS = 128
MAX_HEADER_BYTES = 65_536
MAX_TARGET = 16_384
MAX_HOST = 255
MAX_METHOD = 32

#: The method of a copy that is a WebSocket message.
WEBSOCKET = "WEBSOCKET"

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One request. `at` is Unix seconds, `size` the body's bytes as far as seen, `body` what was kept of them."""

    id: str
    at: float
    client_ip: str
    client_port: int
    method: str
    scheme: str
    host: str
    target: str
    """Path and query as they were sent."""
    version: str
    headers: Pairs
    body: bytes = b""
    size: int = 0
    cut: bool = False
    """More of the request existed than was kept."""
    blocked: bool = False
    origin: str = ""
    quick: Verdict | None = None
    redacted: tuple[str, ...] = field(default=())
    """Places whose values were blanked: what was found there cannot be found again."""

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]

    def request(self) -> Request:
        """As the WAF takes it; a message of a WebSocket is judged as what it is nearest to."""
        method = "POST" if self.method == WEBSOCKET else self.method
        return parse(method, self.target, self.headers, self.body)


def encode_verdict(verdict: Verdict) -> dict[str, Any]:
    """A verdict for the wire; most find nothing."""
    return verdict.as_dict() if verdict.rules else {"tier": verdict.tier}


def decode_verdict(given: Any) -> Verdict:
    """The inverse of `encode_verdict`; raises WireError."""
    try:
        if "rules" not in given:
            return Verdict(0, (), (), False, False, str(given["tier"]))
        hits = tuple(
            Hit(str(hit["rule"]), str(hit["category"]), str(hit["place"]), str(hit["matched"]), int(hit["score"]))
            for hit in given["rules"]
        )
        categories = tuple(str(category) for category in given["categories"])
        return Verdict(
            int(given["score"]), categories, hits, bool(given["alert"]), bool(given["block"]), str(given["tier"])
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise WireError(f"a verdict without {error}") from None


def encode_record(record: Record) -> bytes:
    """A record as a frame."""
    head = {
        "t": "request",
        "id": record.id,
        "at": record.at,
        "ip": record.client_ip,
        "port": record.client_port,
        "method": record.method,
        "scheme": record.scheme,
        "host": record.host,
        "target": record.target,
        "version": record.version,
        "headers": record.headers,
        "size": record.size,
        "cut": record.cut,
        "blocked": record.blocked,
        "origin": record.origin,
        "quick": encode_verdict(record.quick) if record.quick is not None else None,
    }
    if record.redacted:
        head["redacted"] = record.redacted
    return encode_frame(head, record.body)


def record_of(head: dict[str, Any], body: bytes) -> Record:
    """The record of a decoded frame; raises WireError."""
    try:
        return Record(
            id=str(head["id"]),
            at=float(head["at"]),
            client_ip=str(head["ip"]),
            client_port=int(head["port"]),
            method=str(head["method"]),
            scheme=str(head["scheme"]),
            host=str(head["host"]),
            target=str(head["target"]),
            version=str(head["version"]),
            headers=tuple((str(name), str(value)) for name, value in head["headers"]),
            body=body,
            size=int(head["size"]),
            cut=bool(head["cut"]),
            blocked=bool(head["blocked"]),
            origin=str(head["origin"]),
            quick=None if head["quick"] is None else decode_verdict(head["quick"]),
            redacted=tuple(str(place) for place in head.get("redacted", ())),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise WireError(f"a request without {error}") from None


def without_body(record: Record) -> Record:
    """For a queue that is nearly full: what was found matters more than the text."""
    return replace(record, body=b"", cut=record.cut or bool(record.body))
