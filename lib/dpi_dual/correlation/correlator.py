"""The correlator: takes events, joins them with what both streams know, moves reputations, bans, tells."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from dpi_dual.capture.flows import FlowTable
from dpi_dual.correlation.actors import Actor, off_wire
from dpi_dual.correlation.bans import BAN_STATE, BANNED, NONE, Bans
from dpi_dual.correlation.crowdsec import CrowdSec, Decision, Delivery, is_own
from dpi_dual.correlation.enrichment import Enrichment, Requests
from dpi_dual.correlation.events import DEFAULT_SCORES, Event, of_alert, plain
from dpi_dual.correlation.files import Files
from dpi_dual.correlation.flow_watch import FlowWatch
from dpi_dual.correlation.home import Home
from dpi_dual.correlation.joining import Joiner, shown
from dpi_dual.correlation.mutes import Mutes
from dpi_dual.correlation.notify import Notifier
from dpi_dual.correlation.outbox import Outbox
from dpi_dual.correlation.policy import weights
from dpi_dual.correlation.reputation import Reputation
from dpi_dual.correlation.store import Store
from dpi_dual.lan.stream import LanStream
from dpi_dual.model import Flow, Problem, community_id
from dpi_dual.settings import Settings

PUBLISH_S = 2.0
PRUNE_S = 60.0
#: After a start, alerts of this age at most are looked through for ones that a kill kept from being counted.
RECOVER_S = 600.0


class Correlator:
    """Outlives reloads; `run` is the supervised part. While that does not run, events are not taken."""

    def __init__(
        self,
        settings: Settings,
        db: sqlite3.Connection,
        tap: FlowTable,
        lan: LanStream,
        home: Home | None = None,
        outbox: Outbox | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._tap = tap
        self._lan = lan
        self.store = Store(db)
        own = settings.correlation
        self.reputation = Reputation(db, own.reputation_decay, own.decay_interval, clock())
        self.home = home or Home(lan)
        self.outbox = outbox or Outbox()
        self.notifier = Notifier(self.store, self.outbox)
        self.bans = Bans(settings, self.home, self.store, self.reputation, self.notifier, self.outbox, clock)
        self.mutes = Mutes(db, clock())
        self.enrichment = Enrichment(self.store, self.changed)
        self.joiner = Joiner((tap, lan.table), self._late_flow)
        self.files = Files(self.store, self.reputation)
        listeners = self.store.listeners()
        self.watches = tuple(
            FlowWatch(name, self.home, self.joiner, self._flow_event, listeners, self._new_listener)
            for name in ("tap", "lan")
        )
        self.weights = weights(settings)
        self.running = False
        self._recovered = False
        self._changed = True
        self.latencies_s: deque[float] = deque(maxlen=1000)
        self._counts = dict.fromkeys(("events", "repeated", "refused", "muted", "late_flows", "decisions_seen"), 0)
        self.outbox.set_webhooks(own.webhook)

    # --- life

    def reconfigure(self, settings: Settings) -> None:
        """Takes new settings; records and reputations stay."""
        self.settings = settings
        self.weights = weights(settings)
        self.bans.reconfigure(settings)
        own = settings.correlation
        self.reputation.change_rate(own.reputation_decay, own.decay_interval, self._clock())
        self.outbox.set_webhooks(own.webhook)

    def connect(self, mitm: Requests, crowdsec: CrowdSec, lan_runs: Callable[[], bool]) -> None:
        """Where requests and bans come from; from here on flows and new clients are followed."""
        self.enrichment.mitm = mitm
        self.bans.crowdsec = crowdsec
        self._lan.on_new_client = self.on_new_client
        for table, watch in zip((self._tap, self._lan.table), self.watches, strict=True):
            watch.elsewhere = lan_runs
            table.set_sinks([*table.sinks, watch])

    def status(self) -> dict[str, Any]:
        """The `correlation` block of `dpi.status status`."""
        return {"running": self.running, "threats_correlated": self.store.totals().get("threats", 0)}

    async def run(self) -> None:
        """Takes events until cancelled."""
        self.running = True
        for watch in self.watches:
            watch.active = True
        try:
            if not self._recovered:
                self._recovered = True
                await self._recover()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.outbox.run(), name="outbox")
                group.create_task(self.enrichment.run(), name="requests")
                group.create_task(self._publish(), name="files")
        finally:
            self.running = False
            for watch in self.watches:
                watch.active = False

    async def _recover(self) -> None:
        """Takes the alerts that were stored by an engine which was killed before it had correlated them."""
        mitm = self.enrichment.mitm
        if mitm is None:
            return
        since = self._clock() - RECOVER_S
        alerts: list[dict[str, Any]] = []
        before = ""
        while before or not alerts:
            page = mitm.store.page(500, before)
            alerts += page["alerts"]
            before = page.get("next", "")
            if not alerts or alerts[-1]["at"] < since:
                break
        for alert in reversed(alerts):
            if alert["at"] >= since and not self.store.knows(f"waf:{alert['id']}"):
                self.on_alert(alert)
                await asyncio.sleep(0)

    async def _publish(self) -> None:
        pruned_at = self._monotonic()
        while True:
            await self.bans.undo()
            if self._changed:
                self._changed = False
                await self.files.write(self.settings, self._clock())
            now = self._monotonic()
            self.joiner.expire(now, self.settings.correlation.window)
            if now - pruned_at >= PRUNE_S:
                pruned_at = now
                self.store.prune(self._clock())
                self.reputation.prune(self._clock())
                self.mutes.prune(self._clock())
                self._changed = True  # reputations have fallen
            await asyncio.sleep(PUBLISH_S)

    def now(self) -> float:
        """Unix time."""
        return self._clock()

    def changed(self) -> None:
        """The files are to be written anew."""
        self._changed = True

    # --- what comes in

    def on_alert(self, alert: dict[str, Any]) -> None:
        """A WAF alert, as `mitm.alerts` has checked it."""
        if not self.running:
            return
        ip = off_wire(str(alert.get("client_ip", "")))
        if not ip:
            self._counts["refused"] += 1
            return
        self.take(of_alert(alert, ip))

    def on_decision(self, change: str, decision: Decision) -> None:
        """CrowdSec decided, or undid a decision."""
        value = off_wire(decision.value.partition("/")[0])
        if not self.running or not value:
            return
        actor = self.home.actor(value)
        if change == "deleted":
            if self.bans.status_of(actor) == NONE:
                self.bans.lifted(actor.key)
                self._changed = True
            return
        self._counts["decisions_seen"] += 1
        listed = decision.origin.lower() == "capi" or decision.origin.startswith("lists")
        if is_own(decision) or listed or decision.type != "ban" or not self.settings.correlation.watch_crowdsec:
            return
        if "/" in decision.value and actor.key != decision.value:
            return  # a network is nobody's deed
        self.take(
            Event(
                type="crowdsec_ban",
                ip=value,
                at=self._clock(),
                score=DEFAULT_SCORES["crowdsec_ban"],
                reason=plain(f"CrowdSec banned it: {decision.scenario} ({decision.origin})", 200),
                source="crowdsec",
                rule=plain(decision.scenario, 64),
                id=f"crowdsec:{decision.value}:{decision.scenario}:{int(decision.until_at // 60)}",
                details={"until_at": round(decision.until_at, 3)},
            )
        )

    def on_delivered(self, delivery: Delivery) -> None:
        """What became of an alert that we queued for CrowdSec."""
        self.bans.delivered(delivery)
        self._changed = True

    def on_new_client(self, client: dict[str, object]) -> None:
        """A device that was never seen before."""
        keys = ("mac", "ip", "hostname", "interface", "first_seen_at")
        self.outbox.event("dpi.client", {key: client[key] for key in keys if key in client})

    def _flow_event(self, event: Event, flow: Flow) -> None:
        if self.running:
            self.take(event, flow)

    def _new_listener(self, place: str) -> None:
        try:
            self.store.add_listener(place, self._clock())
        except sqlite3.Error as error:
            self.store.failed = str(error)

    # --- an event

    def take(self, event: Event, flow: Flow | None = None) -> int:
        """Counts an event; the number of its record, 0 if it was counted before or cannot be stored."""
        started = self._monotonic()
        try:
            number = self._take(event, flow)
        except sqlite3.Error as error:
            self.store.failed = str(error)
            self._counts["refused"] += 1
            return 0
        self.latencies_s.append(self._monotonic() - started)
        return number

    def _take(self, event: Event, flow: Flow | None) -> int:
        now = self._clock()
        own = self.settings.correlation
        actor = self.home.actor(event.ip, event.mac)
        muted = self.mutes.match(event, actor, now)
        points = 0.0 if muted else self.weights.get(event.type, self.weights["default"])
        if flow is None and event.port:
            flow = self.joiner.exact(event.ip, event.port, event.at)
        with self.store.transaction():
            if event.id and not self.store.remember(event.id):
                self._counts["repeated"] += 1
                return 0
            before, after = self.reputation.add(actor.key, points, event.type, now)
            number, state = self.store.open_record(actor.key, event.type, event.rule, event.at - own.window, muted)
            new = not number
            if new:
                banned = self.bans.status_of(actor)
                state = "muted" if muted else BAN_STATE if banned == BANNED else "new"
                context = self._context(event, flow)
                community = community_id(flow) if flow is not None else ""
                number = self.store.add(event, actor, state, banned, before, after, community, context)
            else:
                self.store.merge(number, event, after)
            self.store.tally(event.at, event.type, events=1, threats=int(new), joined=int(new and flow is not None))
            alarming = not muted and state != "acknowledged"
            notify = alarming and own.notifications and event.score >= own.notification_threshold
            crossed = before < own.auto_ban_threshold <= after
            if notify or (alarming and own.notifications and crossed and actor.kind == "client"):
                self._notify(event, actor, number, now, after)
            if alarming:
                crowdsec = self.bans.consider(event, actor, number, before, after, now)
                if crowdsec:
                    self.store.mark(number, crowdsec, BAN_STATE if crowdsec == BANNED else "")
                elif new and notify:
                    self.bans.report(event, actor, number)
        self.store.failed = ""
        self._counts["events"] += 1
        self._counts["muted"] += muted
        self._changed = True
        if new:
            self._after_new(event, actor, flow, number, state, after)
        return number

    def _after_new(self, event: Event, actor: Actor, flow: Flow | None, number: int, state: str, after: float) -> None:
        if flow is None and event.port:
            self.joiner.wait(number, event.ip, event.port, self._monotonic())
        self.enrichment.wait(number, event.ip, event.at - self.settings.correlation.window)
        if state == "muted":
            return
        self.outbox.event(
            "dpi.threat",
            {
                "id": number,
                "ip": actor.ip,
                "event_type": event.type,
                "reason": event.reason,
                "threat_score": event.score,
                "reputation_score": round(after, 1),
                **({"mac": actor.mac} if actor.mac else {}),
            },
        )

    def _notify(self, event: Event, actor: Actor, number: int, now: float, after: float) -> None:
        more = {"threat_id": number, "mac": actor.mac, "hostname": actor.hostname, "reputation": round(after, 1)}
        self.notifier.tell(now, "threat", actor.key, actor.ip, event.type, event.reason, event.score, **more)

    def _context(self, event: Event, flow: Flow | None) -> dict[str, Any]:
        """What is known about the address at this moment."""
        window = self.settings.correlation.window
        flows = [flow] if flow is not None else self.joiner.around(event.ip, event.at - window, event.at + window)
        return {
            "mitm_requests": [],
            "dpi_flows": [shown(entry) for entry in flows],
            "waf_alerts": self.enrichment.alerts_of(event.ip),
        }

    # --- what comes after the event

    def _late_flow(self, record: int, flow: Flow) -> None:
        """The DPI agent tells of the flow that a record was waiting for."""
        try:
            with self.store.transaction():
                self.store.enrich(record, community_id(flow), dpi_flows=[shown(flow)])
                self.store.total(joined=1)
        except sqlite3.Error as error:
            self.store.failed = str(error)
        self._counts["late_flows"] += 1
        self._changed = True

    # --- health

    def counters(self) -> dict[str, int]:
        """Drops and oddities."""
        return {
            **{f"correlation_{name}": number for name, number in self._counts.items()},
            "correlation_requests_dropped": self.enrichment.dropped,
            "correlation_flows_never_told": self.joiner.given_up,
            "correlation_findings_held_back": sum(watch.held_back for watch in self.watches),
            "correlation_bans_refused": self.bans.refused,
            "correlation_notifications_suppressed": self.notifier.suppressed,
            "correlation_addresses_forgotten": self.reputation.forgotten,
            **self.outbox.counters(),
        }

    def problems(self) -> list[Problem]:
        """What an owner should know."""
        found = [*self.outbox.problems(), *self.files.problems()]
        if self.store.failed:
            found.append(
                Problem(
                    "correlation_not_stored",
                    f"threats cannot be stored ({self.store.failed}); events are lost.",
                    "Free some memory in /tmp.",
                    "error",
                )
            )
        if self.home.failure and self.running:
            found.append(
                Problem(
                    "own_addresses_unreadable",
                    f"the router's own addresses cannot be read ({self.home.failure}); nobody is banned by itself.",
                    "The engine needs CAP_NET_ADMIN.",
                )
            )
        return found
