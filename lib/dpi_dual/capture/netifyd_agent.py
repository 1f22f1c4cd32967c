"""netifyd itself, as far as it tells: version, uptime, lost packets, the names of its numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dpi_dual.capture import fields, protocols
from dpi_dual.capture.flows import SILENT_TIMEOUT_S, Source
from dpi_dual.capture.session import Message, Route, Session

#: The agent's update interval in seconds, with a little slack: it shows its uptime as of its last update.
UPDATE_INTERVAL_S = 20.0

#: To who connects in its first second, 4.4.7 tells 2^32 less the machine's uptime: its clock minus nothing.
NOT_YET_UP = 1 << 31

#: From this version on, flow_stats come without a sink or an export plugin being configured.
FLOW_STATS_SINCE = (4, 4, 5)

_DROPS = ("capture_dropped", "queue_dropped", "flow_dropped")


class NetifydAgent(Session):
    """Everything about one netifyd process except its flows."""

    kind = "netifyd"

    def __init__(self, name: str, route: Route, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name, route, monotonic)
        self.uptime_s = -1
        self.flow_stats_seen = False
        self.began_at = 0.0
        """Unix time by the agent's clock from which on we know its flows from their beginning; 0 if unknown."""
        self.definitions: dict[str, dict[int, str]] = {}
        """Names by number: protocols, applications, categories, as far as the agent defined them."""
        self._build = ""
        self._uptime_at = 0.0
        self._fresh = False

    def connected(self) -> None:
        self._fresh = True

    def prepare(self, source: Source) -> None:
        self._set_patience(source)

    def hello(self, message: Message) -> None:
        build = fields.text(message.get("build_version"), 200)
        version: Any = message.get("agent_version")
        if type(version) in (int, float) and 0 < version < 1000:  # 3.x: a number
            version = f"{version:g}"
        version = fields.text(version, 32)
        if not version and "/" in build:  # `Netify Agent/3.05 (openwrt; …)`
            version = build.split("/", 1)[1].split(" ", 1)[0][:32]
        if self._build and build != self._build:
            self._start_over()
        self._build = build or self._build
        self.version = version or self.version
        self.set_patience()

    def status(self, message: Message) -> None:
        version = message.get("agent_version")
        if type(version) is str:
            self.version = fields.text(version, 32) or self.version
        timestamp, uptime = message.get("timestamp"), message.get("uptime")
        if type(uptime) is int and 0 <= uptime < 1 << 40:
            if NOT_YET_UP <= uptime < 1 << 32:
                uptime = 0
            late = self._fresh and uptime + UPDATE_INTERVAL_S < self.uptime_s + self.now - self._uptime_at
            if self.uptime_s >= 0 and (uptime < self.uptime_s or late):
                self._start_over()
            self.uptime_s, self._uptime_at, self._fresh = uptime, self.now, False
        if not self.began_at and type(timestamp) is int and 0 < timestamp < fields.MAX_TIME_MS // 1000:
            self.began_at = timestamp - UPDATE_INTERVAL_S
        statistics = message.get("stats")
        if isinstance(statistics, dict):
            self._capture_statistics(statistics)

    def interface_stats(self, message: Message) -> None:
        self._capture_statistics(message)

    def _capture_statistics(self, by_interface: Message) -> None:
        """Packets lost since the last update, by interface."""
        for interface, numbers in list(by_interface.items())[:64]:
            if isinstance(numbers, dict):
                self.lost(interface, sum(max(0, fields.count(numbers.get(name))) for name in _DROPS))

    def _start_over(self) -> None:
        self.restarted()
        self.uptime_s = -1
        self.began_at = 0.0
        self.flow_stats_seen = False
        self.set_patience()

    def set_patience(self) -> None:
        for source in self._sources.values():
            if source is not None:
                self._set_patience(source)

    def _set_patience(self, source: Source) -> None:
        """An agent that sends no flow_stats is silent about a flow until it ends."""
        silent = not self.flow_stats_seen and () < self.version_tuple < FLOW_STATS_SINCE
        source.idle_timeout_s = SILENT_TIMEOUT_S if silent else None

    # -- names by number ------------------------------------------------------------------------------------

    def define(self, message: Message) -> None:
        for kind in ("protocols", "applications", "categories"):
            entries = message.get(kind)
            if isinstance(entries, list):
                self.definitions[kind] = {
                    entry["id"]: fields.text(entry["tag"])
                    for entry in entries[:4096]
                    if isinstance(entry, dict) and type(entry.get("id")) is int and type(entry.get("tag")) is str
                }

    def defined(self, kind: str, number: object) -> str:
        return self.definitions.get(kind, {}).get(number, "") if type(number) is int else ""

    def category(self, numbers: object) -> str:
        if not isinstance(numbers, dict):
            return ""
        return protocols.category(
            self.defined("categories", numbers.get("application"))
            or self.defined("categories", numbers.get("protocol"))
        )
