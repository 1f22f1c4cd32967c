"""The answers of `dpi.lan`: what the tables of the LAN hold, as pages, rows and charts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from heapq import nlargest

from dpi_dual.capture.flow_rows import row as flow_row
from dpi_dual.capture.flows import FlowTable
from dpi_dual.errors import QueryError
from dpi_dual.lan.accounting import LanAccounting
from dpi_dual.lan.clients import ACTIVE_S, Client
from dpi_dual.lan.destinations import Destination
from dpi_dual.lan.fallback import ConntrackFallback
from dpi_dual.lan.history import PERIODS, History
from dpi_dual.lan.names import NameBook, clean_ip, clean_mac
from dpi_dual.lan.paging import page
from dpi_dual.lan.protocols import UNKNOWN, ProtocolRow, applications
from dpi_dual.lan.rates import InterfaceMeter, RateMeter
from dpi_dual.lan.tally import Tally
from dpi_dual.model import Flow, Problem

Answer = dict[str, object]

#: Rows of the snapshot files, which other programs read whole.
FILE_CLIENTS = 1000
FILE_ROWS = 300

#: Rows in the answer about one client.
CLIENT_DESTINATIONS = 50
CLIENT_FLOWS = 50


class LanAnswers:
    """Reads the parts that `LanStream` owns. Bytes and rates of clients are the clients' own view."""

    table: FlowTable
    accounting: LanAccounting
    fallback: ConntrackFallback
    history_store: History
    names: NameBook
    rates: RateMeter
    interfaces: InterfaceMeter
    interface: tuple[str, ...]
    offload: tuple[Problem, ...]
    """What the firewall hides from whoever counts packets on the LAN."""
    shown: frozenset[str]
    """Which of clients, destinations and protocols are tracked; the others are shown as empty."""
    _clock: Callable[[], float]

    @property
    def source(self) -> str:
        """Where the flows come from now: netifyd, ndpid, conntrack or none."""
        raise NotImplementedError

    # --- the tables, with what the flows have grown by

    def _clients(self) -> list[Client]:
        self.accounting.settle()
        return list(self.accounting.clients) if "clients" in self.shown else []

    def _destinations(self) -> list[Destination]:
        self.accounting.settle()
        return list(self.accounting.destinations) if "destinations" in self.shown else []

    def _protocols(self) -> list[ProtocolRow]:
        self.accounting.settle()
        return list(self.accounting.protocols) if "protocols" in self.shown else []

    # --- summary

    def status(self) -> Answer:
        """The figures of the LAN; also the content of `lan-flows.json`.

        `rx` and `tx` are the interface's own counters: received and sent by the router. `bytes_in` and `bytes_out` are
        what the flows add up to, seen from the clients; `bytes_unsplit` nobody said the way of.
        """
        clients, destinations, protocols = self._clients(), self._destinations(), self._protocols()
        now = self._clock()
        return {
            "timestamp": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
            "mode": "lan_passive",
            "interface": " ".join(self.interface),
            "interface_up": not self.interfaces.missing and not self.interfaces.down,
            "active_clients": sum(client.last_seen_at >= now - ACTIVE_S for client in clients),
            "clients": len(clients),
            "unique_destinations": len({row.ip for row in destinations}),
            "detected_protocols": len({row.protocol for row in protocols} - {UNKNOWN}),
            **self.interfaces.figures,
            **self.accounting.totals.figures(),
            "packets": self.accounting.packets,
            "unattributed_bytes": self.table.unattributed["bytes"],
            "source": self.source,
            "rates_source": self.rates.source,
            "rates_interval_s": round(self.rates.interval_s, 3),
        }

    def files(self) -> Iterator[tuple[str, Answer]]:
        """The snapshot files, (name, content) one after another: the largest rows of each table."""
        head: Answer = {"timestamp": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")}
        yield "lan-flows.json", self.status()
        clients = nlargest(FILE_CLIENTS, self._clients(), key=_size)
        sources = {"source": self.source, "rates_source": self.rates.source}
        yield "lan-clients.json", {**head, **sources, "clients": [self._client_row(client) for client in clients]}
        destinations = nlargest(FILE_ROWS, self._destinations(), key=_size)
        yield "lan-destinations.json", {**head, "destinations": [row.row() for row in destinations]}
        protocols = nlargest(FILE_ROWS, self._protocols(), key=_size)
        yield "lan-protocols.json", {**head, "protocols": [row.row() for row in protocols]}

    # --- lists

    def clients(self, limit: int = 50, before: str = "", sort: str = "bytes", search: str = "") -> Answer:
        """A page of clients; sort by bytes, rate, last_seen, first_seen, hostname or flows."""
        keys: dict[str, Callable[[Client], float | str]] = {
            "bytes": _size,
            "rate": lambda client: client.rx_bps + client.tx_bps,
            "last_seen": lambda client: client.last_seen_at,
            "first_seen": _first_seen_at,
            "hostname": self.hostname,
            "flows": lambda client: client.flows,
        }
        if sort not in keys:
            raise QueryError("bad_sort", f"sort must be one of {', '.join(keys)}")
        rows = self._clients()
        if search:
            wanted = search.casefold()
            rows = [
                client
                for client in rows
                if wanted in client.mac
                or wanted in self.hostname(client).casefold()
                or any(wanted in ip for ip in client.addresses)
            ]
        shown, following = page(rows, keys[sort], _serial, self._shown_client, limit, before)
        return _list("clients", shown, len(rows), following)

    def destinations(self, limit: int = 50, before: str = "", client: str = "", search: str = "") -> Answer:
        """A page of destinations, largest first; with `client` only its own, with its own bytes and hits."""
        key = self.find(client).key if client else ""
        rows = [row for row in self._destinations() if not key or row.share(key) is not None]
        if search:
            wanted = search.casefold()
            rows = [row for row in rows if wanted in row.ip or wanted in row.hostname.casefold()]

        def size(row: Destination) -> float:
            return _shared(row, key) if key else row.bytes

        shown, following = page(rows, size, _serial, lambda row: row.row(key), limit, before)
        return _list("destinations", shown, len(rows), following)

    def protocols(self, limit: int = 50, before: str = "") -> Answer:
        """A page of protocols and applications, largest first."""
        rows = self._protocols()
        shown, following = page(rows, _size, _serial, ProtocolRow.row, limit, before)
        return _list("protocols", shown, len(rows), following)

    def applications(self, limit: int = 50, before: str = "", client: str = "") -> Answer:
        """A page of applications, largest first; what has no application goes by its protocol."""
        rows: list[tuple[int, str, Tally]]
        if client:
            # Names of one client have no numbers; their order is stable while the client is there.
            found = self.find(client).kinds.applications().items()
            rows = [(number, name, tally) for number, (name, tally) in enumerate(found)]
        else:
            rows = applications(self._protocols())
        shown, following = page(
            rows,
            lambda row: row[2].bytes,
            lambda row: row[0],
            lambda row: {"application": row[1], **row[2].figures()},
            limit,
            before,
        )
        return _list("applications", shown, len(rows), following)

    def flows(self, limit: int = 50, before: str = "", state: str = "all", protocol: str = "", ip: str = "") -> Answer:
        """A page of flows, newest first; while conntrack stands in, its flows too."""
        address = clean_ip(ip) if ip else ""
        if ip and not address:
            raise QueryError("bad_address", f"{ip!r} is not an IPv4 or IPv6 address")
        rows: list[Flow] = list(self.table.flows_of(address) if address else self.table.all())
        rows += [flow for flow in self.fallback.flows() if not address or address in (flow.local_ip, flow.other_ip)]
        rows = [
            flow
            for flow in rows
            if (state == "all" or bool(flow.ended_at) == (state == "finished"))
            and (not protocol or flow.protocol.casefold() == protocol.casefold())
        ]
        shown, following = page(rows, _first_seen_at, _flow_serial, flow_row, limit, before)
        return _list("flows", shown, len(rows), following)

    # --- one client

    def find(self, text: str) -> Client:
        """The client with this MAC, address or host name."""
        clients = self._clients()
        client = self.accounting.clients.get(clean_mac(text) or clean_ip(text) or text)
        if client is None or "clients" not in self.shown:
            wanted = text.casefold()
            client = next((known for known in clients if wanted and self.hostname(known).casefold() == wanted), None)
        if client is None:
            raise QueryError(
                "not_found", f"there is no client {text!r:.80}; give its MAC, an address of it, or its host name"
            )
        return client

    def client(self, client: str, period: str = "hour") -> Answer:
        """All about one client: its row, applications, protocols, destinations, flows and its history by `period`."""
        found = self.find(client)
        key = found.key
        addresses = set(found.addresses)
        flows: dict[int, Flow] = {id(flow): flow for ip in addresses for flow in self.table.flows_of(ip)}
        flows |= {id(flow): flow for flow in self.fallback.flows() if addresses & {flow.local_ip, flow.other_ip}}
        newest = sorted(flows.values(), key=lambda flow: flow.last_seen_at, reverse=True)[:CLIENT_FLOWS]
        destinations = [row for row in self._destinations() if row.share(key) is not None]
        destinations.sort(key=lambda row: _shared(row, key), reverse=True)
        return {
            "client": self._shown_client(found),
            "applications": _by_size(found.kinds.applications(), "application"),
            "protocols": _by_size(found.kinds.protocols(), "protocol"),
            "destinations": [row.row(key) for row in destinations[:CLIENT_DESTINATIONS]],
            "destinations_total": len(destinations),
            "flows": [flow_row(flow) for flow in newest],
            "flows_total": len(flows),
            "history": self.history(key, "", period),
        }

    def hostname(self, client: Client) -> str:
        """The client's name: the owner's, its lease's, or what it called itself when it asked for an address."""
        return self.names.name(client.mac, client.addresses) or client.self_name

    def _client_row(self, client: Client) -> Answer:
        return client.row(self.hostname(client), self._clock())

    def _shown_client(self, client: Client) -> Answer:
        return {**self._client_row(client), "top_app": client.kinds.largest()}

    # --- history

    def history(self, client: str = "", application: str = "", period: str = "day") -> Answer:
        """Bytes and flows by hour (the last 72), or by day, week or month (the last `history_days`)."""
        if period not in PERIODS:
            raise QueryError("bad_period", f"period must be one of {', '.join(PERIODS)}")
        key = self._history_key(client) if client else ""
        store, pending = self.history_store, self.accounting.pending()
        points = store.points(period, key, application, pending)
        answer: Answer = {"period": period, "points": points}
        answer["bytes"] = sum(int(str(point["bytes"])) for point in points)
        if not application:
            answer["applications"] = store.largest(period, key, "", "application", pending)
        if not key:
            largest = store.largest(period, "", application, "client", pending)
            answer["clients"] = [{**row, "hostname": self._name_of(str(row["client"]))} for row in largest]
        return answer

    def _name_of(self, key: str) -> str:
        client = self.accounting.clients.get(key)
        return self.hostname(client) if client is not None else self.names.name(key, [key])

    def _history_key(self, client: str) -> str:
        try:
            return self.find(client).key
        except QueryError:
            # Clients that are gone from the table are still in the history.
            key = clean_mac(client) or clean_ip(client)
            if key and self.history_store.has_client(key):
                return key
            raise


def _size(row: Tally) -> float:
    return row.bytes


def _flow_serial(flow: Flow) -> int:
    return int(getattr(flow, "serial", 0))


def _shared(row: Destination, client: str) -> int:
    share = row.share(client)
    return share.bytes if share is not None else 0


def _by_size(tallies: dict[str, Tally], name: str) -> list[Answer]:
    largest = sorted(tallies.items(), key=lambda item: item[1].bytes, reverse=True)
    return [{name: text, **tally.figures()} for text, tally in largest]


def _first_seen_at(row: Client | Flow) -> float:
    return row.first_seen_at


def _serial(row: Client | Destination | ProtocolRow) -> int:
    return row.serial


def _list(name: str, rows: Iterable[Answer], total: int, following: str) -> Answer:
    answer: Answer = {name: list(rows), "total": total}
    if following:
        answer["next"] = following
    return answer
