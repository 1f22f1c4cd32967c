"""Active replay in mitmproxy: a stored request as a flow of mitmproxy's own client replay, and how it was answered."""

from __future__ import annotations

import time
from typing import Any

from mitmproxy import connection, http

from dpi_dual.mitm.client import REPLAY_HEADER
from dpi_dual.mitm.origins import Origin

MARK = "dpi_dual_replay"

#: They belong to the connection the request once came on.
_HOP_BY_HOP = frozenset({"content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "keep-alive"})


def flow_of(head: dict[str, Any], body: bytes, origin: Origin) -> http.HTTPFlow:
    """The request again, marked with `REPLAY_HEADER`, straight to its origin."""
    fields = [
        (str(name).encode("latin-1", "replace"), str(value).encode("utf-8", "surrogateescape"))
        for name, value in head["headers"]
        if str(name).lower() not in _HOP_BY_HOP
    ]
    fields.append((REPLAY_HEADER.encode(), str(head["id"]).encode()))
    if body:
        fields.append((b"Content-Length", str(len(body)).encode()))
    now = time.time()
    client = connection.Client(peername=("127.0.0.1", 0), sockname=("127.0.0.1", 0), timestamp_start=now)
    flow = http.HTTPFlow(client, connection.Server(address=(origin.host, origin.port)))
    flow.request = http.Request(
        host=origin.host,
        port=origin.port,
        method=str(head["method"]).encode("latin-1", "replace"),
        scheme=origin.scheme.encode(),
        authority=b"",
        path=str(head["target"]).encode("utf-8", "surrogateescape"),
        http_version=b"HTTP/1.1",
        headers=http.Headers(fields),
        content=body,
        trailers=None,
        timestamp_start=now,
        timestamp_end=now,
    )
    flow.metadata[MARK] = head["id"]
    return flow


def content_type(response: http.Response) -> str:
    """Without parameters; read from the raw fields, as it is asked for with every response."""
    for name, value in response.headers.fields:
        if name.lower() == b"content-type":
            return value[:64].partition(b";")[0].decode("latin-1")
    return ""


def outcome(flow: http.HTTPFlow) -> dict[str, Any]:
    """How a flow made by `flow_of` was answered; 502 if it was not."""
    head: dict[str, Any] = {"t": "resent", "id": flow.metadata.pop(MARK), "status": 502}
    response = flow.response
    if response is not None:
        started = flow.request.timestamp_end or 0.0
        head.update(
            status=response.status_code,
            size=len(response.raw_content or b""),
            type=content_type(response),
            latency_ms=1000 * max((response.timestamp_start or started) - started, 0.0),
        )
    return head
