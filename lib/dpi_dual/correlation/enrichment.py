"""What a record gets from the MITM stream: the alerts of its address at once, the requests around it a moment later."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from dpi_dual.correlation.store import Store

#: Of its address, in a record.
ALERTS = 5
REQUESTS = 5
#: Records that wait for the requests of their address.
WAITING = 500

_REQUEST_KEYS = ("id", "at", "timestamp", "method", "host", "path", "status", "threat_score", "blocked", "rule")
_ALERT_KEYS = ("id", "timestamp", "method", "host", "path", "threat_score", "categories", "blocked", "rule", "place")


class AlertStore(Protocol):
    """The WAF alerts that are kept: `mitm.alerts.Alerts`."""

    def page(self, limit: int = 50, before: str = "") -> dict[str, Any]:
        """Newest first."""

    def of_address(self, ip: str, since: float, limit: int = 50) -> list[dict[str, Any]]:
        """Those about an address, newest first."""


class Requests(Protocol):
    """The buffered requests: `mitm.link.MitmLink`."""

    @property
    def store(self) -> AlertStore:
        """The alerts."""

    async def context(self, ip: str, since: float = 0.0, limit: int = 50) -> list[dict[str, Any]]:
        """The requests of an address, newest first."""


class Enrichment:
    """`mitm` is None until the stream is known; `run` fetches what records wait for."""

    def __init__(self, store: Store, changed: Callable[[], None]) -> None:
        """`changed` hears when records have got their requests."""
        self._store = store
        self._changed = changed
        self.mitm: Requests | None = None
        self._waiting: OrderedDict[int, tuple[str, float]] = OrderedDict()
        self._wake = asyncio.Event()
        self.dropped = 0
        """Records that get no requests because too many waited."""

    def alerts_of(self, ip: str) -> list[dict[str, Any]]:
        """The newest alerts of an address, as records show them; the one that is the event was stored before."""
        rows = self.mitm.store.of_address(ip, 0.0, ALERTS) if self.mitm is not None else []
        return [{key: row[key] for key in _ALERT_KEYS if key in row} for row in rows]

    async def requests_of(self, ip: str, since: float, limit: int = REQUESTS) -> list[dict[str, Any]]:
        """The buffered requests of an address, as records show them."""
        if self.mitm is None:
            return []
        rows = await self.mitm.context(ip, since, limit)
        return [{key: row[key] for key in _REQUEST_KEYS if key in row} for row in rows[:limit]]

    def wait(self, record: int, ip: str, since: float) -> None:
        """A new record is to get the requests of its address."""
        if self.mitm is None:
            return
        if len(self._waiting) >= WAITING:
            self._waiting.popitem(last=False)
            self.dropped += 1
        self._waiting[record] = (ip, since)
        self._wake.set()

    async def run(self) -> None:
        """Gives each new record the requests of its address, a question an address at a time."""
        while True:
            while self._waiting:
                number, (ip, since) = self._waiting.popitem(last=False)
                together = [number] + [other for other, (theirs, _) in self._waiting.items() if theirs == ip]
                for other in together[1:]:
                    del self._waiting[other]
                requests = await self.requests_of(ip, since)
                if requests:
                    self._give(together, requests)
            self._wake.clear()
            await self._wake.wait()

    def _give(self, records: list[int], requests: list[dict[str, Any]]) -> None:
        try:
            with self._store.transaction():
                for number in records:
                    self._store.enrich(number, mitm_requests=requests)
        except sqlite3.Error as error:
            self._store.failed = str(error)
        self._changed()
