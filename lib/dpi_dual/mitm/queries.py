"""What the engine may ask the analyser: requests of an address, one request, replay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from dpi_dual.mitm.analysis import Analysis
from dpi_dual.mitm.judge import CandidateError
from dpi_dual.mitm.redact import BLANK
from dpi_dual.mitm.replay import MAX_RESENT, chosen, replay, resendable

SUMMARIES = 100
BODY_SHOWN = 16_384
#: For all requests that one call sends again: with the judging before it, an answer within ubus's patience.
RESEND_WAIT_S = 6.0

Answer = dict[str, Any]


class ToAddon(Protocol):
    """Sends a message down."""

    def __call__(self, head: Answer, body: bytes = b"") -> None: ...


class Queries:
    """Answers by name."""

    def __init__(self, analysis: Analysis, to_addon: ToAddon) -> None:
        self.analysis = analysis
        self._to_addon = to_addon
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    async def answer(self, name: str, params: Any) -> Answer:
        """The answer, or `{"error", "code"}`."""
        handlers: dict[str, Callable[[Answer], Awaitable[Answer]]] = {
            "context": self.context,
            "request": self.request,
            "replay": self.replay,
        }
        handler = handlers.get(name)
        if handler is None or not isinstance(params, dict):
            return {"error": "no such query", "code": "bad_query"}
        try:
            return await handler(params)
        except CandidateError as error:
            return {"error": str(error), "code": "bad_candidate"}

    def resent(self, head: Answer) -> None:
        """The addon says how a request that was sent again was answered."""
        waiting = self._waiting.pop(str(head.get("id")), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(head)

    async def context(self, params: Answer) -> Answer:
        """The requests of an address, newest first."""
        limit = params.get("limit")
        limit = min(limit, SUMMARIES) if type(limit) is int and limit else 50
        return {"requests": [entry.summary() for entry in chosen(self.analysis, {**params, "limit": limit})]}

    async def request(self, params: Answer) -> Answer:
        """One request with its text, secrets blanked."""
        entries = chosen(self.analysis, {"id": params.get("id") or "none"})
        record = self.analysis.ring.record(entries[0]) if entries else None
        if record is None:
            return {"error": "this request is not in the buffer any more", "code": "gone"}
        body = record.body[:BODY_SHOWN]
        return {
            **entries[0].summary(),
            "target": record.target,
            "version": record.version,
            "headers": [list(pair) for pair in record.headers],
            "body": body.decode("utf-8", "replace"),
            "body_size": record.size,
            "body_cut": record.cut or len(body) < len(record.body),
        }

    async def replay(self, params: Answer) -> Answer:
        answer = await replay(self.analysis, params)
        if params.get("active") is True:
            answer["active"] = await self._resend(params)
        return answer

    async def _resend(self, params: Answer) -> list[Answer]:
        """Sends requests again through mitmproxy, one after another, and compares the answers."""
        results: list[Answer] = []
        loop = asyncio.get_running_loop()
        until = loop.time() + RESEND_WAIT_S
        for entry in chosen(self.analysis, params)[:MAX_RESENT]:
            record = self.analysis.ring.record(entry)
            result: Answer = {"id": entry.id, "method": entry.method, "host": entry.host, "path": entry.path}
            results.append(result)
            reason = resendable(record, params.get("force") is True)
            if reason or record is None:
                result["skipped"] = reason
                continue
            waiting = self._waiting[entry.id] = loop.create_future()
            headers = [pair for pair in record.headers if pair[1] != BLANK]
            self._to_addon(
                {
                    "t": "resend",
                    "id": entry.id,
                    "method": record.method,
                    "host": record.host,
                    "target": record.target,
                    "headers": headers,
                },
                record.body,
            )
            try:
                got = await asyncio.wait_for(waiting, max(until - loop.time(), 0.1))
            except TimeoutError:
                self._waiting.pop(entry.id, None)
                result["skipped"] = "the origin did not answer in time"
                continue
            before = {"status": entry.status, "size": entry.response_size, "type": entry.response_type}
            after = {"status": got.get("status", 0), "size": got.get("size", 0), "type": got.get("type", "")}
            result.update(
                before=before,
                after=after,
                differs=[name for name in before if before[name] != after[name]],
                latency_ms=round(float(got.get("latency_ms", 0.0)), 2),
            )
        return results
