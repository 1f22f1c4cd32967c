"""How the answers of `dpi.correlator` are shown: threats, contexts, reputations, bans, settings."""

from __future__ import annotations

from collections.abc import Iterator

from dpi_dual.cli.command import Answer, View, listed, mapping
from dpi_dual.cli.flows import flow_lines, more, nothing, top
from dpi_dual.cli.health import wrapped
from dpi_dual.cli.overview import bars
from dpi_dual.cli.table import Column, Row, table
from dpi_dual.cli.terminal import safe
from dpi_dual.cli.units import ago, count, plural, remaining


def _who(row: Row) -> str:
    return str(row.get("hostname") or row.get("ip") or row.get("actor", ""))


def _state(row: Row) -> str:
    state, crowdsec = str(row.get("state", "")), str(row.get("crowdsec_status", ""))
    if state == "crowdsec_ban":
        return "banned"
    return state if crowdsec in ("", "none") else f"{state}, {crowdsec}"


def threat_lines(rows: list[Row], view: View) -> list[str]:
    """A table of threats, as they came."""
    layout = (
        Column("Id", lambda row: row.get("id"), right=True, rank=3),
        Column("Seen", lambda row: ago(row.get("last_at"), view.now)),
        Column("Who", _who, least=15, keep_ends=True),
        Column("Event", lambda row: row.get("event_type")),
        Column("Score", lambda row: count(row.get("threat_score", 0)), right=True),
        Column("Rep.", lambda row: count(row.get("reputation_score", 0)), right=True),
        Column("×", lambda row: count(row["count"]) if row.get("count", 1) > 1 else "", right=True),
        Column("State", _state, least=6, rank=1),
        Column("Flow", lambda row: "✓" if row.get("community_id") else "", rank=2),
        Column("Why", lambda row: row.get("reason"), least=12),
    )
    return table(layout, rows, view.room, view.style)


def show_threats(answer: Answer, view: View) -> Iterator[str]:
    """One row a threat."""
    rows = listed(answer.get("threats"))
    if not rows:
        yield nothing(answer, "No threats.", view)
        return
    yield from threat_lines([*rows], view)
    yield from more(answer, len(rows), view)


def _details(record: Answer, view: View) -> Iterator[str]:
    """One threat in full."""
    yield view.style.title(view.fit(f"{safe(record.get('event_type'))} by {safe(_who(record))}"))
    fields = (
        ("why", record.get("reason")),
        ("score", f"{record.get('threat_score')} ({record.get('severity')})"),
        ("reputation", f"{record.get('reputation_before')} → {record.get('reputation_score')}"),
        ("actor", " ".join(str(record[key]) for key in ("kind", "actor") if record.get(key))),
        ("state", _state(record)),
        ("times", record.get("count")),
        ("rule", record.get("rule")),
    )
    for name, value in fields:
        if value not in (None, ""):
            yield view.fit(f"{name:12}{safe(value)}")
    yield from _context(mapping(record.get("context")), view)


def _context(found: Answer, view: View) -> Iterator[str]:
    flows, requests, alerts = (listed(found.get(key)) for key in ("dpi_flows", "mitm_requests", "waf_alerts"))
    if flows:
        yield ""
        yield view.style.title("Flows")
        yield from flow_lines(flows, view)
    for title, rows in (("Requests", requests), ("Alerts", alerts)):
        if rows:
            yield ""
            yield view.style.title(title)
            layout = (
                Column("Seen", lambda row: ago(row.get("at"), view.now)),
                Column("Request", lambda row: f"{row.get('method')} {row.get('host')}{row.get('path')}", least=20),
                Column("Score", lambda row: row.get("threat_score"), right=True),
                Column("Rule", lambda row: row.get("rule"), least=8, rank=1),
            )
            yield from table(layout, rows, view.room, view.style)


def show_correlated(answer: Answer, view: View) -> Iterator[str]:
    """The record that was made."""
    yield from _details(mapping(answer.get("threat")), view)


def show_context(answer: Answer, view: View) -> Iterator[str]:
    """What is known about an address, or one threat."""
    if answer.get("record"):
        yield from _details(mapping(answer["record"]), view)
        return
    yield from show_reputation({"ip": answer.get("ip"), **mapping(answer.get("reputation"))}, view)
    crowdsec = mapping(answer.get("crowdsec"))
    told = f"banned: {crowdsec.get('scenario')}" if crowdsec.get("banned") else "not banned"
    yield view.fit(f"{'CrowdSec':12}{safe(told)} ({safe(crowdsec.get('state', ''))})")
    yield from _context(answer, view)
    threats = listed(answer.get("threats"))
    if threats:
        yield ""
        yield view.style.title(plural(answer.get("threats_total", len(threats)), "threat"))
        yield from threat_lines([*threats], view)


