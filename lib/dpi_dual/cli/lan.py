"""`lan`, `clients`, `client`, `destinations`, `protocols`, `applications`: who on the LAN talks to whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from dpi_dual.cli.command import Answer, Command, Renderer, View, listed, mapping
from dpi_dual.cli.flows import flow_lines, kind, more, nothing
from dpi_dual.cli.overview import bars
from dpi_dual.cli.table import Column, Row, table
from dpi_dual.cli.terminal import safe
from dpi_dual.cli.units import ago, amount, count, plural, rate


def show_status(answer: Answer, view: View) -> Iterator[str]:
    """The LAN in four lines."""
    on = answer.get("enabled", True)
    state = "watched" if answer.get("running") else "not watched" if on else "switched off (dpi-dual.lan.enabled)"
    source = safe(answer.get("source", "none"))
    told = f", by {source}" if source != "none" and answer.get("running") else ""
    yield view.style.title(view.fit(f"{safe(answer.get('interface', ''))}: {state}{told}"))
    yield ", ".join(
        (
            plural(answer.get("active_clients", 0), "active client"),
            plural(answer.get("unique_destinations", 0), "destination"),
            plural(answer.get("detected_protocols", 0), "protocol"),
        )
    )
    yield f"{'from clients':13}{amount(answer.get('rx_bytes', 0)):>9}  {rate(answer.get('rx_rate_bps', 0)):>13}"
    yield f"{'to clients':13}{amount(answer.get('tx_bytes', 0)):>9}  {rate(answer.get('tx_rate_bps', 0)):>13}"


def _rate(row: Row, way: str) -> str:
    """A client's rate, `rx` for what it receives; nothing where the engine has none."""
    return rate(row[f"{way}_bps"]) if f"{way}_bps" in row else ""


def _unsplit(row: Row) -> str:
    """All bytes, where an agent said how many but not which way."""
    total = row.get("bytes", 0)
    return amount(total) if total > row.get("bytes_in", 0) + row.get("bytes_out", 0) else ""


def _address(row: Row) -> str:
    """The first address, and how many more there are."""
    others = len(row.get("ips") or ()) - 1
    return f"{row.get('ip', '')} +{others}" if others > 0 else str(row.get("ip", ""))


def _unless_unknown(text: object) -> str:
    return "" if str(text or "").lower() in ("", "unknown") else str(text)


def client_lines(clients: list[dict[str, Any]], view: View) -> list[str]:
    """A table of clients, as they came."""

    def seen(row: Row) -> str:
        return ago(row.get("last_seen_at") or row.get("last_seen"), view.now)

    # Who asked for the order by rate wants to see the rates, whatever else has to go.
    rates, sums = (0, 2) if view.params.get("sort") == "rate" else (2, 0)
    layout = (
        Column("Client", lambda row: row.get("hostname") or row.get("mac") or row.get("ip"), least=17),
        Column("Address", _address, least=18),
        Column("MAC", lambda row: row.get("mac"), rank=4),
        Column("Received", lambda row: amount(row.get("bytes_in", 0)), right=True, rank=sums),
        Column("Sent", lambda row: amount(row.get("bytes_out", 0)), right=True, rank=sums),
        Column("Bytes", _unsplit, right=True),
        Column("Rate in", lambda row: _rate(row, "rx"), right=True, rank=rates),
        Column("Rate out", lambda row: _rate(row, "tx"), right=True, rank=rates),
        Column("Flows", lambda row: count(row.get("flows", 0)), right=True),
        Column("Last app", lambda row: _unless_unknown(row.get("last_app")) or row.get("last_proto"), least=6, rank=1),
        Column("Seen", seen),
    )
    return table(layout, clients, view.room, view.style)


def _port(row: Row) -> str:
    """`443/tcp`; `inbound` for connections that the remote end opened."""
    if row.get("inbound"):
        return "inbound"
    proto = str(row.get("proto", "")).lower()
    return f"{row['port']}/{proto}" if row.get("port") else proto


