"""What the sessions with both kinds of DPI agent share: who watches an interface, and the count of oddities."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from dpi_dual.capture import fields
from dpi_dual.capture.flows import FlowTable, Source

#: Which table watches an interface; None when nobody does. '' stands for messages that name no interface.
Route = Callable[[str], FlowTable | None]

#: A decoded message: any JSON object.
Message = dict[str, Any]

#: How many different names (of interfaces, of message types) are counted apart.
MAX_NAMES = 64


class Session:
    """One agent as we know it; outlives connections, so that known flows go on after a reconnect."""

    kind = ""

    def __init__(self, name: str, route: Route, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.monotonic = monotonic
        self.now = monotonic()
        """Monotonic time of what is being handled; whoever feeds the session sets it."""
        self.version = ""
        self.restarts = 0
        self.flow_messages = 0
        self.malformed = 0
        self.unknown_types: dict[str, int] = {}
        self.ignored: dict[str, int] = {}
        """Flow messages of interfaces that nobody watches, by interface."""
        self.capture_drops: dict[str, int] = {}
        """Packets the agent says it lost, by interface."""
        self.lost_at = float("-inf")
        """When it said so last, by `monotonic`."""
        self._route = route
        self._sources: dict[str, Source | None] = {}
        self._tables: list[FlowTable] = []

    def handle(self, message: Message) -> None:
        """Act on one decoded message; never raises on what is in it."""
        raise NotImplementedError

    def connected(self) -> None:
        """A new connection to the agent stands; it may be another process than before."""

    def reroute(self) -> None:
        """Ask `route` again for every interface: who watches what has changed."""
        self._sources.clear()
        self.ignored.clear()

    @property
    def version_tuple(self) -> tuple[int, ...]:
        """`4.4.7` as (4, 4, 7); () while unknown."""
        return tuple(int(part[:6]) for part in re.findall(r"\d+", self.version)[:3])

    def source(self, interface: object) -> Source | None:
        """Where flows on `interface` belong, or None if nobody watches it."""
        if type(interface) is not str:
            interface = ""
        if interface in self._sources:
            return self._sources[interface]
        if len(self._sources) >= 256:
            self._sources.clear()
        name = fields.text(interface, 64)
        table = self._route(name)
        source = None if table is None else table.source(self.name, name)
        self._sources[interface] = source
        if source is not None:
            if source.table not in self._tables:
                self._tables.append(source.table)
            self.prepare(source)
        return source

    def prepare(self, source: Source) -> None:
        """A source is used for the first time."""

    def ignore(self, interface: object) -> None:
        self._tally(self.ignored, fields.text(interface) or "(none)")

    def unknown(self, name: object) -> None:
        self._tally(self.unknown_types, fields.text(name) or "(none)")

    def lost(self, interface: object, packets: int) -> None:
        if packets > 0:
            self.lost_at = self.now
            self._tally(self.capture_drops, fields.text(interface) or "(none)", packets)

    def restarted(self) -> None:
        """The agent began anew: all that it told is over."""
        self.restarts += 1
        for table in self._tables:
            table.end_agent(self.name, "agent-restart")

    @staticmethod
    def _tally(counts: dict[str, int], name: str, amount: int = 1) -> None:
        if name not in counts and len(counts) >= MAX_NAMES:
            name = "(others)"
        counts[name] = counts.get(name, 0) + amount
