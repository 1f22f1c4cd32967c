"""CrowdSec: its decisions in memory, our alerts and bans to its local API, nothing lost while that is down.

As a bouncer we follow the decision stream; as a machine we log in, send alerts and undo bans. Everything that LAPI
says is hostile until bounded. Passwords, keys and tokens are in no message.
"""

from __future__ import annotations

import asyncio
import heapq
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dpi_dual.correlation import lapi
from dpi_dual.correlation.crowdsec_alerts import Alerts, Delivery, pause_s, sleep
from dpi_dual.correlation.crowdsec_decisions import (
    Decision,
    Decisions,
    address,
    bounded,
    spelled,
)
from dpi_dual.correlation.crowdsec_queue import Queue, Waiting
from dpi_dual.correlation.crowdsec_reader import DecisionReader
from dpi_dual.correlation.crowdsec_session import REFUSED_RETRY_S, Session
from dpi_dual.correlation.crowdsec_wire import (
    ORIGIN,
    SCENARIOS,
    Ban,
    CrowdsecError,
    checked,
    complaint,
    is_community,
    is_own,
    number,
    place,
    shown,
)
from dpi_dual.correlation.lapi import query
from dpi_dual.model import Problem
from dpi_dual.settings import Crowdsec, CrowdsecSecrets

__all__ = ["ORIGIN", "SCENARIOS", "Ban", "CrowdSec", "CrowdsecError", "Decision", "Delivery", "is_own"]

#: As CrowdSec's own bouncers: a decision by others is known this much later at most. Ours are known at once.
INTERVAL_S = 10.0
#: Everything is read anew this often, in case a delta was lost on the way.
FULL_LOAD_S = 3600.0
MAX_STREAM = 128 * 1024 * 1024
#: What a caller waits at most: below the 20 s that LuCI allows.
CALL_S = 15.0
MAX_META = 16


