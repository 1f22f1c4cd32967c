"""The addon in mitmproxy (Buffer A): routes each request, gives it a fast verdict, hands a copy to the analyser."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from mitmproxy import ctx, http
from mitmproxy.addonmanager import Loader

from dpi_dual.mitm import policy as policies
from dpi_dual.mitm import resend
from dpi_dual.mitm.analysis import ADDON_COUNTERS
from dpi_dual.mitm.client import HEALTH_PATH, PORT_HEADER, REPLAY_HEADER, address_of
from dpi_dual.mitm.exchange import Exchange, Inspect
from dpi_dual.mitm.feed import Feed
from dpi_dual.mitm.lean import make_lean
from dpi_dual.mitm.live import LivePath, read_headers
from dpi_dual.mitm.modify import MAX_BODY, change_body, change_headers, rewrites_body
from dpi_dual.mitm.options import add_options, buffer_dir, first_policy
from dpi_dual.mitm.origins import host_only
from dpi_dual.mitm.policy import Policy, PolicyError
from dpi_dual.mitm.refusal import page
from dpi_dual.mitm.seal import key_from_file, new_key

log = logging.getLogger(__name__)

STATE = "dpi_dual"
INTERNAL = frozenset({PORT_HEADER.lower().encode(), REPLAY_HEADER.lower().encode()})
MAX_LIMITED = 10_000
COUNT_S = 1.0
#: Bodies of these are messages that go both ways at once: holding one back would stop the conversation.
TWO_WAY = ("application/grpc", "application/connect")

Hook = TypeVar("Hook", bound=Callable[..., None])


def _guarded(hook: Hook) -> Hook:
    """A fault of ours is counted and logged; the request goes on as if we were not there."""

    @wraps(hook)
    def safe(self: Addon, *given: Any) -> None:
        try:
            hook(self, *given)
        except Exception:  # whatever it is, the live path comes first
            self.counts["errors"] += 1
            if self.counts["errors"] <= 20:
                log.exception("dpi-dual: %s failed; the request goes on uninspected", hook.__name__)

    return cast(Hook, safe)


class Addon:
    """The hooks. Everything that takes long is the analyser's."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = dict.fromkeys(ADDON_COUNTERS, 0)
        self.live = LivePath(policies.default())
        self.feed: Feed | None = None
        self._limited: dict[str, float] = {}
        self._told: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._from_engine = False

    # --- options and life

    def load(self, loader: Loader) -> None:
        """mitmproxy asks for options."""
        add_options(loader, self.live.mitm)

    def configure(self, updated: set[str]) -> None:
        """Options count while no engine and no UCI file says otherwise."""
        if self.feed is not None and not self._from_engine and any(name.startswith("dpi_") for name in updated):
            self._take(first_policy(ctx.options.dpi_buffer_dir or self.live.mitm.buffer_dir))

    @_guarded
    def running(self) -> None:
        """Starts the analyser."""
        if self.feed is not None:
            return
        # The client's own Host goes to the origin, which is chosen by it: there is nowhere to connect to before.
        ctx.options.update(keep_host_header=True, connection_strategy="lazy")  # type: ignore[no-untyped-call]
        directory = buffer_dir()
        self.live = LivePath(first_policy(directory))
        key = key_from_file(ctx.options.dpi_key_file) if ctx.options.dpi_key_file else new_key()
        self.feed = Feed(directory, key, self.live.policy, self._heard, self.counts)
        self.feed.start()
        if ctx.options.dpi_lean:
            log.debug("dpi-dual: not asked about requests: %s", ", ".join(make_lean()))
        self._timer = asyncio.get_running_loop().call_later(COUNT_S, self._count)

    @_guarded
    def done(self) -> None:
        """mitmproxy ends, and the analyser with it."""
        if self._timer is not None:
            self._timer.cancel()
        if self.feed is not None:
            self.feed.close()

    def _take(self, policy: Policy) -> None:
        self.live = LivePath(policy)
        if not policy.mitm.block_threats:
            self._limited.clear()
        if self.feed is not None:
            self.feed.policy = policy
            self.feed.tell({"t": "policy", "policy": policy.as_dict()})

    @_guarded
    def _heard(self, head: dict[str, Any], body: bytes) -> None:
        match head.get("t"):
            case "policy":
                try:
                    policy = policies.from_dict(head.get("policy"))
                except PolicyError as error:
                    log.error("dpi-dual: a policy is refused: %s", error)
                    return
                self._from_engine = True
                self._take(policy)
            case "limit" if str(head.get("ip")) not in self.live.trusted:
                # Never a proxy of ours: everybody is behind it.
                self._limited[str(head.get("ip"))] = float(head.get("until", 0.0))
                if len(self._limited) > MAX_LIMITED:
                    self._limited.pop(next(iter(self._limited)))
            case "resend":
                self._resend(head, body)

    @_guarded
    def _count(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(COUNT_S, self._count)
        if self.feed is not None and self.counts != self._told:
            self._told = dict(self.counts)
            self.feed.tell({"t": "counters", **self.counts})

    # --- requests

    @_guarded
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Who asks for what, and where it goes; bodies that may be long are set to be streamed."""
        if flow.is_replay == "request" or flow.error is not None:
            return
        live = self.live
        request = flow.request
        heads = read_headers(request.headers.fields, request.authority if request.is_http2 else None)
        peer, port = flow.client_conn.peername[:2]
        client = live.trusted.client(peer, port, heads.forwarded, heads.port)
        trusted = (address_of(peer) or peer) in live.trusted
        if request.data.path == HEALTH_PATH.encode() and trusted and not heads.forwarded:
            self._health(flow, live)
            return
        exchange = Exchange(live, client, heads, flow)
        flow.metadata[STATE] = exchange
        self.counts["requests"] += live.mitm.enabled
        if heads.internal:
            request.headers.fields = tuple(pair for pair in request.headers.fields if pair[0].lower() not in INTERNAL)
        if heads.forwarded and not trusted:
            # Whoever wrote it, the origin is not to believe it either.
            request.headers["X-Forwarded-For"] = client.ip
        if self._limited and live.mitm.block_threats and self._limited.get(client.ip, 0.0) > exchange.at:
            self._refuse_limited(flow, exchange)
            return
        if live.origins:
            self._route(flow, exchange)
        self._prepare_body(flow, exchange)

    def _refuse_limited(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """As cheaply as it can be said: neither judged nor copied."""
        self.counts["limited"] += 1
        told = page(429, "Too many requests", "Try again in half a minute.", {"Retry-After": "30"})
        self._answer(flow, exchange, told)
        self._prepare_body(flow, exchange)
        del flow.metadata[STATE]

    def _health(self, flow: http.HTTPFlow, live: LivePath) -> None:
        # Without any origin nothing can be served here: whoever checks had better go there directly.
        status, text = (200, b"ok\n") if live.origins else (503, b"no backend is known yet\n")
        flow.response = http.Response.make(status, text, {"Content-Type": "text/plain", "Cache-Control": "no-store"})

    def _route(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        origin = exchange.live.origins.of(exchange.host)
        if origin is None:
            self.counts["misdirected"] += 1
            self._answer(flow, exchange, page(421, "Misdirected request", "Nobody serves this host here."))
            return
        exchange.origin = origin
        data = flow.request.data
        # Not through the properties: those would write the origin's address into Host.
        data.host, data.port, data.scheme = origin.host, origin.port, origin.scheme.encode()

    def _prepare_body(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        request = flow.request
        expected = exchange.heads.length
        if expected is not None and expected <= exchange.live.mitm.max_body:
            return
        if exchange.answered:
            if expected is None and request.method in ("GET", "HEAD"):
                return
            # mitmproxy would gather the whole body first.
            flow.kill()  # type: ignore[no-untyped-call]
            return
        if exchange.live.mitm.enabled:
            exchange.judge(b"")
            content_type = request.headers.get("content-type", "").lower()
            hold = exchange.live.mitm.block_threats and not content_type.startswith(TWO_WAY)
            exchange.inspect = Inspect(exchange, hold)
            request.stream = exchange.inspect
        else:
            request.stream = True
        self._modify_request(flow, exchange, streamed=True)

    @_guarded
    def request(self, flow: http.HTTPFlow) -> None:
        """The whole request is here (or has passed): verdict, block, modification, copy."""
        exchange: Exchange | None = flow.metadata.get(STATE)
        if exchange is None:
            return
        if not exchange.live.mitm.enabled:
            if flow.response is None:
                self._modify_request(flow, exchange, streamed=bool(flow.request.stream))
            return
        streamed = exchange.inspect is not None and exchange.size > 0
        if not streamed:
            body = flow.request.raw_content or b""
            most = exchange.live.mitm.max_body
            exchange.size = len(body)
            exchange.body = body[:most] if len(body) > most else body
            exchange.cut = exchange.cut or exchange.heads.cut or len(body) > most
            exchange.judge(exchange.body)
            if exchange.blocked and flow.response is None:
                self._block(flow, exchange)
        if flow.response is None and exchange.inspect is None:
            self._modify_request(flow, exchange, streamed=False)
        self._copy(flow, exchange)

    def _block(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        text = "This request looks like an attack and was refused. If it was not, tell the owner of this site."
        self._answer(flow, exchange, page(403, "Request refused", text, reference=exchange.id))

    def _answer(self, flow: http.HTTPFlow, exchange: Exchange, response: http.Response) -> None:
        exchange.answered = True
        flow.response = response

    def _modify_request(self, flow: http.HTTPFlow, exchange: Exchange, streamed: bool) -> None:
        live, request = exchange.live, flow.request
        if live.on_response and rewrites_body(live.on_response.of(exchange.host, exchange.path)):
            # What is to be rewritten must come unpacked.
            request.headers["Accept-Encoding"] = "identity"
        if not live.on_request:
            return
        rules = live.on_request.of(exchange.host, exchange.path)
        change_headers(rules, request.headers)
        if rewrites_body(rules):
            content = request.raw_content
            if streamed or content is None or len(content) > MAX_BODY or exchange.heads.encoding:
                self.counts["modify_skipped"] += 1
            else:
                request.content = change_body(rules, content)

    def _copy(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        if exchange.copied or self.feed is None:
            return
        exchange.copied = True
        self.counts["blocked"] += exchange.blocked
        self.feed.copy(exchange.record(flow))

    # --- responses

    @_guarded
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Large or endless responses pass as they come; only their size is counted."""
        exchange: Exchange | None = flow.metadata.get(STATE)
        response = flow.response
        if response is None or response.status_code == 101:
            return
        if exchange is None or exchange.answered or exchange.blocked:
            return
        live = exchange.live
        rules = live.on_response.of(exchange.host, exchange.path) if live.on_response else []
        if rules:
            change_headers(rules, response.headers)
        length = next((value for name, value in response.headers.fields if name.lower() == b"content-length"), b"")
        if length.isdigit() and int(length) <= MAX_BODY:
            return
        if rewrites_body(rules):
            self.counts["modify_skipped"] += 1
        exchange.response_size = 0

        def counting(data: bytes) -> bytes:
            exchange.response_size += len(data)
            return data

        response.stream = counting

    @_guarded
    def response(self, flow: http.HTTPFlow) -> None:
        """The answer is here (or has passed): it is told to the analyser under the request's id."""
        if resend.MARK in flow.metadata:
            self._resent(flow)
            return
        exchange: Exchange | None = flow.metadata.get(STATE)
        response = flow.response
        if exchange is None or response is None:
            return
        if exchange.blocked and not exchange.answered:
            # The body was found guilty on its way; what the origin made of the blanks does not matter.
            self._copy(flow, exchange)
            self._block(flow, exchange)
        elif not exchange.answered and exchange.response_size < 0 and exchange.live.on_response:
            self._rewrite(exchange, response)
        self._tell_response(flow, exchange)

    def _rewrite(self, exchange: Exchange, response: http.Response) -> None:
        rules = exchange.live.on_response.of(exchange.host, exchange.path)
        if rewrites_body(rules) and response.raw_content:
            if response.headers.get("content-encoding", "identity") != "identity":
                self.counts["modify_skipped"] += 1
            else:
                response.content = change_body(rules, response.raw_content)

    def _tell_response(self, flow: http.HTTPFlow, exchange: Exchange, status: int = 0) -> None:
        if not exchange.copied or self.feed is None:
            return
        response, request = flow.response, flow.request
        latency = 0.0
        kind = ""
        size = max(exchange.response_size, 0)
        if response is not None:
            status = status or response.status_code
            latency = max((response.timestamp_start or 0.0) - (request.timestamp_end or exchange.at), 0.0)
            kind = resend.content_type(response)
            if exchange.response_size < 0:
                size = len(response.raw_content or b"")
        ms = round(1000 * latency, 3)
        self.feed.tell(
            {"t": "response", "id": exchange.id, "status": status, "size": size, "type": kind, "latency_ms": ms}
        )

    @_guarded
    def error(self, flow: http.HTTPFlow) -> None:
        """The client or the origin left: what was seen is analysed all the same."""
        if resend.MARK in flow.metadata:
            self._resent(flow)
            return
        exchange: Exchange | None = flow.metadata.get(STATE)
        if exchange is not None and exchange.live.mitm.enabled:
            if exchange.verdict is None:
                exchange.judge(exchange.body)
            self._copy(flow, exchange)
            self._tell_response(flow, exchange, 502)

    # --- WebSocket

    @_guarded
    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """A message from the client is judged like a body; an open socket must not gather messages for ever."""
        exchange: Exchange | None = flow.metadata.get(STATE)
        if flow.websocket is None or exchange is None:
            return
        messages = flow.websocket.messages
        message = messages[-1]
        del messages[:-1]
        if not message.from_client or not self.live.mitm.enabled or self.feed is None:
            return
        self.counts["websocket_messages"] += 1
        exchange.live = self.live  # the connection may outlive a policy
        record = exchange.message(flow, message.content)
        if record.blocked:
            message.drop()  # type: ignore[no-untyped-call]
            self.counts["blocked"] += 1
        self.feed.copy(record)

    # --- replay

    def _resend(self, head: dict[str, Any], body: bytes) -> None:
        """Sends a stored request to its origin again, through mitmproxy's own client replay."""
        origin = self.live.origins.of(host_only(str(head.get("host"))))
        if origin is not None:
            ctx.master.commands.call("replay.client", [resend.flow_of(head, body, origin)])
        elif self.feed is not None:
            self.feed.tell({"t": "resent", "id": head.get("id"), "status": 421})

    def _resent(self, flow: http.HTTPFlow) -> None:
        if self.feed is not None:
            self.feed.tell(resend.outcome(flow))


addons = [Addon()]
