"""The engine's side of the MITM stream: follows the analyser's socket, keeps its alerts, asks it about the buffer.

The analyser may live in a container that an attacker has taken over: whatever it says is bounded in size, type and
number, and nothing it says is followed as a path, pattern or command.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dpi_dual.errors import QueryError
from dpi_dual.mitm import policy as policies
from dpi_dual.mitm.alerts import Alert, Alerts, Wanted
from dpi_dual.mitm.analyser_figures import AnalyserFigures
from dpi_dual.mitm.wire import MAX_LINE, SOCKET, WireError, decode_line, encode_line
from dpi_dual.model import Problem
from dpi_dual.settings import Settings

RETRY_S = 1.0
LONGEST_RETRY_S = 5.0
#: waf-alerts.json holds up to 1,000 alerts: not written anew for each of them.
PUBLISH_S = 2.0
#: How often alerts are looked through for those that are too old.
PRUNE_S = 600.0
#: Lines a second that we are willing to read; above it the analyser waits, and its spool takes what comes.
LINES_S = 200.0
#: So much is read at a time.
READ_AHEAD = 64 * 1024
#: Both below what a plugin waits for the engine (`rpc.plugin.ENGINE_TIMEOUT_S`): else it would take us for hung.
QUERY_TIMEOUT_S = 10.0
REPLAY_TIMEOUT_S = 13.0
QUERIES = 32
#: Addresses that wait for a replay because CrowdSec decided about them, and how many results are shown.
LOOKED_BACK_AT = 50
REPLAYS_SHOWN = 10


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines; `readline` would let a megabyte of a burst pile up before it makes the analyser wait."""
    rest = b""
    while data := await reader.read(READ_AHEAD):
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > MAX_LINE or any(len(line) > MAX_LINE for line in lines):
            raise ValueError(f"a line of more than {MAX_LINE} bytes")
        for line in lines:
            yield line