def destination_lines(destinations: list[dict[str, Any]], view: View) -> list[str]:
    """A table of destinations, as they came."""
    layout = (
        Column("Destination", lambda row: row.get("hostname") or row.get("ip"), least=24, keep_end=True),
        Column("Address", lambda row: row.get("ip") if row.get("hostname") else "", least=15, keep_ends=True, rank=2),
        Column("Port", _port, least=8),
        Column("What", kind, least=8),
        Column("Bytes", lambda row: amount(row.get("bytes", 0)), right=True),
        Column("Flows", lambda row: count(row.get("hits", 0)), right=True),
        Column("Clients", lambda row: row.get("clients_count"), right=True, rank=1),
    )
    return table(layout, destinations, view.room, view.style)


def _share(row: Row, total: float) -> str:
    size = row.get("bytes", 0)
    if not total or not isinstance(size, int | float):
        return ""
    return "<1%" if 0 < size / total < 0.005 else f"{size / total:.0%}"


def _application(row: Row) -> str:
    """The application; where it is unknown, only a row without a protocol says so."""
    name = str(row.get("application", ""))
    return "" if name.lower() == "unknown" and row.get("protocol") else name


def kind_lines(rows: list[dict[str, Any]], view: View) -> list[str]:
    """A table of protocols or applications with their share of the bytes shown."""
    total = float(sum(row.get("bytes", 0) for row in rows))
    layout = (
        Column("Protocol", lambda row: row.get("protocol"), least=6),
        Column("Application", _application, least=10),
        Column("Flows", lambda row: count(row.get("flows", 0)), right=True),
        Column("Bytes", lambda row: amount(row.get("bytes", 0)), right=True),
        Column("Share", lambda row: _share(row, total), right=True, rank=1),
    )
    return table(layout, rows, view.room, view.style)


def _listing(key: str, lines: Callable[[list[dict[str, Any]], View], list[str]]) -> Renderer:
    def show(answer: Answer, view: View) -> Iterator[str]:
        rows = listed(answer.get(key))
        if not rows:
            yield nothing(answer, "Nothing seen yet on the LAN; 'dpi-dualctl health' may say why.", view)
            return
        yield from lines(rows, view)
        yield from more(answer, len(rows), view)

    return show


def _seen_from(own: list[Any], flow: dict[str, Any]) -> dict[str, Any]:
    """The flow with the client on the left: where the router itself answers, its side is the agent's local one."""
    if flow.get("other_ip") not in own or flow.get("local_ip") in own:
        return flow
    ends = {f"{here}_{what}": flow.get(f"{there}_{what}") for here, there in (("local", "other"), ("other", "local"))
            for what in ("ip", "port", "bytes")}  # fmt: skip
    return {**flow, **ends, "local_origin": not flow.get("local_origin", True), "other_name": ""}


def show_client(answer: Answer, view: View) -> Iterator[str]:
    """One client: who it is, then what it does."""
    client = mapping(answer.get("client"))
    yield view.style.title(view.fit(safe(client.get("hostname") or client.get("mac") or client.get("ip", ""))))
    addresses = client.get("ips") or [client.get("ip", "")]
    seen = client.get("last_seen_at") or client.get("last_seen")
    facts = [("MAC", safe(client.get("mac", ""))), *(("address", safe(address)) for address in addresses[:16])]
    facts += [("last seen", ago(seen, view.now))]
    if client.get("first_seen_at"):
        facts += [("first seen", ago(client["first_seen_at"], view.now))]
    for key, way, name in (("bytes_in", "rx", "received"), ("bytes_out", "tx", "sent")):
        facts.append((name, f"{amount(client.get(key, 0))}  {_rate(client, way)}".rstrip()))
    for name, text in facts:
        if text:
            yield view.fit(f"  {name:12}{text}")
    sections = (
        ("Applications", "applications", kind_lines),
        ("Protocols", "protocols", kind_lines),
        ("Destinations", "destinations", destination_lines),
        ("Flows", "flows", flow_lines),
    )
    for title, key, lines in sections:
        rows = listed(answer.get(key))
        if key == "flows":
            rows = [_seen_from(addresses, row) for row in rows]
        if rows:
            yield ""
            yield view.style.title(f"{title} ({count(len(rows))})")
            yield from (f"  {line}" for line in lines(rows, _narrower(view)))


def _narrower(view: View) -> View:
    return View(max(view.room - 2, 20) if view.room else 0, view.style, view.now, view.asked, view.params)


