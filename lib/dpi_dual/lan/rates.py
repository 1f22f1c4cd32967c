"""Live rates of clients: from conntrack's counters between two dumps, or from the ticks of the DPI agent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dpi_dual.lan.accounting import LanAccounting
from dpi_dual.lan.clients import Client, ClientTable
from dpi_dual.lan.connections import identity, on_wire

if TYPE_CHECKING:
    from dpi_dual.capture.conntrack import Table

#: A tick is over when nothing was counted for this long.
TICK_OVER_S = 1.0
#: Without a tick for so long (two of netifyd's and some reserve) nobody knows the rates.
TICKS_STALE_S = 40.0
#: The least time that counts without ticks are gathered over.
WINDOW_S = 9.0

_COUNTERS = ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")


class RateMeter:
    """Sets `rx_bps` and `tx_bps` of every client; `source` says where they came from: conntrack, an agent, or none.

    Rates are differences over a measured interval, nothing in between is made up: conntrack's over the time between two
    dumps, an agent's over the time between its last two ticks.
    """

    def __init__(self) -> None:
        self.source = "none"
        self.interval_s = 0.0
        self._last: dict[int, int] = {}
        self._last_at = 0.0
        self._complete = True
        self._burst = 0

    def from_conntrack(self, table: Table, clients: ClientTable, mono: float) -> bool:
        """Takes a dump; True if there was one before it to compare it with."""
        rates: dict[Client, list[int]] = {}
        last: dict[int, int] = self._last
        now: dict[int, int] = {}
        compare = self._last_at > 0 and mono > self._last_at
        for entry in table.connections:
            sender, receiver = clients.get(entry.src), clients.get(entry.reply_src)
            key = identity(entry)
            if (sender is None and receiver is None) or key in now:
                continue
            sent, answered = on_wire(entry)
            # One integer a connection instead of a tuple: a table of 10,000 costs 1 MB, not 2.
            now[key] = sent << 64 | answered
            before = last.get(key, 0 if self._complete else -1)
            if not compare or before < 0:
                continue
            sent_before, answered_before = before >> 64, before & 0xFFFFFFFFFFFFFFFF
            # Counters fall where another program empties them as it reads them (nlbwmon does, every 30 s): then what
            # they hold has come since.
            if sent >= sent_before and answered >= answered_before:
                sent -= sent_before
                answered -= answered_before
            for client, received, gave in ((sender, answered, sent), (receiver, sent, answered)):
                if client is not None:
                    rate = rates.setdefault(client, [0, 0])
                    rate[0] += received
                    rate[1] += gave
        self._last = now
        self._complete = not table.left_out and not table.interrupted
        interval = mono - self._last_at
        self._last_at = mono
        if not compare:
            return False
        self.source, self.interval_s = "conntrack", interval
        for client in clients:
            received, gave = rates.get(client, (0, 0))
            client.rx_bps = round(received * 8 / interval)
            client.tx_bps = round(gave * 8 / interval)
        return True

    def forget_conntrack(self) -> None:
        """The next dump has none to be compared with."""
        self._last = {}
        self._last_at = 0.0

    def from_ticks(self, accounting: LanAccounting, agent: str, mono: float) -> None:
        """Takes the agent's last finished tick; an agent that says nothing leaves no rates."""
        silent = mono - accounting.counted_at
        if accounting.burst < 2 or silent > TICKS_STALE_S:
            self.clear(accounting.clients)
            return
        # A tick that ended tells of the time since the one before it; an agent without ticks (it counts all the
        # time) of the time since its window began.
        interval = accounting.burst_interval
        if silent < TICK_OVER_S:
            interval = mono - accounting.burst_began
            if interval < WINDOW_S:
                return
        if accounting.burst == self._burst or interval <= 0:
            return
        self._burst = accounting.burst
        self.source, self.interval_s = agent, interval
        for client in accounting.clients:
            spoke = client.burst == accounting.burst
            client.rx_bps = round(client.burst_in * 8 / interval) if spoke else 0
            client.tx_bps = round(client.burst_out * 8 / interval) if spoke else 0

    def clear(self, clients: ClientTable) -> None:
        """Nobody knows the rates now."""
        if self.source == "none":
            return
        self.source, self.interval_s = "none", 0.0
        for client in clients:
            client.rx_bps = client.tx_bps = 0


class InterfaceMeter:
    """Counters and rates of the LAN's interfaces, from /sys: `rx` is what the router received from its clients."""

    def __init__(self, root: str = "/sys/class/net") -> None:
        self._root = Path(root)
        self._before: tuple[float, int, int] | None = None
        self.figures: dict[str, int] = dict.fromkeys((*_COUNTERS, "rx_rate_bps", "tx_rate_bps"), 0)
        self.missing: list[str] = []
        self.down: list[str] = []

    def read(self, interfaces: tuple[str, ...], mono: float) -> None:
        """Reads the counters; rates are the differences to the reading before."""
        figures = dict.fromkeys(_COUNTERS, 0)
        self.missing, self.down = [], []
        for name in interfaces:
            base = self._root / Path(name).name
            try:
                for counter in _COUNTERS:
                    figures[counter] += int((base / "statistics" / counter).read_text(encoding="ascii"))
                # IFF_UP, linux/if.h
                if not int((base / "flags").read_text(encoding="ascii"), 16) & 1:
                    self.down.append(name)
            except (OSError, ValueError):
                self.missing.append(name)
        rates = {"rx_rate_bps": 0, "tx_rate_bps": 0}
        if self._before is not None and mono > self._before[0]:
            at, received, sent = self._before
            rates["rx_rate_bps"] = max(0, round((figures["rx_bytes"] - received) * 8 / (mono - at)))
            rates["tx_rate_bps"] = max(0, round((figures["tx_bytes"] - sent) * 8 / (mono - at)))
        self._before = (mono, figures["rx_bytes"], figures["tx_bytes"])
        self.figures = {**figures, **rates}
