"""One request on its way through the live path, and the look at a body that is streamed."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace

from mitmproxy import http

from dpi_dual.mitm.live import Heads, LivePath, target_of
from dpi_dual.mitm.origins import Origin, host_only
from dpi_dual.mitm.record import MAX_HOST, MAX_METHOD, WEBSOCKET, Record
from dpi_dual.waf.verdict import Verdict

log = logging.getLogger(__name__)


class Exchange:
    """What is known of a request between its hooks; found through its flow in O(1)."""

    __slots__ = (
        "answered",
        "at",
        "blocked",
        "body",
        "client",
        "copied",
        "cut",
        "heads",
        "host",
        "id",
        "inspect",
        "live",
        "method",
        "origin",
        "path",
        "response_size",
        "size",
        "target",
        "verdict",
    )

    def __init__(self, live: LivePath, client: tuple[str, int], heads: Heads, flow: http.HTTPFlow) -> None:
        self.id = secrets.token_hex(8)
        self.at = time.time()
        self.live = live
        self.client = client
        self.heads = heads
        self.host = host_only(heads.host)[:MAX_HOST]
        self.method = flow.request.method[:MAX_METHOD]
        self.target, self.cut = target_of(flow.request.data.path)
        self.path = self.target.partition("?")[0]
        self.origin: Origin | None = None
        self.verdict: Verdict | None = None
        self.body = b""
        self.size = 0
        self.blocked = False
        self.answered = False
        self.copied = False
        self.inspect: Inspect | None = None
        self.response_size = -1

    def judge(self, body: bytes) -> None:
        """Takes the verdict; with blocking on, it decides."""
        self.verdict = self.live.judge(self.method, self.target, self.heads.pairs, body, self.heads.encoding)
        self.blocked = self.blocked or (self.live.mitm.block_threats and self.verdict.block)

    def record(self, flow: http.HTTPFlow) -> Record:
        """The copy for the analyser."""
        return Record(
            id=self.id,
            at=self.at,
            client_ip=self.client[0],
            client_port=self.client[1],
            method=self.method,
            scheme=flow.request.scheme,
            host=self.host,
            target=self.target,
            version=flow.request.http_version,
            headers=self.heads.pairs,
            body=self.body,
            size=self.size,
            cut=self.cut,
            blocked=self.blocked,
            origin=self.origin.name if self.origin else "",
            quick=self.verdict,
        )

    def message(self, flow: http.HTTPFlow, content: bytes) -> Record:
        """The copy of a WebSocket message on the connection that this exchange opened, judged."""
        body = content[: self.live.mitm.max_body]
        kind = "application/json" if body[:1] in (b"{", b"[") else "text/plain"
        agent = next((value for name, value in self.heads.pairs if name.lower() == "user-agent"), "")
        headers = (
            ("host", self.host),
            ("user-agent", agent),
            ("accept", "*/*"),
            ("content-type", kind),
            ("content-length", str(len(body))),
        )
        record = Record(
            id=secrets.token_hex(8),
            at=time.time(),
            client_ip=self.client[0],
            client_port=self.client[1],
            method=WEBSOCKET,
            scheme="wss" if flow.request.scheme == "https" else "ws",
            host=self.host,
            target=self.path,
            version=flow.request.http_version,
            headers=headers,
            body=body,
            size=len(content),
            cut=len(body) < len(content),
            origin=self.origin.name if self.origin else "",
        )
        verdict = self.live.judge("POST", record.target, headers, body)
        return replace(record, quick=verdict, blocked=self.live.mitm.block_threats and verdict.block)


class Inspect:
    """Looks at a streamed request body as it passes: its first `max_body` bytes are judged before they go on.

    Once headers went to the origin a request cannot be taken back. A body found guilty is therefore sent on as blanks
    of the same length, whatever its framing, and the origin's answer is thrown away for the block page.
    """

    def __init__(self, exchange: Exchange, hold: bool) -> None:
        self._exchange = exchange
        self._held: list[bytes] | None = [] if hold else None
        self._seen = bytearray()
        self._judged = False

    def __call__(self, data: bytes) -> Sequence[bytes] | bytes:
        """mitmproxy's contract: a chunk in, what is to be sent out; empty input is the end."""
        exchange = self._exchange
        exchange.size += len(data)
        if not self._judged:
            most = exchange.live.mitm.max_body
            room = most - len(self._seen)
            self._seen += data[:room]
            if data and len(self._seen) < most:
                if self._held is None:
                    return data
                self._held.append(data)
                return []
            self._judge()
        if not data and self._held is None:
            return []
        held, self._held = self._held or [], None
        out = [*held, data] if data else held
        return [b" " * len(chunk) for chunk in out] if exchange.blocked else out

    def _judge(self) -> None:
        exchange = self._exchange
        self._judged = True
        exchange.body = bytes(self._seen)
        exchange.cut = exchange.cut or exchange.size > len(self._seen)
        try:
            exchange.judge(exchange.body)
        except Exception:  # as in `_guarded`, which cannot reach here
            log.exception("dpi-dual: a streamed body could not be judged; it goes on uninspected")
