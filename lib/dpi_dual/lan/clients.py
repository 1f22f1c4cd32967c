"""The table of LAN clients: one row a MAC, with all addresses of that client on it."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest

from dpi_dual.lan.ends import Neighbourhood, is_random_mac
from dpi_dual.lan.kinds import Kinds, Pending, fold
from dpi_dual.lan.protocols import ProtocolRow
from dpi_dual.lan.tally import Tally, serials

#: A client is active when it was seen within this many seconds: two DHCP-quiet minutes of a phone and some reserve.
ACTIVE_S = 300
#: Addresses kept a client: one IPv4, link-local, stable and a week of temporary IPv6 addresses (RFC 8981).
MAX_ADDRESSES = 16
MAX_CLIENTS = 2000
#: Who has been known so long is idle so much longer before it gives way: a device of the household outlives a flood of
#: invented MAC addresses, each seen for a moment.
SETTLED_S = 600.0
#: What is kept apart of clients that are gone, until the history takes it: (client, application) pairs.
MAX_LEFTOVER = 2000


class Client(Tally):
    """One client. `mac` is its identity; while nobody knows its MAC the row goes by the address (`key`)."""

    __slots__ = (
        "addresses",
        "announced",
        "burst",
        "burst_in",
        "burst_out",
        "first_seen_at",
        "interface",
        "kinds",
        "last_row",
        "last_seen_at",
        "mac",
        "merged_into",
        "packets",
        "present",
        "rx_bps",
        "self_name",
        "serial",
        "tx_bps",
    )

    def __init__(self, mac: str, interface: str, now: float) -> None:
        super().__init__()
        self.mac = mac
        self.interface = interface
        self.addresses: dict[str, float] = {}
        self.kinds = Kinds()
        self.last_row: ProtocolRow | None = None
        self.packets = 0
        self.first_seen_at = now
        self.last_seen_at = now
        self.rx_bps = 0
        self.tx_bps = 0
        self.burst = 0
        self.burst_in = 0
        self.burst_out = 0
        self.self_name = ""
        self.serial = next(serials)
        self.present = True
        self.merged_into: Client | None = None
        self.announced = False

    @property
    def key(self) -> str:
        """The MAC, or the first address while the MAC is unknown."""
        return self.mac or next(iter(self.addresses), "")

    @property
    def ip(self) -> str:
        """The address to show: the IPv4 address seen last, else IPv6, link-local addresses after all others."""
        return max(self.addresses, key=self._preference, default="")

    def _preference(self, ip: str) -> tuple[int, float]:
        kind = 2 if ":" not in ip else 0 if ip.startswith("fe80:") else 1
        return kind, self.addresses[ip]

    def ips(self) -> list[str]:
        """All addresses, the one to show first."""
        return sorted(self.addresses, key=self._preference, reverse=True)

    def row(self, hostname: str, now: float) -> dict[str, object]:
        """The client as a list shows it: bytes and rates as it sees them, `in` and `rx` is what it received."""
        return {
            "ip": self.ip,
            "ips": self.ips(),
            "mac": self.mac,
            "mac_random": is_random_mac(self.mac),
            "hostname": hostname,
            "interface": self.interface,
            **self.figures(),
            "packets": self.packets,
            "rx_bps": self.rx_bps,
            "tx_bps": self.tx_bps,
            "last_proto": self.last_row.protocol if self.last_row else "",
            "last_app": self.last_row.application if self.last_row else "",
            "active": now - self.last_seen_at <= ACTIVE_S,
            "first_seen_at": round(self.first_seen_at, 3),
            "last_seen_at": round(self.last_seen_at, 3),
            "last_seen": round(self.last_seen_at, 3),
        }


class ClientTable:
    """Finds, makes, merges and drops clients; at most `limit` of them, those idle the longest are dropped first.

    Those known for long are dropped later.
    """

    def __init__(self, limit: int = MAX_CLIENTS) -> None:
        self.limit = limit
        self.dropped = 0
        self.merged = 0
        self.addresses_dropped = 0
        self._renamed: list[tuple[str, Client]] = []
        self.leftover: Pending = {}
        """What the history has not got yet of clients that are gone."""
        self._by_key: dict[str, Client] = {}
        self._by_ip: dict[str, Client] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Client]:
        return iter(self._by_key.values())

    def get(self, key: str) -> Client | None:
        """The client with this MAC, or with this address."""
        return self._by_key.get(key) or self._by_ip.get(key)

    def resolve(self, mac: str, ip: str, interface: str, now: float) -> Client:
        """The row of a client, made if there is none; knows it by its MAC, else by its address."""
        client = self._by_key.get(mac) if mac else self._by_ip.get(ip)
        if client is None:
            known = self._by_key.get(ip) if mac and ip else None
            if known is not None:
                client = self._name(known, mac)
            else:
                if len(self._by_key) >= self.limit:
                    self._make_room()
                client = self._by_key[mac or ip] = Client(mac, interface, now)
        if ip:
            self._assign(client, ip, now)
        return client

    def _assign(self, client: Client, ip: str, now: float) -> None:
        holder = self._by_ip.get(ip)
        if holder is not client:
            if holder is not None:
                if client.mac and not holder.mac and holder.key == ip:
                    self._merge(holder, client)
                else:
                    holder.addresses.pop(ip, None)
            self._by_ip[ip] = client
            if len(client.addresses) >= MAX_ADDRESSES:
                oldest = min(client.addresses, key=lambda known: client.addresses[known])
                del client.addresses[oldest]
                del self._by_ip[oldest]
                self.addresses_dropped += 1
        client.addresses[ip] = now

    def _name(self, nameless: Client, mac: str) -> Client:
        """The MAC of an address-keyed row is known at last: the row goes into that MAC's."""
        client = self._by_key.get(mac)
        if client is None:
            client = self._by_key[mac] = Client(mac, nameless.interface, nameless.first_seen_at)
            client.last_row = nameless.last_row
            client.self_name = nameless.self_name
        self._merge(nameless, client)
        return client

    def take_renamed(self) -> list[tuple[str, Client]]:
        """What happened since the last call: (the key a row had, the row that it went into)."""
        renamed, self._renamed = self._renamed, []
        return renamed

    def _merge(self, gone: Client, into: Client) -> None:
        self._renamed.append((gone.key, into))
        del self._by_key[gone.key]
        into.absorb(gone)
        into.packets += gone.packets
        into.kinds.swallow(gone.kinds)
        into.first_seen_at = min(into.first_seen_at, gone.first_seen_at)
        into.last_seen_at = max(into.last_seen_at, gone.last_seen_at)
        gone.merged_into = into
        self.merged += 1
        for ip, seen in gone.addresses.items():
            self._by_ip[ip] = into
            into.addresses[ip] = max(seen, into.addresses.get(ip, 0.0))
        gone.addresses = {}
        gone.present = False

    def learn(self, around: Neighbourhood, now: float) -> None:
        """Takes in the neighbour tables: addresses of known clients, MACs of rows that had none, the router's own."""
        for ip, mac in around.macs.items():
            if mac in around.router_macs or ip in around.router_ips:
                continue
            nameless = self._by_key.get(ip)
            if nameless is not None and not nameless.mac:
                self._name(nameless, mac)
            client = self._by_key.get(mac)
            if client is not None and ip not in client.addresses:
                self._assign(client, ip, now)
        for key in around.router_macs | around.router_ips:
            client = self._by_key.get(key)
            if client is not None:
                self._drop(client)

    def expire(self, now: float, retention_s: float) -> int:
        """Drops clients idle longer than `retention_s`; how many."""
        idle = [client for client in self if now - client.last_seen_at > retention_s]
        for client in idle:
            self._drop(client)
        return len(idle)

    def shift(self, seconds: float) -> None:
        """Moves all times after the clock was set, so that idle times stay what they were."""
        for client in self:
            client.first_seen_at += seconds
            client.last_seen_at += seconds
            for ip in client.addresses:
                client.addresses[ip] += seconds

    def _make_room(self) -> None:
        def worth(client: Client) -> float:
            return client.last_seen_at + min(client.last_seen_at - client.first_seen_at, SETTLED_S)

        # A sixteenth at once: one pass over the table pays for many new rows.
        for client in nsmallest(max(1, self.limit // 16), self, key=worth):
            self._drop(client)
            self.dropped += 1

    def _drop(self, client: Client) -> None:
        client.kinds.take(client.key, self.leftover)
        if len(self.leftover) > 2 * MAX_LEFTOVER:
            self.leftover = fold(self.leftover, MAX_LEFTOVER)
        del self._by_key[client.key]
        for ip in client.addresses:
            if self._by_ip.get(ip) is client:
                del self._by_ip[ip]
        client.present = False