class MitmLink:
    """Outlives reloads and the analyser; `run` is the supervised part."""

    def __init__(
        self,
        settings: Settings,
        db: sqlite3.Connection,
        publish: Callable[[str, Any], None],
        on_alert: Callable[[Alert], None] | None = None,
    ) -> None:
        """`publish(file name, content)` writes a snapshot; `on_alert` hears of each new alert exactly once."""
        self._settings = settings
        self._publish = publish
        self.store = Alerts(db, on_alert)
        self._figures = AnalyserFigures()
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._refused = ""
        self._banned: deque[str] = deque(maxlen=LOOKED_BACK_AT)
        self._look = asyncio.Event()
        self._replays: deque[dict[str, Any]] = deque(maxlen=REPLAYS_SHOWN)
        self._own = {"mitm_link_connects": 0, "mitm_link_bad_messages": 0, "mitm_replays_on_decision": 0}

    # --- life

    @property
    def connected(self) -> bool:
        """Whether the analyser is there."""
        return self._writer is not None

    def reconfigure(self, settings: Settings) -> None:
        """Takes new settings and tells the analyser. Also to be called when the stream is switched off."""
        moved = settings.mitm.buffer_dir != self._settings.mitm.buffer_dir
        self._settings = settings
        self._send({"policy": self._policy()})
        if moved and self._writer is not None:
            self._writer.close()

    def _policy(self) -> dict[str, Any]:
        settings = self._settings
        on = "mitm" in settings.parts()
        return policies.of_settings(replace(settings, mitm=replace(settings.mitm, enabled=on))).as_dict()

    async def run(self) -> None:
        """Connects again and again, and publishes, until cancelled."""
        beside = [asyncio.ensure_future(work()) for work in (self._publishing, self._looking_back)]
        delay = RETRY_S
        try:
            while True:
                try:
                    reader, writer = await self._connect()
                except (OSError, ValueError) as error:
                    self._refused = str(error)
                    await asyncio.sleep(delay)
                    delay = min(delay * 1.5, LONGEST_RETRY_S)
                    continue
                delay = RETRY_S
                self._refused = ""
                self._own["mitm_link_connects"] += 1
                try:
                    await self._follow(reader, writer)
                except (ConnectionError, ValueError) as error:
                    self._refused = str(error)
                finally:
                    self._left(writer)
                await asyncio.sleep(delay)
        finally:
            for work in beside:
                work.cancel()
            await asyncio.wait(beside)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects to the socket itself, not to what a symbolic link in its place leads to."""
        path = os.path.join(self._settings.mitm.buffer_dir, SOCKET)  # noqa: PTH118 - pathlib is slow to import
        place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not stat.S_ISSOCK(os.fstat(place).st_mode):
                raise ValueError(f"{path} is not a socket")
            return await asyncio.open_unix_connection(f"/proc/self/fd/{place}", limit=READ_AHEAD)
        finally:
            os.close(place)

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._send({"policy": self._policy()})
        allowance, at = LINES_S, time.monotonic()
        async for line in _lines(reader):
            now = time.monotonic()
            allowance = min(allowance + (now - at) * LINES_S, LINES_S) - 1
            at = now
            if allowance < 0:
                await asyncio.sleep(-allowance / LINES_S)
            try:
                self._message(decode_line(line))
            except WireError:
                self._own["mitm_link_bad_messages"] += 1

    def _left(self, writer: asyncio.StreamWriter) -> None:
        self._writer = None
        self._figures.left()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the analyser has gone"))
        self._waiting.clear()
        with contextlib.suppress(ConnectionError):
            writer.close()

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode_line(message))

    # --- messages

    def _message(self, message: dict[str, Any]) -> None:
        if isinstance(message.get("hello"), dict):
            self._figures.met(str(message["hello"].get("session"))[:64])
        stream, events = message.get("stream"), message.get("events")
        # Half a character (a lone surrogate) is JSON, and nothing for a database.
        if isinstance(events, list) and isinstance(stream, str) and stream.isascii():
            number = self.store.take(stream[:64], events[:256])
            self._send({"ack": number})
        if isinstance(message.get("figures"), dict):
            self._figures.take(message)
        if type(message.get("answer")) is int and isinstance(message.get("result"), dict):
            waiting = self._waiting.pop(message["answer"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message["result"])

    async def _publishing(self) -> None:
        pruned_at = float("-inf")
        while True:
            if time.monotonic() - pruned_at >= PRUNE_S:
                pruned_at = time.monotonic()
                self.store.prune(time.time())
            if self.store.changed:
                self._publish("waf-alerts.json", self.store.file())
            self._publish("dpi-buffer.json", self.buffer())
            await asyncio.sleep(PUBLISH_S)

    def look_back(self, ip: str) -> None:
        """CrowdSec banned an address: its buffered requests are judged again soon, if `replay_on_alert` is set."""
        if self._settings.mitm.replay_on_alert and self.connected:
            self._banned.append(ip)
            self._look.set()

    async def _looking_back(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            while self._banned:
                ip = self._banned.popleft()
                try:
                    found = await self.replay(ip=ip)
                except QueryError as error:
                    found = error.answer()
                else:
                    found = {key: found.get(key) for key in ("requests", "newly_alerting", "no_longer_alerting")}
                    self._own["mitm_replays_on_decision"] += 1
                self._replays.append({"ip": ip, "at": round(time.time(), 3), **found})

    # --- answers

    def totals(self) -> tuple[int, int]:
        """Requests and threats since the engine began, for the time series."""
        return self._figures.total("requests_total"), self._figures.total("threats_detected")

    def status(self) -> dict[str, Any]:
        """The `mitm_stream` block of `dpi.status status`."""
        return {
            "running": self.connected and "mitm" in self._settings.parts(),
            "buffer_entries": self._figures.count("entries"),
            "threats_detected": self._figures.total("threats_detected"),
            "blocked_count": self._figures.total("blocked_count"),
            "requests_total": self._figures.total("requests_total"),
            "blocking": self._settings.mitm.block_threats,
            "tier": self._figures.word("tier"),
        }

    def buffer(self) -> dict[str, Any]:
        """The answer of `dpi.status buffer` and the content of `dpi-buffer.json`."""
        mitm = self._settings.mitm
        figures = self._figures
        return {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "entries": figures.count("entries"),
            "max_size": figures.count("max_size") or mitm.buffer_size,
            "requests_total": self._figures.total("requests_total"),
            "threats_detected": self._figures.total("threats_detected"),
            "blocked_count": self._figures.total("blocked_count"),
            "high_threat_in_buffer": figures.count("high_threat_in_buffer"),
            "threat_distribution": figures.counts("threat_distribution"),
            "top_hosts": figures.counts("top_hosts"),
            "analysis_enabled": mitm.async_analysis,
            "replay_enabled": mitm.replay_on_alert,
            "anomaly_model": figures.word("anomaly_model"),
            "waiting": figures.count("waiting"),
            "unreported": figures.count("unreported"),
            "replays": list(self._replays),
        }

    def alerts(self, limit: int = 50, before: str = "", wanted: Wanted | None = None) -> dict[str, Any]:
        """The answer of `dpi.status alerts`: newest first."""
        return self.store.page(limit, before, wanted)

    async def replay(self, **params: Any) -> dict[str, Any]:
        """The answer of `dpi.status replay`: id or ip, limit, exclusions, rules, active, force. Raises QueryError."""
        given = {name: value for name, value in params.items() if value not in (None, "", [])}
        if not given.get("id") and not given.get("ip") and not (given.get("exclusions") or given.get("rules")):
            raise QueryError("bad_parameter", "replay needs an id, an ip, or candidate exclusions or rules")
        return await self._ask("replay", given, REPLAY_TIMEOUT_S)

    async def context(self, ip: str, since: float = 0.0, limit: int = 50) -> list[dict[str, Any]]:
        """The buffered requests of an address, newest first, without values; empty if the analyser is away."""
        if not self.connected:
            return []
        try:
            answer = await self._ask("context", {"ip": ip, "since": since, "limit": limit}, QUERY_TIMEOUT_S)
        except QueryError:
            return []
        rows = answer.get("requests")
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    async def request(self, identity: str) -> dict[str, Any]:
        """One buffered request with its text, secrets blanked. Raises QueryError."""
        return await self._ask("request", {"id": identity}, QUERY_TIMEOUT_S)

    async def _ask(self, name: str, params: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        if not self.connected:
            raise QueryError("mitm_down", f"the analyser is not there: {self._why()}")
        if len(self._waiting) >= QUERIES:
            raise QueryError("busy", "too many questions wait for the analyser; try again")
        self._number += 1
        number = self._number
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"query": number, "name": name, "params": params})
            answer: dict[str, Any] = await asyncio.wait_for(waiting, timeout_s)
        except TimeoutError:
            raise QueryError("timeout", "the analyser did not answer in time") from None
        except ConnectionError as error:
            raise QueryError("mitm_down", str(error)) from None
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            code = str(answer.get("code"))
            raise QueryError(code if code.isidentifier() and len(code) < 40 else "refused", str(answer["error"])[:500])
        return answer

    # --- health

    def _why(self) -> str:
        return self._refused or "not connected yet"

    def counters(self) -> dict[str, int]:
        """Drops and oddities of addon, analyser and link."""
        store = {
            "mitm_alerts_taken": self.store.taken,
            "mitm_alerts_refused": self.store.refused,
            "mitm_alerts_repeated": self.store.repeated,
        }
        return {**self._figures.counters, **self._own, **store}

    def problems(self) -> list[Problem]:
        """What an owner should know about this stream."""
        settings = self._settings
        found: list[Problem] = []
        if self.store.failed:
            found.append(
                Problem(
                    "mitm_alerts_not_stored",
                    f"WAF alerts cannot be stored ({self.store.failed}); they are lost at a restart.",
                    "Free some memory in /tmp.",
                    "error",
                )
            )
        if "mitm" not in settings.parts():
            return found
        if not self.connected:
            # Nothing published: a router that never had a proxy is not ill.
            used = bool(settings.haproxy.enabled or settings.mitm.manage or settings.backend)
            found.append(
                Problem(
                    "mitm_unreachable",
                    f"no analyser at {settings.mitm.buffer_dir}/{SOCKET} ({self._why()}); none are inspected.",
                    "Run mitmdump with the addon dpi_buffer.py and the same buffer_dir, or set mitm.enabled 0.",
                    "error" if used else "info",
                )
            )
        return found + [
            Problem(code if code.startswith("mitm_") and code.isidentifier() else "mitm_analyser", text, "", "warning")
            for code, text in self._figures.problems
        ]
