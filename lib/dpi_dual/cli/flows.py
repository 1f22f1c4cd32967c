"""`flows`: the TAP stream's flows, and the table that every list of flows is shown in."""

from __future__ import annotations

from collections.abc import Iterator

from dpi_dual.cli.command import Answer, Command, View, listed, mapping
from dpi_dual.cli.table import Column, Row, table
from dpi_dual.cli.terminal import safe
from dpi_dual.cli.units import amount, count, plural, span


def endpoint(address: object, port: object) -> str:
    """`address:port`, an IPv6 address in brackets; no port for protocols without."""
    host = str(address or "")
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def kind(row: Row) -> str:
    """Application and protocol in one: `youtube/QUIC`; `TLS?` when the protocol was only guessed."""
    protocol = str(row.get("protocol", "")) + ("?" if row.get("guessed") else "")
    application = str(row.get("application", ""))
    if application.lower() in ("", "unknown", str(row.get("protocol", "")).lower()):
        return protocol
    return f"{application}/{protocol}"


def flow_lines(flows: object, view: View) -> list[str]:
    """A table of flows, as they came."""

    def seen(row: Row) -> str:
        last = row.get("last_seen_at")
        age = span(view.now - last) if isinstance(last, int | float) else "?"
        return age + (" †" if row.get("state") == "finished" else "")

    def remote(row: Row) -> str:
        return endpoint(row.get("other_name") or row.get("other_ip"), row.get("other_port"))

    def asked_for(row: Row) -> object:
        """A name that is not the remote's own: what DNS was asked about, which of our services somebody wants."""
        return "" if row.get("other_name") else row.get("hostname")

    layout = (
        Column("Seen", seen),
        Column("Local", lambda row: endpoint(row.get("local_ip"), row.get("local_port")), least=21),
        Column("", lambda row: "→" if row.get("local_origin", True) else "←"),
        Column("Remote", remote, least=22, keep_end=True),
        Column("What", kind, least=12),
        Column("Asks for", asked_for, least=16, keep_end=True, rank=2),
        Column("Sent", lambda row: amount(row.get("local_bytes", 0)), right=True, rank=3),
        Column("Received", lambda row: amount(row.get("other_bytes", 0)), right=True, rank=3),
        Column("Total", lambda row: amount(row.get("total_bytes", 0)), right=True),
        Column("Packets", lambda row: count(row.get("total_packets", 0)), right=True, rank=4),
        Column("Risks", lambda row: ",".join(map(str, row.get("risks") or [])), least=5, rank=1),
    )
    rows = listed(flows)
    lines = table(layout, rows, view.room, view.style)
    if any(row.get("state") == "finished" for row in rows):
        lines.append(view.style.faint("† finished"))
    return lines


def top(title: str, figures: object, view: View, most: int = 12) -> Iterator[str]:
    """One line of the largest of a mapping name → number."""
    ranked = sorted(mapping(figures).items(), key=lambda pair: -pair[1])[:most]
    if ranked:
        text = f"{title:14}" + ", ".join(f"{safe(name)} {count(number)}" for name, number in ranked)
        yield view.fit(text)


def nothing(answer: Answer, otherwise: str, view: View) -> str:
    """What to say instead of an empty table."""
    if answer.get("engine") == "down":
        return "Nothing is known without the engine."
    narrowed = any(name not in ("limit", "sort") for name in view.params)
    return "Nothing fits." if narrowed else otherwise


def _talkers(talkers: object, view: View) -> Iterator[str]:
    ranked = sorted(listed(talkers), key=lambda row: -row.get("bytes", 0))[:6]
    if ranked:
        named = (f"{safe(row.get('hostname') or row.get('ip', ''))} {amount(row.get('bytes', 0))}" for row in ranked)
        yield view.fit(f"{'Top talkers':14}" + ", ".join(named))


def more(answer: Answer, shown: int, view: View) -> Iterator[str]:
    """Where the next page is, if there is one."""
    if answer.get("next"):
        yield ""
        yield view.style.faint(f"{count(shown)} of {count(answer.get('total', 0))}; the next page:")
        yield f"  {view.asked} --before {safe(answer['next'])}"


def show_flows(answer: Answer, view: View) -> Iterator[str]:
    """The stream's figures, its protocols and applications, then the flows."""
    name = safe(answer.get("tap_interface", ""))
    figures = f"{amount(answer.get('rx_bytes', 0))} in {plural(answer.get('rx_packets', 0), 'packet')}"
    title = f"{name}: {plural(answer.get('flows_1min', 0), 'flow')} in the last minute, {figures}"
    yield view.style.title(view.fit(title))
    yield from top("Protocols", answer.get("protocols"), view)
    yield from top("Applications", answer.get("applications"), view)
    yield from _talkers(answer.get("top_talkers"), view)
    yield ""
    flows = listed(answer.get("flows"))
    if not flows:
        yield nothing(answer, "No flows yet: 'dpi-dualctl mirror' and 'dpi-dualctl health' may say why.", view)
        return
    yield from flow_lines(flows, view)
    yield from more(answer, len(flows), view)


COMMANDS = (
    Command(
        ("flows",),
        "dpi.status",
        "flows",
        show_flows,
        (
            ("flows", "what crosses the WAN, newest first"),
            ("flows --limit 10 --watch 1", "the ten newest, each second"),
            ("flows --protocol TLS --state live", "TLS that is going on now"),
            ("flows --ip 203.0.113.7 --json", "all about one address, for a program"),
        ),
        help="WAN flows as the TAP stream sees them, newest first",
    ),
)
