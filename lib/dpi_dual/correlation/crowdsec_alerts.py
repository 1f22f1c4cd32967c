"""The alerts that wait for LAPI: sent in order, once each, again and again until LAPI has them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dpi_dual.correlation.crowdsec_decisions import LONGEST_S, Address, Decisions, address
from dpi_dual.correlation.crowdsec_queue import SETTLE_S, Entry, Queue, Waiting
from dpi_dual.correlation.crowdsec_reader import DecisionReader
from dpi_dual.correlation.crowdsec_session import Session
from dpi_dual.correlation.crowdsec_wire import (
    Ban,
    CrowdsecError,
    alert_json,
    ban_of,
    complaint,
    decisions_in_force,
    mark_of,
    number,
    scope_and_value,
)
from dpi_dual.correlation.lapi import MAX_BODY, LapiError, query
from dpi_dual.errors import QueryError

RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
#: LAPI answers, but with an error of its own (a full disk, a locked database): after an hour of that we give up.
MAX_REFUSALS = 120
#: A LAPI that gave no answer in time may still be at it: its SQLite waits up to 100 s for a lock.
SLOW_SETTLE_S = 120.0
#: How often a caller's own alert is searched for when its fate is unknown.
SEARCH_S = 0.5


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a queued alert: LAPI has it, with these bans; or `error` says why it never will."""

    reference: str
    target: str
    scenario: str
    bans: tuple[Ban, ...]
    error: str = ""


