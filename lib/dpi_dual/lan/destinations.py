"""The table of destinations: addresses outside the LAN, their best known names, and which client talks to them."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest

from dpi_dual.lan.tally import Tally, serials
from dpi_dual.model import Flow, name_of

MAX_DESTINATIONS = 2500
#: A row is idle when nothing was counted for so long (four ticks of netifyd), even if flows of it still live.
IDLE_S = 60.0
#: Clients remembered a destination; the totals of the row count all of them.
MAX_CLIENTS_EACH = 32

#: How good a name is: what the client asked the server for, before what a cache of DNS answers suggests.
_NAME_RANKS = {"sni": 5, "http": 4, "dns": 3, "agent": 2, "hint": 1}
_TRANSPORTS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}

Key = tuple[str, int, int]


class Share:
    """One client's part of a destination: bytes both ways, and flows."""

    __slots__ = ("bytes", "client", "hits")

    def __init__(self, client: str) -> None:
        self.client = client
        self.bytes = 0
        self.hits = 0


class Destination(Tally):
    """One remote address, port and transport protocol. `flows` are the hits."""

    __slots__ = (
        "application",
        "hostname",
        "hostname_rank",
        "ip",
        "ip_protocol",
        "last_seen_at",
        "port",
        "present",
        "protocol",
        "serial",
        "shares",
    )

    def __init__(self, key: Key, now: float) -> None:
        super().__init__()
        self.ip, self.port, self.ip_protocol = key
        self.hostname = ""
        self.hostname_rank = 0
        self.protocol = ""
        self.application = ""
        self.last_seen_at = now
        self.shares: tuple[Share, ...] = ()
        self.present = True
        self.serial = next(serials)

    @property
    def key(self) -> Key:
        """What identifies the row."""
        return self.ip, self.port, self.ip_protocol

    def describe(self, flow: Flow) -> None:
        """Takes the name, protocol and application from a flow if they are better than what is known.

        All three from the same flow: one address often serves many names, and a row must not mix two of them.
        """
        name = name_of(flow, self.ip)
        if name:
            rank = _NAME_RANKS.get(flow.hostname_source, 0)
            if rank >= self.hostname_rank and rank:
                self.hostname, self.hostname_rank = name[:253], rank
                self.protocol, self.application = flow.protocol, flow.application
                return
        if self.hostname:
            return
        if flow.protocol != "Unknown" or not self.protocol:
            self.protocol = flow.protocol
        if flow.application != "Unknown" or not self.application:
            self.application = flow.application

    def share(self, client: str) -> Share | None:
        """What one client has of it, None if nothing is known."""
        for share in self.shares:
            if share.client == client:
                return share
        return None

    def make_share(self, client: str) -> Share | None:
        """What one client has of it, beginning with nothing; None when too many clients have one already."""
        share = self.share(client)
        if share is None and len(self.shares) < MAX_CLIENTS_EACH:
            share = Share(client)
            self.shares += (share,)
        return share

    def row(self, client: str = "") -> dict[str, object]:
        """The row as an answer shows it; with `client`, that client's own bytes and hits.

        `port` 0 with `inbound` stands for connections that the remote end opened: its port means nothing.
        """
        share = self.share(client) if client else None
        return {
            "ip": self.ip,
            "hostname": self.hostname,
            "port": self.port,
            "proto": _TRANSPORTS.get(self.ip_protocol, str(self.ip_protocol)),
            "protocol": self.protocol,
            "application": self.application,
            "bytes": share.bytes if share else self.bytes,
            "hits": share.hits if share else self.flows,
            **({} if share else {"bytes_in": self.bytes_in, "bytes_out": self.bytes_out}),
            "inbound": self.port == 0 and self.ip_protocol in (6, 17, 132),
            "clients": [client] if share else [known.client for known in self.shares[:8]],
            "clients_count": 1 if share else len(self.shares),
            "last_seen_at": round(self.last_seen_at, 3),
        }


class DestinationTable:
    """At most `limit` rows; those idle the longest are dropped first."""

    def __init__(self, limit: int = MAX_DESTINATIONS) -> None:
        self.limit = limit
        self.dropped = 0
        self._full_until = 0.0
        self._rows: dict[Key, Destination] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Destination]:
        return iter(self._rows.values())

    def of(self, key: Key, now: float) -> Destination | None:
        """The row of a destination, made if there is none; None, and counted, when all rows are busy."""
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= self.limit and not self._make_room(now):
                self.dropped += 1
                return None
            row = self._rows[key] = Destination(key, now)
        return row

    def _make_room(self, now: float) -> bool:
        if now < self._full_until:
            return False
        idle = [row for row in self if row.live <= 0 or now - row.last_seen_at > IDLE_S]
        # A sixteenth at once: one pass over the table pays for many new rows.
        for gone in nsmallest(max(1, self.limit // 16), idle, key=lambda row: (row.live > 0, row.last_seen_at)):
            self._drop(gone)
            self.dropped += 1
        if not idle:
            self._full_until = now + 1.0  # nor is it worth a pass for each flow of a flood
        return bool(idle)

    def expire(self, now: float, retention_s: float) -> int:
        """Drops rows idle longer than `retention_s`; how many."""
        idle = [row for row in self if now - row.last_seen_at > retention_s]
        for row in idle:
            self._drop(row)
        return len(idle)

    def _drop(self, row: Destination) -> None:
        del self._rows[row.key]
        row.present = False
        row.shares = ()

    def rename_client(self, old: str, new: str) -> None:
        """A client's key changed: its shares follow it."""
        for row in self:
            share, known = row.share(old), row.share(new)
            if share is not None and known is None:
                share.client = new
            elif share is not None and known is not None:
                known.bytes += share.bytes
                known.hits += share.hits
                row.shares = tuple(other for other in row.shares if other is not share)

    def shift(self, seconds: float) -> None:
        """Moves all times after the clock was set."""
        for row in self:
            row.last_seen_at += seconds
