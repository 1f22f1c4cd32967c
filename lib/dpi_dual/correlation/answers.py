"""The answers of `dpi.correlator`: records, contexts, reputations and their sums. Raises QueryError."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from dpi_dual.correlation.actors import Actor, Network, parse_address, parse_network
from dpi_dual.correlation.bans import BAN_STATE, NONE
from dpi_dual.correlation.correlator import Correlator
from dpi_dual.correlation.events import DEFAULT_SCORES, EVENT_TYPE, Event, plain, severity
from dpi_dual.correlation.joining import shown
from dpi_dual.correlation.records import STATES, Wanted, timestamp
from dpi_dual.errors import QueryError
from dpi_dual.lan.names import clean_mac

Answer = dict[str, Any]

#: A person waits for the analyser's answer so long; then the rest is shown without it.
REQUESTS_S = 3.0
CONTEXT_ROWS = 20
PERIODS = {"hour": (3600, 3600), "day": (24 * 3600, 3600), "week": (7 * 86400, 6 * 3600), "month": (30 * 86400, 86400)}
OFFENDERS = 10


def resolve(correlator: Correlator, text: str) -> Actor:
    """The actor that an address or a client's MAC means."""
    mac = clean_mac(text)
    if mac:
        client = correlator.home.client(mac)
        return Actor(mac, client or "", "client", mac)
    return correlator.home.actor(str(parse_address(text)))


def _standing(correlator: Correlator, actor: Actor) -> Answer:
    now = correlator.now()
    standing = correlator.reputation.of(actor.key, now)
    why = correlator.bans.exempt(actor) if actor.ip else "it is a client of the LAN"
    return {
        "actor": actor.key,
        "kind": actor.kind,
        **({"mac": actor.mac} if actor.mac else {}),
        **({"hostname": actor.hostname} if actor.hostname else {}),
        "score": round(standing.score, 1) if standing else 0.0,
        "events": standing.events if standing else 0,
        "last_event": standing.last_event if standing else "",
        "updated": timestamp(standing.updated_at) if standing else "",
        "updated_at": round(standing.updated_at, 3) if standing else 0.0,
        "never_banned": why,
        "whitelisted": correlator.bans.whitelist.match(parse_address(actor.ip)) if actor.ip else "",
    }


def reputation(correlator: Correlator, ip: str = "", limit: int = 50, before: str = "") -> Answer:
    """One actor's, or without `ip` the worst."""
    if ip:
        actor = resolve(correlator, ip)
        return {
            "ip": ip,
            **_standing(correlator, actor),
            "crowdsec_status": correlator.bans.status_of(actor) if actor.ip else NONE,
        }
    if before and not (before.isascii() and before.isdigit() and len(before) < 9):
        raise QueryError("bad_page", "`before` must be the `next` of the page before it")
    now, offset = correlator.now(), int(before or 0)
    rows = correlator.reputation.worst(now, limit + 1, offset)
    answer: Answer = {
        "reputations": [
            {
                "actor": row.actor,
                "score": round(row.score, 1),
                "events": row.events,
                "last_event": row.last_event,
                "updated": timestamp(row.updated_at),
                "updated_at": round(row.updated_at, 3),
            }
            for row in rows[:limit]
        ],
        "total": correlator.reputation.count(now),
    }
    if len(rows) > limit:
        answer["next"] = str(offset + limit)
    return answer


def _wanted(correlator: Correlator, ip: str, **more: Any) -> Wanted:
    """`ip` is an address, a network, a client's MAC or nothing."""
    if not ip:
        return Wanted(**more)
    mac = clean_mac(ip)
    if mac:
        return Wanted(actor=mac, **more)
    network: Network = parse_network(ip)
    actor = "" if "/" in ip else correlator.home.actor(str(network.network_address)).key
    return Wanted(network=network, actor=actor, **more)


def timeline(
    correlator: Correlator,
    limit: int,
    before: str = "",
    ip: str = "",
    type: str = "",
    min_score: int = 0,
    since: float = 0.0,
    until: float = 0.0,
    state: str = "",
    context: bool = False,
    figures: bool = False,
) -> Answer:
    """Records, newest first; with `figures` also how things stand, so that a page asks one question a poll."""
    if type and not EVENT_TYPE.match(type):
        raise QueryError("bad_type", f"{type[:64]!r} is no event type: lower-case letters, digits and _")
    wanted = _wanted(correlator, ip, event_type=type, min_score=min_score, since=since, until=until, state=state)
    answer = correlator.store.page(wanted, limit, before, context)
    if figures:
        answer["figures"] = _figures(correlator)
    return answer