def pause_s(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return float(min(RETRY_S * 2 ** min(failures, 10), LONGEST_RETRY_S))


async def sleep(seconds: float, wake: asyncio.Event) -> None:
    """Waits for the time to pass or for `wake`."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass
    wake.clear()


def _put_off(entry: Entry) -> None:
    """Left alone for a while; those behind it go on."""
    entry.due_at = time.monotonic() + pause_s(entry.tries - 1)


class Alerts:
    """Sends alerts, ours or those of the queue, and says which bans LAPI holds because of them."""

    def __init__(
        self, session: Session, queue: Queue, decisions: Decisions, told: Callable[[Delivery], None] | None
    ) -> None:
        self._session = session
        self._queue = queue
        self._decisions = decisions
        self._told = told
        self.counts: Counter[str] = Counter()
        self.wake = asyncio.Event()
        self._failures = 0
        #: Held while one alert is sent or one ban undone, so that an undone ban does not come back.
        self.exclusive = asyncio.Lock()

    def accept(self, alert: Waiting) -> None:
        """Takes an alert into the queue; CrowdsecError when it is not accepted."""
        try:
            self._queue.accept(alert)
        except QueryError as error:
            self.counts["crowdsec_alerts_refused"] += 1
            raise CrowdsecError(error.code, error.message) from None
        if not self._failures:  # else the pause is meant: LAPI has trouble enough
            self.wake.set()

    async def run(self) -> None:
        """Sends what waits, until cancelled."""
        while True:
            try:
                await self._send_all()
                self._failures = 0
            except CrowdsecError as error:
                hopeless = error.code in ("crowdsec_refused", "crowdsec_not_set_up")
                self._failures = 10 if hopeless else self._failures + 1
                self.counts["crowdsec_retries"] += 1
            due_at = self._queue.next_due_at()
            if self._failures:
                pause = pause_s(self._failures)
            else:
                pause = 3600.0 if due_at is None else max(due_at - time.monotonic(), 0.0)
            await sleep(pause, self.wake)

    async def _send_all(self) -> None:
        """Sends what is due, oldest first. CrowdsecError when LAPI does not answer."""
        while True:
            async with self.exclusive:
                entry = self._queue.next(time.monotonic())
                if entry is None:
                    return
                if not self._queue.holds(entry):
                    continue
                entry.tries += 1
                try:
                    bans = await self._deliver(entry)
                except CrowdsecError as error:
                    if error.code not in ("crowdsec_rejected", "crowdsec_failed", "allowlisted"):
                        raise
                    entry.refusals += 1
                    if error.code != "crowdsec_failed" or entry.refusals >= MAX_REFUSALS:
                        self._done(entry, (), error.message)
                    else:
                        _put_off(entry)
                else:
                    if bans is None:
                        _put_off(entry)
                    else:
                        self._done(entry, bans, "")

    def _done(self, entry: Entry, bans: tuple[Ban, ...], error: str) -> None:
        self.counts["crowdsec_alerts_dropped" if error else "crowdsec_alerts_sent"] += 1
        # Told first, forgotten then: after a kill in between it is told again, but not sent again.
        if self._told is not None:
            alert = entry.alert
            self._told(Delivery(alert.reference, alert.target, alert.scenario, bans, error))
        self._queue.forget(entry)

    async def _deliver(self, entry: Entry) -> tuple[Ban, ...] | None:
        """What LAPI decided because of it; None: whether LAPI has it will only be known later."""
        if entry.unsure:
            bans = await self.search(entry.alert)
            if bans is not None:
                self.counts["crowdsec_alerts_found"] += 1
                return bans
            if time.monotonic() < entry.settled_at:
                return None
        self._queue.under_way(entry)
        entry.unsure = True
        sent_at = time.monotonic()
        try:
            alert_id = await self.post(entry.alert)
        except CrowdsecError as error:
            entry.unsure = error.sent
            late = error.code == "crowdsec_unreachable" and time.monotonic() - sent_at >= SETTLE_S
            entry.settled_at = sent_at + SLOW_SETTLE_S if late else time.monotonic() + SETTLE_S
            raise
        return await self.confirm(alert_id)

    async def post(self, alert: Waiting) -> int:
        """Sends one alert; LAPI's number of it."""
        status, said = await self._session.as_machine("POST", "/v1/alerts", [alert_json(alert)])
        if status not in (200, 201):
            code = "crowdsec_failed" if status >= 500 or status in (404, 408) else "crowdsec_rejected"
            raise CrowdsecError(code, f"CrowdSec does not take the alert ({status}): {complaint(said)}", status >= 500)
        if said in (None, []):  # a LAPI with allow-lists drops what they name
            raise CrowdsecError("allowlisted", f"{alert.target} is on one of CrowdSec's allow-lists; not banned")
        text = said[0] if isinstance(said, list) else None
        if not isinstance(text, str) or not (text.isascii() and text.isdigit()) or len(text) > 18:
            raise self._session.fault(LapiError("bad_answer", "it takes an alert, but gives it no number", True))
        return int(text)

    async def confirm(self, alert_id: int) -> tuple[Ban, ...]:
        """The bans that LAPI holds because of an alert that it took."""
        try:
            status, said = await self._session.as_machine("GET", f"/v1/alerts/{alert_id}")
        except CrowdsecError as error:
            raise CrowdsecError(error.code, f"CrowdSec took the alert, but then: {error.message}", True) from None
        if status != 200 or not isinstance(said, dict):
            raise self._session.fault(LapiError("bad_answer", f"it took alert {alert_id}, but does not show it", True))
        return self.bans_of(said)

    async def settle(self, alert: Waiting) -> tuple[Ban, ...] | None:
        """Searches for a while for an alert that LAPI may have: what it decided because of it, or None."""
        until = time.monotonic() + SETTLE_S
        while True:
            bans = await self.search(alert)
            if bans is not None or time.monotonic() >= until:
                return bans
            await asyncio.sleep(SEARCH_S)

    async def search(self, alert: Waiting) -> tuple[Ban, ...] | None:
        """What LAPI decided because of the alert; None if it has not got it, or got it without the ban it asked for."""
        found = await self.find(alert)
        if found is None:
            return None
        bans = self.bans_of(found)
        if bans or found.get("decisions") or alert.mode == "record":
            return bans
        # LAPI stores the decisions, then the alert, then that they belong together: it may have failed at the last.
        bans = await self._stray(alert, number(found.get("id")))
        return None if alert.mode == "decision" and not bans else bans

    async def _stray(self, alert: Waiting, alert_id: int) -> tuple[Ban, ...]:
        """The decisions of the alert's scenario about its target, whatever alert they belong to."""
        where, scope = address(alert.target), scope_and_value(alert.target)[0]
        name = "range" if scope == "Range" else "ip"
        reader = DecisionReader()
        items: list[dict[str, Any]] = []
        try:
            async with self._session.as_bouncer(
                query("/v1/decisions", **{name: alert.target}, contains="false")
            ) as answer:
                async for piece in answer.pieces(MAX_BODY):
                    for _, item in reader.feed(piece):
                        if item.get("scenario") == alert.scenario and address(item.get("value")) == where:
                            items.append(item)
                reader.finish()
        except CrowdsecError as error:
            if error.code != "crowdsec_not_set_up":
                raise
        return self.bans_of({"id": alert_id, "decisions": items[:1]})

    async def find(self, alert: Waiting) -> dict[str, Any] | None:
        """The alert if LAPI has it already, by our mark in it.

        Not by its scenario: LAPI compares that with the scenarios of an alert's decisions, and a mere record has none.
        """
        since = min(int(max(time.time() - alert.started_at, 0)) + 3600, LONGEST_S)
        scope, value = scope_and_value(alert.target)
        path = query("/v1/alerts", scope=scope, value=value, since=f"{since}s", limit=200)
        status, said = await self._session.as_machine("GET", path)
        if status != 200 or not isinstance(said, list | None):
            raise self._session.fault(LapiError("bad_answer", f"it answers a search for alerts with status {status}"))
        same = [found for found in said or () if isinstance(found, dict) and mark_of(found) == alert.uuid]
        # One without decisions is the damaged first of two, if there are two.
        return next((found for found in same if found.get("decisions")), same[0] if same else None)

    def bans_of(self, found: dict[str, Any]) -> tuple[Ban, ...]:
        """The decisions of an alert that hold now; `lookup` knows them from here on."""
        items = decisions_in_force(found)
        for item in items:
            self._decisions.put(item, ours=True)
        self.counts["crowdsec_bans"] += len(items)
        return tuple(ban_of(item, number(found.get("id"))) for item in items)

    def withdraw(self, where: Address) -> int:
        bits, prefix, first = where
        count = 0
        for entry in self._queue:
            found = address(entry.alert.target)
            if entry.alert.mode == "record" or found is None or found[0] != bits:
                continue
            if found[1] >= prefix and found[2] >> (found[1] - prefix) == first:
                self._done(entry, (), "withdrawn: the ban was undone before it was made")
                count += 1
        return count
