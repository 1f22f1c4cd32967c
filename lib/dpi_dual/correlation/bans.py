"""Who is banned, who never is, and what CrowdSec made of it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from dpi_dual.config import duration_seconds
from dpi_dual.correlation.actors import Actor, Network, ban_target, parse_address, parse_network, shown
from dpi_dual.correlation.crowdsec import SCENARIOS, Ban, CrowdSec, Delivery
from dpi_dual.correlation.events import Event
from dpi_dual.correlation.home import Home
from dpi_dual.correlation.notify import Notifier
from dpi_dual.correlation.outbox import Outbox
from dpi_dual.correlation.policy import Whitelist
from dpi_dual.correlation.reputation import Reputation
from dpi_dual.correlation.store import Store
from dpi_dual.errors import QueryError
from dpi_dual.settings import Settings

#: What a record says about CrowdSec.
NONE, QUEUED, BANNED, ALERTED, FAILED, WHITELISTED, UNBANNED = (
    "none",
    "queued",
    "banned",
    "alerted",
    "failed",
    "whitelisted",
    "unbanned",
)
BAN_STATE = "crowdsec_ban"
#: Bans to be lifted that are remembered while CrowdSec is away.
MOST_UNDONE = 1000
_WHY = {
    "client": "it is a client of the LAN",
    "own": "it is an address of this router",
    "connected": "it is in a network that this router is connected to",
}


class Bans:
    """Asks CrowdSec, durably; says of a ban only what LAPI was seen to hold."""

    def __init__(
        self,
        settings: Settings,
        home: Home,
        store: Store,
        reputation: Reputation,
        notifier: Notifier,
        outbox: Outbox,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.crowdsec: CrowdSec | None = None
        self.whitelist = Whitelist(settings.whitelist.ip)
        self._settings = settings
        self._home = home
        self._store = store
        self._reputation = reputation
        self._notifier = notifier
        self._outbox = outbox
        self._clock = clock
        self._undone: list[str] = []
        self.refused = 0
        """Bans that were due and not asked for: whitelisted, or CrowdSec did not take them."""

    def reconfigure(self, settings: Settings) -> None:
        """Takes new settings."""
        self._settings = settings
        if settings.whitelist.ip != self.whitelist.entries:
            self.whitelist = Whitelist(settings.whitelist.ip)

    # --- who is never banned

    def exempt(self, actor: Actor) -> str:
        """Why an actor is never banned; '' if it may be."""
        if actor.kind != "remote":
            return _WHY[actor.kind]
        if not self._home.known:
            return "what this router's own addresses are cannot be read"
        target = ban_target(actor.key)
        entry = self.whitelist.match(parse_address(actor.ip)) or self.whitelist.touches(target)
        if entry:
            return f"the whitelist has {entry}"
        return self._touches_home(target)

    def exempt_target(self, target: Network) -> str:
        """The same of an address or a network given by hand."""
        entry = self.whitelist.touches(target)
        if entry:
            return f"the whitelist has {entry}"
        if target.prefixlen == target.max_prefixlen:
            actor = self._home.actor(str(target.network_address))
            if actor.kind != "remote":
                return _WHY[actor.kind]
        return self._touches_home(target)

    def _touches_home(self, target: Network) -> str:
        ours = self._home.connected(target)
        return f"it touches {ours}, which this router is part of" if ours else ""

    # --- bans that follow from events

    def status_of(self, actor: Actor) -> str:
        """What CrowdSec holds about an actor now, from memory."""
        if self.crowdsec is not None and actor.kind == "remote" and self.crowdsec.lookup(actor.ip) is not None:
            return BANNED
        return NONE

    def consider(self, event: Event, actor: Actor, record: int, before: float, after: float, now: float) -> str:
        """Asks for a ban when reputation has crossed the threshold; what the record is to say, '' for nothing new.

        Part of the event's transaction: the question is as durable as the event. Once a crossing, and once more
        when the ban that was asked for has run out and the address goes on.
        """
        correlation = self._settings.correlation
        if not correlation.auto_ban or after < correlation.auto_ban_threshold or event.outbound:
            return ""
        duration_s = float(duration_seconds(correlation.auto_ban_duration))
        asked_at = self._reputation.asked_at(actor.key)
        if asked_at and before >= correlation.auto_ban_threshold and now < asked_at + duration_s:
            return ""
        if self.exempt(actor):
            self._reputation.ask(actor.key, now)
            self.refused += 1
            return WHITELISTED if actor.kind == "remote" else ""
        if self.status_of(actor) == BANNED:
            self._reputation.ask(actor.key, now)
            return BANNED
        reason = f"reputation {after:.0f}: {event.reason}"
        if not self._queue(event, actor, record, reason, self._settings.crowdsec.ban_mode, duration_s):
            self.refused += 1
            return FAILED
        self._reputation.ask(actor.key, now)
        return QUEUED

    def report(self, event: Event, actor: Actor, record: int) -> None:
        """Tells CrowdSec of a grave event without asking for a ban."""
        if event.outbound or event.source == "crowdsec" or self.exempt(actor):
            return
        self._queue(event, actor, record, event.reason, "record", 0.0)

    def _queue(self, event: Event, actor: Actor, record: int, reason: str, mode: str, duration_s: float) -> bool:
        crowdsec = self.crowdsec
        if crowdsec is None or crowdsec.status()["state"] == "not_set_up":
            return False
        details = {
            name: str(event.details[name]) for name in ("host", "path", "method", "peer") if event.details.get(name)
        }
        try:
            crowdsec.alert(
                actor.key,
                SCENARIOS + event.type,
                reason,
                mode=mode,
                duration_s=duration_s,
                started_at=event.at,
                meta={"event_type": event.type, "rule": event.rule, "score": str(event.score), **details},
                reference=json.dumps([record, actor.key, actor.ip, mode != "record"]),
            )
        except QueryError:
            return False
        return True

    def delivered(self, delivery: Delivery) -> None:
        """LAPI has an alert of ours, or never will."""
        try:
            record, key, ip, asked = json.loads(delivery.reference)
        except ValueError:
            return  # a ban by hand, which its caller waits for
        if delivery.bans:
            target = parse_network(delivery.bans[0].target)
            if self.exempt_target(target) and len(self._undone) < MOST_UNDONE:
                self._undone.append(shown(target))  # whitelisted while the question waited
                self._mark(record, WHITELISTED, QUEUED)
                return
            self._banned(key, ip, delivery.bans[0], delivery.scenario, record)
        else:
            # A mere report says nothing about the ban that the same record may have asked for since.
            self._mark(record, FAILED if delivery.error else ALERTED, QUEUED if asked else NONE)

    async def undo(self) -> None:
        """Lifts bans of what has become exempt since they were asked for; what fails is tried again."""
        while self._undone and self.crowdsec is not None:
            try:
                await self.crowdsec.unban(self._undone[0])
            except QueryError:
                return  # CrowdSec's problems say why
            self._undone.pop(0)

    def _mark(self, record: int, crowdsec: str, before: str) -> None:
        """What CrowdSec made of a record, if that still stood at `before`."""
        try:
            known = self._store.record(record)
            if known is not None and known["crowdsec_status"] == before:
                self._store.mark(record, crowdsec)
        except sqlite3.Error as error:
            self._store.failed = str(error)

    def _banned(self, key: str, ip: str, ban: Ban, reason: str, record: int = 0) -> None:
        """A ban is in force: records, event and notification say so, once."""
        try:
            with self._store.transaction():
                if not self._store.remember(f"ban:{ban.alert_id}:{ban.decision_id}:{ban.target}"):
                    return
                if record:
                    self._store.mark(record, BANNED, BAN_STATE)
                self._store.mark_actor(key, BANNED, BAN_STATE, "new")
                self._store.total(banned=1)
                if self._settings.correlation.notifications:
                    why = f"{ban.target} is banned: {reason}"
                    self._notifier.tell(self._clock(), "ban", key, ip, BAN_STATE, why, 100, until_at=ban.until_at)
        except sqlite3.Error as error:
            self._store.failed = str(error)
        self._outbox.event(
            "dpi.ban", {"ip": ip, "target": ban.target, "reason": reason[:200], "until_at": round(ban.until_at, 3)}
        )

    # --- bans by hand

    def _bouncer(self) -> CrowdSec:
        if self.crowdsec is None:
            raise QueryError(
                "crowdsec_unavailable",
                "CrowdSec is not followed while correlation is switched off (dpi-dual.correlation.enabled)",
            )
        return self.crowdsec

    async def ban(self, text: str, duration: str, reason: str) -> dict[str, Any]:
        """Bans an address or a network; returns once LAPI holds it. Raises QueryError."""
        target = ban_target(text)
        why = self.exempt_target(target)
        if why:
            raise QueryError("never_banned", f"{text[:64]} is never banned: {why}")
        try:
            duration_s = float(duration_seconds(duration or self._settings.correlation.auto_ban_duration))
        except ValueError:
            raise QueryError("bad_duration", f"{duration[:32]!r} is not a duration such as 30m, 4h or 7d") from None
        if not 1 <= duration_s <= 365 * 86400:
            raise QueryError("bad_duration", f"{duration[:32]!r} is not between 1 s and 365 d")
        crowdsec = self._bouncer()
        ban = await crowdsec.ban(shown(target), duration_s, reason or "banned by hand")
        why = self.exempt_target(target)
        if why:  # whitelisted while we waited
            await crowdsec.unban(shown(target))
            raise QueryError("never_banned", f"{text[:64]} is never banned: {why}")
        ip = str(target.network_address) if "/" in text else text
        self._banned(shown(target), ip, ban, reason or "banned by hand")
        return {
            "ok": True,
            "ip": text,
            "target": ban.target,
            "id": ban.decision_id,
            "duration_s": int(duration_s),
            "until_at": round(ban.until_at, 3),
        }

    async def unban(self, text: str) -> dict[str, Any]:
        """Undoes all bans of an address or network. Raises QueryError."""
        network = parse_network(text)
        target = shown(ban_target(text)) if network.version == 6 else shown(network)
        removed = await self._bouncer().unban(target)
        if target != shown(network):
            removed += await self._bouncer().unban(shown(network))
        self.lifted(target)
        return {"ok": True, "ip": text, "target": target, "removed": removed}

    def lifted(self, key: str) -> None:
        """The bans of an actor are gone."""
        try:
            self._store.mark_actor(key, UNBANNED, "acknowledged", BAN_STATE)
        except sqlite3.Error as error:
            self._store.failed = str(error)

    async def listed(self, limit: int, before: str) -> dict[str, Any]:
        """LAPI's decisions, newest first."""
        if before and not (before.isascii() and before.isdigit() and len(before) < 19):
            raise QueryError("bad_page", "`before` must be the `next` of the page before it")
        answer = await self._bouncer().bans(limit, int(before) if before else 0)
        return {**answer, **({"next": str(answer["next"])} if "next" in answer else {})}