def _figures(correlator: Correlator) -> Answer:
    """The sums, the level, and the events of the last day by hour."""
    now = correlator.now()
    last = int(now // 3600)
    trend = dict.fromkeys(range(last - 23, last + 1), 0)
    for hour, _, number in correlator.store.hours((last - 23) * 3600):
        trend[hour] = trend.get(hour, 0) + number
    return {
        **stats(correlator),
        "level": _level(correlator, now),
        "step_s": 3600,
        "trend": [{"at": hour * 3600, "events": number} for hour, number in sorted(trend.items())],
    }


def search(correlator: Correlator, query: str, limit: int, before: str = "") -> Answer:
    """Records about an address, a network or a MAC, or with a text in them."""
    text = query.strip()
    if not text:
        raise QueryError("bad_parameter", "query is empty")
    try:
        wanted = _wanted(correlator, text)
    except QueryError:
        if "/" in text and text.partition("/")[0].replace(".", "").isdigit():
            raise
        wanted = Wanted(text=text)
    return correlator.store.page(wanted, limit, before, context=True)


async def context(correlator: Correlator, ip: str = "", id: int = 0) -> Answer:
    """All that is known about an address, the record with this number as it was, or both."""
    record = correlator.store.record(id) if id else None
    if id and record is None:
        raise QueryError("not_found", f"there is no record {id}; the newest are kept")
    if record is not None and not ip:
        return {"ip": record["ip"], "record": record}
    if not ip:
        raise QueryError("bad_parameter", "context needs ip or id")
    actor = resolve(correlator, ip)
    now = correlator.now()
    since = now - 3600
    requests: list[Answer] = []
    alerts: list[Answer] = []
    mitm = correlator.enrichment.mitm
    if mitm is not None and actor.ip:
        alerts = mitm.store.of_address(actor.ip, 0.0, CONTEXT_ROWS)
        try:
            async with asyncio.timeout(REQUESTS_S):
                requests = await correlator.enrichment.requests_of(actor.ip, since, CONTEXT_ROWS)
        except TimeoutError:
            requests = []
    flows = correlator.joiner.around(actor.ip, since, now + 60) if actor.ip else []
    page = correlator.store.page(Wanted(actor=actor.key), CONTEXT_ROWS)
    crowdsec = correlator.bans.crowdsec
    decision = crowdsec.lookup(actor.ip) if crowdsec is not None and actor.ip else None
    return {
        "ip": ip,
        "reputation": _standing(correlator, actor),
        "reputation_history": [
            {"at": row["last_at"], "event_type": row["event_type"], "score": row["reputation_score"]}
            for row in reversed(page["threats"])
        ],
        "crowdsec": {
            "state": crowdsec.status()["state"] if crowdsec is not None else "off",
            "banned": decision is not None,
            **(
                {
                    "target": decision.value,
                    "type": decision.type,
                    "scenario": decision.scenario,
                    "origin": decision.origin,
                    "until_at": round(decision.until_at, 3),
                }
                if decision is not None
                else {}
            ),
        },
        "mitm_requests": requests,
        "dpi_flows": [shown(flow) for flow in flows],
        "waf_alerts": alerts,
        "threats": page["threats"],
        "threats_total": page["total"],
        "mutes": [mute for mute in mutes(correlator) if mute["source"] in ("", actor.key)],
        **({"record": record} if record is not None else {}),
    }


def mutes(correlator: Correlator) -> list[Answer]:
    """The mutes in force."""
    return [
        {"rule": rule, "source": source, "made_at": round(made_at, 3), "until_at": round(until_at, 3)}
        for rule, source, made_at, until_at in correlator.mutes.rows(correlator.now())
    ]


async def correlate(
    correlator: Correlator, ip: str, event_type: str, reason: str = "", score: int | None = None
) -> Answer:
    """A person or a program says what an address did."""
    if not correlator.running:
        raise QueryError("correlation_off", "correlation is switched off (dpi-dual.correlation.enabled)")
    if not EVENT_TYPE.match(event_type):
        raise QueryError("bad_type", f"{event_type[:64]!r} is no event type: lower-case letters, digits and _")
    address = str(parse_address(ip))
    number = correlator.take(
        Event(
            type=event_type,
            ip=address,
            at=correlator.now(),
            score=DEFAULT_SCORES.get(event_type, 50) if score is None else score,
            reason=plain(reason, 200) or event_type,
            source="manual",
            rule=plain(reason, 64),
        )
    )
    record = correlator.store.record(number) if number else None
    if record is None:
        raise QueryError("not_stored", f"the event cannot be stored: {correlator.store.failed}")
    return {"ok": True, "threat": record}


def acknowledge(
    correlator: Correlator,
    id: int = 0,
    ip: str = "",
    rule: str = "",
    mute: bool = False,
    duration: str = "",
    remove: bool = False,
) -> Answer:
    """Records that were seen to; with `mute` events of the same rule and source alarm nobody from now on."""
    record = correlator.store.record(id) if id else None
    if id and record is None:
        raise QueryError("not_found", f"there is no record {id}; the newest are kept")
    if record is not None:
        rule, source = rule or record["rule"] or record["event_type"], record["actor"]
    else:
        source = _source(correlator, ip)
    if not (id or rule or source):
        raise QueryError("bad_parameter", "acknowledge needs id, ip or rule")
    changed = 0
    if remove:
        changed = correlator.mutes.end(rule, source, correlator.now())
        if not changed:
            raise QueryError("not_found", "there is no such mute; tuning lists them")
    elif mute:
        correlator.mutes.add(rule, source, duration, correlator.now())
    if not remove:
        changed = _acknowledge(correlator, id, ip, rule if record is None else "", "muted" if mute else "acknowledged")
    correlator.changed()
    return {"ok": True, "changed": changed, "rule": rule, "source": source, "muted": mute and not remove}


def _source(correlator: Correlator, ip: str) -> str:
    """How a mute names its source: an actor, a network, or nobody in particular."""
    if not ip:
        return ""
    if clean_mac(ip):
        return clean_mac(ip)
    return str(parse_network(ip)) if "/" in ip else correlator.home.actor(str(parse_address(ip))).key


def _acknowledge(correlator: Correlator, number: int, ip: str, rule: str, state: str) -> int:
    if number:
        return int(correlator.store.mark(number, state=state))
    return correlator.store.acknowledge(_wanted(correlator, ip), rule, state)


def notifications(correlator: Correlator, limit: int) -> Answer:
    """The newest first."""
    rows = correlator.store.notifications()
    return {"notifications": rows[::-1][:limit], "total": len(rows)}


def stats(correlator: Correlator) -> Answer:
    """Figures of the correlator."""
    now = correlator.now()
    totals = correlator.store.totals()
    states = correlator.store.by_state()
    kept = correlator.store.kept()
    crowdsec = correlator.bans.crowdsec
    return {
        "running": correlator.running,
        "events": totals.get("events", 0),
        "threats": totals.get("threats", 0),
        "threats_kept": kept.records,
        "high_threats": kept.high,
        "actors": kept.actors,
        "updated": timestamp(kept.last_at) if kept.records else "",
        "joined_with_flow": totals.get("joined", 0),
        "banned": totals.get("banned", 0),
        "by_state": {state: states.get(state, 0) for state in STATES},
        "by_type": _by_type(correlator, now - 31 * 86400),
        "reputations": correlator.reputation.count(now),
        "worst_score": round(next((row.score for row in correlator.reputation.worst(now, 1)), 0.0), 1),
        "whitelist": len(correlator.bans.whitelist.entries),
        "notifications": correlator.notifier.told,
        "latency_ms_p99": _p99_ms(list(correlator.latencies_s)),
        "auto_ban": correlator.settings.correlation.auto_ban,
        "crowdsec": crowdsec.status() if crowdsec is not None else {"state": "off"},
        "webhooks_waiting": correlator.outbox.waiting(),
    }


def _p99_ms(latencies_s: list[float]) -> float:
    # The `statistics` module would bring decimal and random along: megabytes.
    return round(1000 * sorted(latencies_s)[len(latencies_s) * 99 // 100], 3) if latencies_s else 0.0


def _by_type(correlator: Correlator, since: float) -> dict[str, int]:
    found: Counter[str] = Counter()
    for _, event_type, number in correlator.store.hours(since):
        found[event_type] += number
    return dict(found.most_common(32))


def scorecard(correlator: Correlator, period: str) -> Answer:
    """The threat picture of a period: who, what, and when."""
    now = correlator.now()
    span_s, step_s = PERIODS[period]
    since = now - span_s
    worst = correlator.reputation.worst(now, OFFENDERS)
    offences = correlator.store.offences([row.actor for row in worst])
    trend: dict[int, Counter[str]] = {
        int(at): Counter() for at in range(int(since // step_s) * step_s, int(now) + 1, step_s)
    }
    types: Counter[str] = Counter()
    for hour, event_type, number in correlator.store.hours(since):
        types[event_type] += number
        trend.setdefault(hour * 3600 // step_s * step_s, Counter())[event_type] += number
    categories = correlator.store.categories(since)
    states = correlator.store.by_state()
    return {
        "period": period,
        "timestamp": timestamp(now),
        "events": sum(types.values()),
        "types": dict(types.most_common(32)),
        "categories": dict(categories.most_common(32)),
        "open": states.get("new", 0),
        "banned": states.get(BAN_STATE, 0),
        "level": _level(correlator, now),
        "offenders": [
            {
                "actor": row.actor,
                "ip": offences[row.actor][2] if row.actor in offences else row.actor,
                "score": round(row.score, 1),
                "events": row.events,
                "last_event": row.last_event,
                "threats": offences[row.actor][0] if row.actor in offences else 0,
                "worst_threat_score": offences[row.actor][1] if row.actor in offences else 0,
                "updated_at": round(row.updated_at, 3),
            }
            for row in worst
        ],
        "step_s": step_s,
        "trend": [
            {"at": at, "events": sum(found.values()), "types": dict(found)} for at, found in sorted(trend.items())
        ],
    }


def _level(correlator: Correlator, now: float) -> str:
    """How things stand, by the gravest open record of the last day: calm, low, medium, high or critical."""
    score = correlator.store.gravest(now - 86400)
    return severity(score) if score else "calm"
