"""`alerts`, `buffer`: what the MITM stream saw."""

from __future__ import annotations

from collections.abc import Iterator

from dpi_dual.cli.command import Answer, Command, View, listed
from dpi_dual.cli.flows import more, nothing, top
from dpi_dual.cli.table import Column, table
from dpi_dual.cli.units import ago, count, plural


def show_alerts(answer: Answer, view: View) -> Iterator[str]:
    """One row an alert."""
    rows = listed(answer.get("alerts"))
    if not rows:
        yield nothing(answer, "No alerts.", view)
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
        (("alerts --limit 20", "the twenty newest"),),
    ),
    Command(("buffer",), "dpi.status", "buffer", show_buffer, (("buffer", "how full the ring is"),)),
)
