"""Asks HAProxy whether requests go through mitmproxy or past it, over HAProxy's own statistics socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from dpi_dual.mitm.haproxy import BYPASS, INSPECT, MITM, STATE_SOCKET
from dpi_dual.model import Problem

#: How often the engine asks.
INTERVAL_S = 2.0
TIMEOUT_S = 2.0
#: One line for each server of the one backend asked about; some 500 bytes each.
MAX_ANSWER = 64 * 1024
MAX_FIGURE = 10**18


class StateError(OSError):
    """HAProxy did not answer, or not as one that runs our configuration would; `str()` says which."""


@dataclass(frozen=True, slots=True)
class HaproxyState:
    """What HAProxy says at one moment."""

    mitm_up: bool
    check: str
    """The last health check in HAProxy's words: `L7OK/200`, `L4CON`, `L7TOUT` …; an asterisk: one is under way."""
    changed_s: int
    """Seconds since mitmproxy was last found to be up or down."""
    fail_open: bool
    """As HAProxy runs now, which may be older than the settings."""
    inspected: int
    """Requests since HAProxy's last start or reload that went to mitmproxy."""
    bypassed: int
    """Those that went to the services directly."""


async def read_state(path: str = STATE_SOCKET) -> HaproxyState:
    """One question to HAProxy; StateError when there is no usable answer."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(f"show stat {INSPECT} 4 -1\n".encode("ascii"))
                answer = bytearray()
                while len(answer) <= MAX_ANSWER and (data := await reader.read(MAX_ANSWER)):
                    answer += data
            finally:
                writer.close()
    except TimeoutError:
        raise StateError(f"HAProxy does not answer on {path}") from None
    except OSError as error:
        raise StateError(f"HAProxy is not reached on {path}: {error.strerror or error}") from None
    return parse(answer[:MAX_ANSWER].decode("ascii", "replace"))


def parse(answer: str) -> HaproxyState:
    """The CSV of `show stat` (HAProxy management guide, 9.1), columns by their names in its first line."""
    lines = answer.splitlines()
    if not lines or not lines[0].startswith("# "):
        raise StateError(f"HAProxy's answer is no statistics: {lines[0][:80] if lines else ''!r}")
    columns = lines[0].removeprefix("# ").split(",")
    rows = [dict(zip(columns, line.split(","), strict=False)) for line in lines[1:] if line]
    servers = {row.get("svname", ""): row for row in rows if row.get("pxname") == INSPECT}
    mitm = servers.get(MITM)
    if mitm is None:
        raise StateError("HAProxy runs a configuration that is not ours")
    bypass = servers.get(BYPASS)
    check, code = mitm.get("check_status", ""), mitm.get("check_code", "")
    return HaproxyState(
        mitm_up=mitm.get("status", "").startswith("UP"),
        check=(f"{check}/{code}" if code else check)[:40],
        changed_s=_figure(mitm.get("lastchg")),
        fail_open=bypass is not None,
        inspected=_figure(mitm.get("stot")),
        bypassed=_figure(bypass.get("stot")) if bypass else 0,
    )


def _figure(text: str | None) -> int:
    if not text or not text.isascii() or not text.isdigit() or len(text) > 20:
        return 0
    return min(int(text), MAX_FIGURE)


def problems_of(state: HaproxyState) -> list[Problem]:
    """What an owner should know of `state`."""
    if state.mitm_up:
        return []
    details: dict[str, object] = {"since_s": state.changed_s, "check": state.check}
    hint = "Start mitmproxy, or see its log for why it does not answer."
    if state.fail_open:
        return [
            Problem(
                "mitm_bypassed",
                f"mitmproxy does not answer HAProxy (for {state.changed_s} s): requests go to the services"
                " directly, uninspected.",
                hint,
                "error",
                {**details, "requests": state.bypassed},
            )
        ]
    return [
        Problem(
            "mitm_down",
            f"mitmproxy does not answer HAProxy (for {state.changed_s} s): requests are refused with 503, since"
            " dpi-dual.haproxy.fail_open is 0.",
            hint,
            "error",
            details,
        )
    ]


class HaproxyWatch:
    """Keeps asking; a part of the engine. `state` is None while HAProxy gives no usable answer."""

    def __init__(self, path: str = STATE_SOCKET, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._since = clock()
        self._error = ""
        self.state: HaproxyState | None = None
        self._inspected = 0
        self._bypassed = 0
        self._outages = 0

    async def run(self) -> None:
        """Asks every few seconds until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL_S)

    async def look(self) -> None:
        """Asks once."""
        before = self.state
        try:
            now = await read_state(self._path)
        except StateError as error:
            if before is not None or not self._error:
                self._since = self._clock()
            self.state, self._error = None, str(error)
            return
        self.state, self._error = now, ""
        if before is None:
            # What it counted before we looked is not ours to report.
            before = HaproxyState(now.mitm_up, "", 0, now.fail_open, now.inspected, now.bypassed)
            self._outages += not now.mitm_up
        self._outages += before.mitm_up and not now.mitm_up
        # A reload sets its figures back to 0.
        self._inspected += now.inspected - (before.inspected if now.inspected >= before.inspected else 0)
        self._bypassed += now.bypassed - (before.bypassed if now.bypassed >= before.bypassed else 0)

    def problems(self) -> list[Problem]:
        """That mitmproxy is passed by or down, or that HAProxy itself cannot be asked."""
        if self.state is not None:
            return problems_of(self.state)
        if not self._error:
            return []
        return [
            Problem(
                "haproxy_unreachable",
                f"{self._error} (for {int(self._clock() - self._since)} s). Whether requests are inspected is not"
                " known.",
                "'dpi-dualctl haproxy apply' installs the configuration and reloads HAProxy.",
                "warning",
            )
        ]

    def counters(self) -> dict[str, int]:
        """Since the engine started."""
        return {
            "mitm_requests_inspected": self._inspected,
            "mitm_requests_bypassed": self._bypassed,
            "mitm_outages": self._outages,
        }
