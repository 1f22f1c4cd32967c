"""The TAP stream: the flow table of the capture interface, its summary, and `dpi-flows.json`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dpi_dual.capture.flow_log import FlowLog
from dpi_dual.capture.flows import FlowTable
from dpi_dual.capture.summary import summarise
from dpi_dual.model import Problem
from dpi_dual.settings import Tap

#: Seconds between two aggregates; those who want figures sooner ask `dpi.status flows`.
AGGREGATE_S = 5.0
#: Seconds between two looks for flows that are over.
EXPIRE_S = 1.0


def interface_figures(name: str) -> dict[str, Any]:
    """What the kernel says of an interface: `interface_up` and its rx/tx bytes and packets, zero if it is absent."""
    base = Path("/sys/class/net") / Path(name).name
    figures: dict[str, Any] = {"interface_up": False}
    for key in ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets"):
        try:
            figures[key] = int((base / "statistics" / key).read_text(encoding="ascii"))
        except (OSError, ValueError):
            figures[key] = 0
    try:
        # IFF_UP, linux/if.h. Not operstate: a dummy or ifb that works says "unknown".
        figures["interface_up"] = bool(int((base / "flags").read_text(encoding="ascii"), 16) & 1)
    except (OSError, ValueError):
        pass
    return figures


class TapStream:
    """Keeps `table`, publishes its summary through `publish(file name, content)`, logs finished flows."""

    def __init__(self, settings: Tap, publish: Callable[[str, dict[str, Any]], None], flow_log: FlowLog) -> None:
        self._settings = settings
        self._publish = publish
        self.table = FlowTable("tap", [flow_log], retention_s=settings.flow_retention)

    def reconfigure(self, settings: Tap) -> None:
        """Takes new settings; flows and figures stay."""
        self._settings = settings
        self.table.retention_s = settings.flow_retention

    async def run(self) -> None:
        """Expires every second and publishes every few until cancelled."""
        due = 0.0
        while True:
            self.table.expire()
            if time.monotonic() >= due:
                due = time.monotonic() + AGGREGATE_S
                self._publish("dpi-flows.json", self.summary())
            await asyncio.sleep(EXPIRE_S)

    def summary(self) -> dict[str, Any]:
        """The content of `dpi-flows.json`: the flows of the retention period, and the interface's own counters."""
        figures = interface_figures(self._settings.interface)
        del figures["interface_up"]
        return {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "mode": "passive_tap",
            "tap_interface": self._settings.interface,
            **figures,
            **summarise(self.table, time.time()),
        }

    def status(self, running: bool) -> dict[str, Any]:
        """The `tap_stream` block of `dpi.status status`."""
        figures = interface_figures(self._settings.interface)
        return {
            "running": running and figures["interface_up"],
            "interface": self._settings.interface,
            **figures,
            "flows_1min": self.table.flows_1min(),
            "flows_live": len(self.table),
            "collector_running": running,
        }

    def problems(self) -> list[Problem]:
        return self.table.problems()

    def counters(self) -> dict[str, int]:
        return {f"tap_{name}": count for name, count in self.table.counters().items()}