def show_reputation(answer: Answer, view: View) -> Iterator[str]:
    """One address, or the worst of all."""
    if "reputations" in answer:
        rows = listed(answer["reputations"])
        if not rows:
            yield "Nobody has a bad reputation."
            return
        layout = (
            Column("Address", lambda row: row.get("actor"), least=15, keep_ends=True),
            Column("Score", lambda row: f"{row.get('score', 0):.1f}", right=True),
            Column("Events", lambda row: count(row.get("events", 0)), right=True),
            Column("Last", lambda row: row.get("last_event")),
            Column("Seen", lambda row: ago(row.get("updated_at"), view.now)),
        )
        yield from table(layout, rows, view.room, view.style)
        yield from more(answer, len(rows), view)
        return
    yield view.style.title(view.fit(f"{safe(answer.get('ip', ''))}: reputation {answer.get('score', 0)} of 100"))
    yield view.fit(f"{'actor':12}{safe(answer.get('kind', ''))} {safe(answer.get('actor', ''))}")
    if answer.get("events"):
        seen = ago(answer.get("updated_at"), view.now)
        yield view.fit(f"{'events':12}{count(answer['events'])}, last {safe(answer.get('last_event'))} {seen}")
    if answer.get("never_banned"):
        yield view.fit(f"{'banned':12}never: {safe(answer['never_banned'])}")


def show_stats(answer: Answer, view: View) -> Iterator[str]:
    """The correlator in a few lines."""
    yield view.style.title("running" if answer.get("running") else "not running")
    figures = (
        plural(answer.get("events", 0), "event"),
        plural(answer.get("threats", 0), "threat"),
        f"{count(answer.get('joined_with_flow', 0))} joined with their flow",
        f"{count(answer.get('banned', 0))} banned",
    )
    yield view.fit(", ".join(figures))
    yield from top("Types", answer.get("by_type"), view)
    yield from top("States", answer.get("by_state"), view)
    worst = answer.get("worst_score", 0)
    yield view.fit(f"{'Reputations':14}{count(answer.get('reputations', 0))}, the worst {worst}")
    crowdsec = mapping(answer.get("crowdsec"))
    told = f"{safe(crowdsec.get('state', ''))}, {plural(crowdsec.get('decisions', 0), 'decision')}"
    yield view.fit(f"{'CrowdSec':14}{told}, {count(crowdsec.get('queued', 0))} waiting")
    yield view.fit(f"{'Auto-ban':14}{'on' if answer.get('auto_ban') else 'off'}")
    yield view.fit(f"{'Latency':14}{answer.get('latency_ms_p99', 0)} ms (p99)")


def show_scorecard(answer: Answer, view: View) -> Iterator[str]:
    """The threat picture of a period."""
    dress = view.style.good if answer.get("level") == "calm" else view.style.warn
    events = plural(answer.get("events", 0), "event")
    head = f"{events}, {plural(answer.get('open', 0), 'open threat')} in the last {safe(answer.get('period', ''))}"
    yield dress(view.fit(f"{safe(answer.get('level', '')):9} {head}"))
    trend = [float(point.get("events", 0)) for point in listed(answer.get("trend"))]
    if any(trend):
        yield bars(trend, max((view.room or 120) - 4, 10))
    yield from top("Types", answer.get("types"), view)
    yield from top("Categories", answer.get("categories"), view)
    offenders = listed(answer.get("offenders"))
    if offenders:
        yield ""
        layout = (
            Column("Offender", lambda row: row.get("ip"), least=15, keep_ends=True),
            Column("Reputation", lambda row: f"{row.get('score', 0):.1f}", right=True),
            Column("Events", lambda row: count(row.get("events", 0)), right=True),
            Column("Threats", lambda row: count(row.get("threats", 0)), right=True),
            Column("Last", lambda row: row.get("last_event")),
            Column("Seen", lambda row: ago(row.get("updated_at"), view.now)),
        )
        yield from table(layout, offenders, view.room, view.style)


