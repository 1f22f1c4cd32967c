"""`alerts`, `buffer`: what the MITM stream saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dpi_dual.cli.command import Answer, Command, View, listed
from dpi_dual.cli.flows import more, nothing, top
from dpi_dual.cli.health import wrapped
from dpi_dual.cli.table import Column, table
from dpi_dual.cli.terminal import safe
from dpi_dual.cli.units import ago, count, plural


def show_alerts(answer: Answer, view: View) -> Iterator[str]:
    """One row an alert."""
    rows = listed(answer.get("alerts"))
    if not rows:
        yield nothing(answer, "No alerts.", view)
        return
    if view.params.get("id"):
        for row in rows:
            yield from _details(row, view)
        return
    layout = (
        Column("Seen", lambda row: ago(row.get("at"), view.now)),
        Column("Client", lambda row: row.get("client_ip"), least=15, keep_ends=True),
        Column("Score", lambda row: count(row.get("threat_score", 0)), right=True),
        Column("", lambda row: "blocked" if row.get("blocked") else ""),
        Column("Categories", lambda row: ",".join(map(str, row.get("categories") or [])), least=8),
        Column("Request", lambda row: f"{row.get('method')} {row.get('host')}{row.get('path')}", least=16),
        Column("Rule", lambda row: row.get("rule"), least=8, rank=1),
    )
    yield from table(layout, rows, view.room, view.style)
    yield from more(answer, len(rows), view)


def _details(alert: dict[str, Any], view: View) -> Iterator[str]:
    """One alert in full, and what can be done about it."""
    client = str(alert.get("client_ip", ""))
    yield view.style.title(view.fit(f"{safe(alert.get('event', ''))} by {safe(client)}"))
    facts = (
        ("when", str(alert.get("timestamp", ""))[:19].replace("T", " ") + f" UTC, {ago(alert.get('at'), view.now)}"),
        ("request", f"{alert.get('method')} {alert.get('host')}{alert.get('path')}"),
        ("score", f"{alert.get('threat_score')}, {'refused' if alert.get('blocked') else 'let through'}"),
        ("reference", alert.get("request_id")),
    )
    for name, value in facts:
        yield from wrapped(f"{name:12}{safe(value)}", view, "", " " * 12)
    layout = (
        Column("Rule", lambda row: row.get("rule"), least=12),
        Column("Where", lambda row: row.get("place"), least=12),
        Column("Category", lambda row: row.get("category"), least=8),
        Column("Score", lambda row: count(row.get("score", 0)), right=True),
    )
    yield ""
    yield from table(layout, listed(alert.get("rules")), view.room, view.style)
    yield ""
    reference = safe(alert.get("request_id", ""))
    for text in (
        f"All about this client: dpi-correlator context {safe(client)}",
        f"To judge the request again: dpi-dualctl replay {reference}",
        "A false alarm? An 'exclusion' section in /etc/config/dpi-dual silences a rule where it is wrong.",
    ):
        yield from wrapped(text, view, "", "  ")
    yield ""


def show_buffer(answer: Answer, view: View) -> Iterator[str]:
    """How full it is and what went through."""
    yield f"{count(answer.get('entries', 0))} of {plural(answer.get('max_size', 0), 'place')} taken"
    figures = (
        plural(answer.get("requests_total", 0), "request"),
        plural(answer.get("threats_detected", 0), "threat"),
        f"{count(answer.get('blocked_count', 0))} blocked",
        f"{count(answer.get('high_threat_in_buffer', 0))} grave ones still here",
    )
    yield view.fit(", ".join(figures))
    yield from top("Categories", answer.get("threat_distribution"), view)
    yield from top("Hosts", answer.get("top_hosts"), view)


COMMANDS = (
    Command(
        ("alerts",),
        "dpi.status",
        "alerts",
        show_alerts,
        (
            ("alerts --limit 20", "the twenty newest"),
            ("alerts --id 5f0c2a9d1b7e4c30", "who was refused with this reference number, and why"),
            ("alerts --ip 203.0.113.0/24 --since 1d", "a network's, of the last day"),
            ("alerts --category sqli --no-blocked", "what got through"),
        ),
    ),
    Command(("buffer",), "dpi.status", "buffer", show_buffer, (("buffer", "how full the ring is"),)),
)