def _begins(row: Row) -> str:
    """When a step of the history begins; its hour only where steps are shorter than a day."""
    form = "%a %d %b %H:%M" if row.get("seconds", 0) < 86400 else "%a %d %b %Y"
    return time.strftime(form, time.localtime(row.get("start_at", 0)))


def show_history(answer: Answer, view: View) -> Iterator[str]:
    """The course of the bytes as bars, then each step."""
    rows = listed(answer.get("points"))
    if not rows:
        yield "No history yet: the first figures come within a minute."
        return
    course = [float(row.get("bytes", 0)) for row in rows]
    title = f"By {safe(answer.get('period', ''))}: {amount(sum(course))}, the largest {amount(max(course))}"
    yield view.style.title(view.fit(title))
    yield bars(course, max((view.room or 80) - 2, 10))
    yield ""
    layout = (
        Column("From", _begins),
        Column("Received", lambda row: amount(row.get("bytes_in", 0)), right=True),
        Column("Sent", lambda row: amount(row.get("bytes_out", 0)), right=True),
        Column("Bytes", lambda row: amount(row.get("bytes", 0)), right=True),
        Column("Flows", lambda row: count(row.get("flows", 0)), right=True),
    )
    yield from table(layout, rows, view.room, view.style)
    yield from _largest("Clients", "client", listed(answer.get("clients")), sum(course), view)
    yield from _largest("Applications", "application", listed(answer.get("applications")), sum(course), view)


def _largest(title: str, key: str, rows: list[dict[str, Any]], total: float, view: View) -> Iterator[str]:
    """Who or what the bytes of the whole time belong to, with shares."""
    if not rows:
        return
    layout = (
        Column(title, lambda row: row.get("hostname") or row.get(key), least=17),
        Column("Received", lambda row: amount(row.get("bytes_in", 0)), right=True),
        Column("Sent", lambda row: amount(row.get("bytes_out", 0)), right=True),
        Column("Bytes", lambda row: amount(row.get("bytes", 0)), right=True),
        Column("Share", lambda row: _share(row, total), right=True, rank=1),
        Column("Flows", lambda row: count(row.get("flows", 0)), right=True),
    )
    yield ""
    yield from table(layout, rows, view.room, view.style)


STATUS = Command(
    ("lan",),
    "dpi.lan",
    "status",
    show_status,
    (("lan", "the LAN in four lines"), ("lan --watch", "with live rates")),
)
FLOWS = Command(
    ("lan", "flows"),
    "dpi.lan",
    "flows",
    _listing("flows", flow_lines),
    (("lan flows --limit 10", "the ten newest"), ("lan flows --ip 192.168.1.10", "one client's")),
)
HISTORY = Command(
    ("lan", "history"),
    "dpi.lan",
    "history",
    show_history,
    (
        ("lan history --period hour", "the last three days by hour"),
        ("lan history --period month", "who used how much, and for what, month after month"),
        ("lan history --period month --client nas", "one client's months"),
    ),
)
COMMANDS = (
    STATUS,
    Command(
        ("clients",),
        "dpi.lan",
        "clients",
        _listing("clients", client_lines),
        (
            ("clients", "the largest first"),
            ("clients --sort rate --watch", "who uses the line right now"),
            ("clients --search phone --limit 5", "by part of a name, MAC or address"),
        ),
        help="who is on the LAN: bytes, flows, applications, one row a MAC",
    ),
    Command(
        ("client",),
        "dpi.lan",
        "client",
        show_client,
        (("client 192.168.1.10", "by address"), ("client aa:bb:cc:dd:ee:ff", "by MAC"), ("client nas", "by name")),
        positional="client",
    ),
    Command(
        ("destinations",),
        "dpi.lan",
        "destinations",
        _listing("destinations", destination_lines),
        (
            ("destinations", "where the LAN's bytes go"),
            ("destinations --client nas --search .com", "one client's, by part of a name"),
        ),
    ),
    Command(
        ("protocols",),
        "dpi.lan",
        "protocols",
        _listing("protocols", kind_lines),
        (("protocols", "what the LAN speaks"),),
    ),
    Command(
        ("applications",),
        "dpi.lan",
        "applications",
        _listing("applications", kind_lines),
        (("applications --limit 10", "the ten largest"), ("applications --client nas", "one client's")),
    ),
    FLOWS,
    HISTORY,
)