def show_bans(answer: Answer, view: View) -> Iterator[str]:
    """CrowdSec's decisions."""
    rows = listed(answer.get("bans"))
    if not rows:
        yield nothing(answer, "Nobody is banned.", view)
        return

    def left(row: Row) -> str:
        until = row.get("until_at")
        return remaining(until - view.now) if isinstance(until, int | float) else str(row.get("duration", ""))

    layout = (
        Column("Id", lambda row: row.get("id"), right=True, rank=2),
        Column("Target", lambda row: row.get("target") or row.get("value"), least=15, keep_ends=True),
        Column("Type", lambda row: row.get("type")),
        Column("Left", left, right=True),
        Column("Origin", lambda row: row.get("origin"), least=6, rank=1),
        Column("Why", lambda row: row.get("scenario"), least=12),
    )
    yield from table(layout, rows, view.room, view.style)
    yield from more(answer, len(rows), view)


def show_ban(answer: Answer, view: View) -> Iterator[str]:
    """A ban that holds."""
    until = answer.get("until_at", 0) - view.now
    yield view.fit(
        f"{safe(answer.get('target', ''))} is banned for {remaining(until)} (CrowdSec decision {answer.get('id')})."
    )


def show_unban(answer: Answer, view: View) -> Iterator[str]:
    """What was undone."""
    yield view.fit(f"{safe(answer.get('ip', ''))}: {plural(answer.get('removed', 0), 'ban')} undone.")


def show_whitelist(answer: Answer, view: View) -> Iterator[str]:
    """Who is never banned."""
    entries = answer.get("whitelist") or []
    yield from (view.fit(safe(entry)) for entry in entries)
    if not entries:
        yield "The whitelist is empty."
    implicit = answer.get("implicit")
    if implicit:
        yield ""
        yield from wrapped("never banned anyway: " + ", ".join(map(str, implicit)), view, "", "  ")
    if answer.get("unbanned"):
        yield f"{plural(answer['unbanned'], 'ban')} undone."
    if answer.get("warning"):
        yield from wrapped(answer["warning"], view, "", "  ")


def show_tuning(answer: Answer, view: View) -> Iterator[str]:
    """Weights, thresholds, mutes."""
    yield view.style.title("In force")
    names = [name for name, value in answer.items() if isinstance(value, str | int | float) and name != "engine"]
    for name in names:
        value = answer[name]
        told = ("on" if value else "off") if isinstance(value, bool) else safe(value)
        yield view.fit(f"{safe(name):24}{told}")
    yield from top("Weights", answer.get("weights"), view)
    for mute in listed(answer.get("mutes")):
        until = mute.get("until_at")
        told = f"for {remaining(until - view.now)} more" if until else "for good"
        yield view.fit(
            f"muted: {safe(mute.get('rule') or 'any rule')} from {safe(mute.get('source') or 'anybody')}, {told}"
        )


def show_auto_ban(answer: Answer, view: View) -> Iterator[str]:
    """What holds now."""
    if answer.get("auto_ban"):
        duration = safe(answer.get("auto_ban_duration"))
        yield view.fit(f"Banned at a reputation of {answer.get('auto_ban_threshold')}, for {duration}.")
    else:
        yield "Nobody is banned by reputation."


def show_acknowledged(answer: Answer, view: View) -> Iterator[str]:
    """What changed."""
    yield f"{plural(answer.get('changed', 0), 'threat')} " + ("muted." if answer.get("muted") else "acknowledged.")


def show_decay(answer: Answer, view: View) -> Iterator[str]:
    """How many were lowered."""
    lowered = plural(answer.get("addresses", 0), "reputation")
    yield f"{lowered} lowered by {plural(answer.get('points', 0), 'point')}."


def show_reset(answer: Answer, view: View) -> Iterator[str]:
    """What was forgotten."""
    told = "is forgotten" if answer.get("known") else "had no reputation"
    yield view.fit(f"{safe(answer.get('actor', ''))} {told}.")


def show_notifications(answer: Answer, view: View) -> Iterator[str]:
    """One row a notification."""
    rows = listed(answer.get("notifications"))
    if not rows:
        yield nothing(answer, "No notifications.", view)
        return
    layout = (
        Column("When", lambda row: str(row.get("timestamp", ""))[:19].replace("T", " ")),
        Column("Severity", lambda row: row.get("severity")),
        Column("Address", lambda row: row.get("ip"), least=15, keep_ends=True),
        Column("Event", lambda row: row.get("event")),
        Column("Score", lambda row: count(row.get("score", 0)), right=True),
        Column("Why", lambda row: row.get("reason"), least=12),
    )
    yield from table(layout, rows, view.room, view.style)