class CrowdSec:
    """Outlives reloads; `run` is the supervised part. Methods are for the engine's own loop."""

    def __init__(
        self,
        settings: Crowdsec,
        secrets: CrowdsecSecrets,
        db: sqlite3.Connection,
        *,
        on_decision: Callable[[str, Decision], None] | None = None,
        on_delivered: Callable[[Delivery], None] | None = None,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """`on_decision("new" | "deleted", decision)` hears of changes, not of what LAPI held when we first asked.

        `on_delivered` may hear of the same alert again after the engine was killed.
        """
        self._session = Session(settings, secrets)
        self._interval_s = interval_s
        self._queue = Queue(db)
        self.decisions = Decisions(on_decision)
        self._alerts = Alerts(self._session, self._queue, self.decisions, on_delivered)
        self._full_load_due = 0.0
        self._has_allowlists = True
        self._wake_follower = asyncio.Event()
        self._counts: Counter[str] = Counter()

    # --- life

    def reconfigure(self, settings: Crowdsec, secrets: CrowdsecSecrets) -> None:
        """Takes new settings and keys; what was refused is tried again at once."""
        if (settings, secrets) == (self._session.settings, self._session.secrets):
            return
        self._session.reconfigure(settings, secrets)
        self._has_allowlists = True
        self._full_load_due = 0.0
        self._alerts.wake.set()
        self._wake_follower.set()

    async def run(self) -> None:
        """Follows the decisions and sends what waits, until cancelled."""
        self._full_load_due = 0.0
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="crowdsec decisions")
            group.create_task(self._alerts.run(), name="crowdsec alerts")

    async def _follow(self) -> None:
        failures = 0
        while True:
            pause = self._interval_s
            was_down = self._session.down
            try:
                await self._read_stream()
                failures = 0
            except CrowdsecError as error:
                self._full_load_due = 0.0  # LAPI may come back with another database
                self._has_allowlists = True
                slow = error.code in ("crowdsec_refused", "crowdsec_not_set_up")
                pause = REFUSED_RETRY_S if slow else pause_s(failures)
                failures += 1
            else:
                if was_down:
                    self._alerts.wake.set()  # it answers again: no need to wait for the sender's own pause
            self.decisions.expire()
            await sleep(pause, self._wake_follower)

    # --- decisions

    def lookup(self, ip: str) -> Decision | None:
        """What LAPI has decided about `ip`, from memory."""
        return self.decisions.lookup(ip)

    async def _read_stream(self) -> None:
        full = time.monotonic() >= self._full_load_due
        async with self._session.as_bouncer(query("/v1/decisions/stream", startup=str(full).lower())) as answer:
            self.decisions.begin(full)
            try:
                reader = DecisionReader()
                async for piece in answer.pieces(MAX_STREAM):
                    for change, item in reader.feed(piece):
                        self.decisions.take(change, item)
                    await asyncio.sleep(0)  # a large answer is no reason to stop everything else
                reader.finish()
            except BaseException:
                self.decisions.abandon()
                raise
        self.decisions.end()
        if full:
            self._full_load_due = time.monotonic() + FULL_LOAD_S
            self._counts["crowdsec_full_loads"] += 1

    # --- alerts and bans

    def alert(
        self,
        target: str,
        scenario: str,
        reason: str,
        *,
        mode: str = "",
        duration_s: float = 0.0,
        events: int = 1,
        started_at: float | None = None,
        meta: Mapping[str, str] | None = None,
        reference: str = "",
    ) -> str:
        """Accepts an alert for LAPI and returns its uuid: kept even if the engine is killed now, sent by `run`.

        `mode` is the configured one unless given: `profile`, `decision` (a ban for `duration_s`) or `record` (no ban).
        CrowdsecError when it is not accepted.
        """
        given = list((meta or {}).items())[:MAX_META]
        waiting = checked(target, scenario, reason, mode or self._session.settings.ban_mode, duration_s)
        waiting = replace(
            waiting,
            events=min(max(events, 1), 1 << 30),
            started_at=waiting.started_at if started_at is None else started_at,
            meta={bounded(name, 64): bounded(value, 256) for name, value in given},
            reference=bounded(reference, 128),
        )
        self._alerts.accept(waiting)
        return waiting.uuid

    async def ban(
        self,
        target: str,
        duration_s: float,
        reason: str,
        scenario: str = SCENARIOS + "manual",
        *,
        mode: str = "decision",
    ) -> Ban:
        """Bans an address or a network; returns once LAPI was seen to hold the decision, else CrowdsecError.

        With `mode` profile the operator's profiles decide, also for how long; `not_banned` if they decide for nothing.
        """
        alert = checked(target, scenario, reason, mode, duration_s)
        if mode not in ("decision", "profile"):
            raise CrowdsecError("bad_mode", "a ban is by decision or by profile")
        try:
            async with asyncio.timeout(CALL_S):
                return await self._ban(alert)
        except TimeoutError:
            raise CrowdsecError(
                "timeout", f"CrowdSec did not confirm the ban of {alert.target} in {CALL_S:g} s; it may come yet", True
            ) from None

    async def _ban(self, alert: Waiting) -> Ban:
        listed = await self.allowlisted(alert.target)
        if listed:
            raise CrowdsecError("allowlisted", f"{alert.target} is on CrowdSec's allow-list ({listed}); not banned")
        try:
            bans = await self._alerts.confirm(await self._alerts.post(alert))
        except CrowdsecError as error:
            if not error.sent:
                raise
            settled = await self._alerts.settle(alert)  # the answer was lost on its way: was the alert?
            if settled is None and error.code == "crowdsec_failed":  # its database was locked, most likely
                settled = await self._alerts.confirm(await self._alerts.post(alert))
            if settled is None:
                raise
            bans = settled
        wanted = address(alert.target)
        for ban in bans:
            if address(ban.target) == wanted:
                return ban
        why = "no profile of CrowdSec's bans it" if alert.mode == "profile" else "the decision is not in force"
        hint = "; see profiles.yaml, or set dpi-dual.crowdsec.ban_mode to decision" if alert.mode == "profile" else ""
        raise CrowdsecError("not_banned", f"{alert.target} is not banned: CrowdSec has the alert, but {why}{hint}")

    async def unban(self, target: str) -> int:
        """Undoes every decision about an address, or about and within a network; how many there were.

        Bans that still wait are withdrawn and counted too. A network around an address stays banned: see `lookup`.
        """
        where = place(target)
        name = "ip" if where[0] == where[1] else "range"
        # `contains=false`: without it LAPI would also lift the bans of all networks around an address.
        path = query("/v1/decisions", **{name: spelled(where)}, contains="false")
        try:
            async with asyncio.timeout(CALL_S), self._alerts.exclusive:
                withdrawn = self._alerts.withdraw(where)
                status, said = await self._session.as_machine("DELETE", path)
        except TimeoutError:
            raise CrowdsecError("timeout", f"CrowdSec did not confirm within {CALL_S:g} s", True) from None
        count = said.get("nbDeleted") if isinstance(said, dict) else None
        if status != 200 or not isinstance(count, str) or not count.isdigit() or len(count) > 9:
            raise CrowdsecError("crowdsec_failed", f"CrowdSec does not undo the ban ({status}): {complaint(said)}")
        self.decisions.drop_within(where)
        self._wake_follower.set()
        return int(count) + withdrawn

    async def bans(self, limit: int = 50, before: int = 0, everything: bool = False) -> dict[str, Any]:
        """LAPI's decisions, newest first; those from community lists only with `everything`.

        `{"bans": [...], "total": n, "community": n, "next": id}`; `next`, if there are more, is the next `before`.
        """
        limit = min(max(limit, 1), 500)
        page: list[tuple[int, int, dict[str, Any]]] = []
        total = community = 0
        reader = DecisionReader()
        async with self._session.as_bouncer("/v1/decisions") as answer:
            async for piece in answer.pieces(MAX_STREAM):
                for _, item in reader.feed(piece):
                    listed = is_community(item)
                    community += listed
                    if listed and not everything:
                        continue
                    total += 1
                    if not before or number(item.get("id")) < before:
                        # `total` settles a tie: dictionaries cannot be compared
                        page.append((number(item.get("id")), total, shown(item)))
                if len(page) > 4 * limit:
                    page = heapq.nlargest(limit + 1, page)
                await asyncio.sleep(0)
            reader.finish()
        page = heapq.nlargest(limit + 1, page)
        shown_now = [item for _, _, item in page[:limit]]
        result: dict[str, Any] = {"bans": shown_now, "total": total, "community": community}
        if len(page) > limit:
            result["next"] = page[limit - 1][0]
        return result

    async def allowlisted(self, target: str) -> str:
        """Why CrowdSec would never ban `target`; empty if it would, or if this LAPI has no allow-lists."""
        where = place(target)
        if not self._has_allowlists:
            return ""
        status, said = await self._session.as_machine("GET", "/v1/allowlists/check/" + lapi.quoted(spelled(where)))
        self._has_allowlists = status != 404  # before 1.6.6 there are none
        if status == 200 and isinstance(said, dict) and said.get("allowlisted") is True:
            return bounded(said.get("reason"), 200) or "no reason given"
        return ""

    # --- health

    async def check_login(self) -> dict[str, Any]:
        """Asks LAPI whether it takes our login; CrowdsecError if not. Empty: there is nothing to say about it."""
        await self._session.as_machine("GET", "/v1/heartbeat")
        return {}

    async def count_decisions(self) -> dict[str, int]:
        """How many decisions LAPI holds: bans and the like, and those from community lists."""
        said = await self.bans(1)
        return {"bans": said["total"], "community": said["community"]}

    def status(self) -> dict[str, Any]:
        """State in one word, and figures: what `stats` and the report show."""
        settings = self._session.settings
        oldest = next(iter(self._queue), None)
        return {
            "state": self._session.state,
            "url": settings.url,
            "machine_id": settings.machine_id,
            "mode": settings.ban_mode,
            "last_contact_at": round(self._session.contact_at, 3),
            "decisions": len(self.decisions),
            "ranges": self.decisions.ranges,
            "queued": len(self._queue),
            "oldest_queued_at": round(oldest.alert.started_at, 3) if oldest else 0.0,
        }

    def problems(self) -> list[Problem]:
        """What an owner should know."""
        found = self._session.problems(len(self._queue))
        if self.decisions.over_limit:
            text = f"CrowdSec has more decisions than are kept in memory ({len(self.decisions)}); the rest is not seen."
            found.append(Problem("crowdsec_too_many_decisions", text, "Subscribe to fewer blocklists.", "warning"))
        return found

    def counters(self) -> dict[str, int]:
        """Drops and oddities since the engine started."""
        return {
            **self._session.counts,
            **self._counts,
            **self._alerts.counts,
            "crowdsec_decisions_over_limit": self.decisions.over_limit,
            "crowdsec_decisions_bad": self.decisions.refused,
            "crowdsec_decisions_other_scope": self.decisions.other_scopes,
            "crowdsec_queue_unreadable": self._queue.unreadable,
        }
