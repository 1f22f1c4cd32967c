"""The exports as a part of the engine: takes flows, alerts and events, hands them on, and never holds anything up."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from dpi_dual.directory import replace_file
from dpi_dual.export import eve, influx, prometheus
from dpi_dual.export.figures import families
from dpi_dual.export.mqtt import Mqtt
from dpi_dual.export.spool import Spool
from dpi_dual.http_post import post_all
from dpi_dual.model import Flow, Problem
from dpi_dual.settings import Export, ExportSecrets

if TYPE_CHECKING:
    from dpi_dual.engine.service import Engine

#: Finished flows and alerts that wait to be written; the oldest give way.
MAX_FLOWS = 2000
MAX_ALERTS = 500
#: Lines written at a time: some 10 ms of work on a small PC.
SLICE = 300
TICK_S = 1.0
#: An alert waits so long for the DPI agent to tell of its flow.
FLOW_WAIT_S = 3.0
FIGURES_S = 15.0
INFLUX_S = 30.0
INFLUX_QUEUED = 20
INFLUX_POST_S = 15.0
#: Readable by an exporter that is not root; there is no secret in it.
TEXTFILE_MODE = 0o644


def sensor_id(settings: Export) -> str:
    """The router's name in exports; a topic of MQTT is made of it."""
    name = settings.sensor_id or os.uname().nodename
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in name)[:64] or "router"


class Exports:
    """Made anew when its settings change. A flow sink, and a listener of alerts and events."""

    def __init__(self, engine: Engine, settings: Export, secrets: ExportSecrets) -> None:
        self._engine = engine
        self._settings = settings
        self._secrets = secrets
        self.sensor = sensor_id(settings)
        self._flows: deque[Flow] = deque()
        self._alerts: deque[tuple[float, dict[str, Any]]] = deque()
        self._bodies: deque[str] = deque()
        self._failures: dict[str, str] = {}
        self._counts = dict.fromkeys(("flows_dropped", "alerts_dropped", "influx_sent", "influx_dropped"), 0)
        path = settings.eve_path or f"{engine.settings.settings.stats_dir}/eve.json"
        self._spool = Spool(path, settings.eve_spool_mb << 20) if settings.eve else None
        self._mqtt: Mqtt | None = None
        if settings.mqtt and settings.mqtt_host:
            self._mqtt = Mqtt(
                {
                    "host": settings.mqtt_host,
                    "port": settings.mqtt_port,
                    "tls": settings.mqtt_tls,
                    "user": settings.mqtt_user,
                    "password": secrets.mqtt_password,
                    "topic": settings.mqtt_topic,
                    "sensor": self.sensor,
                }
            )

    # --- what comes in

    def flow_started(self, flow: Flow) -> None:
        """Only ends are told."""

    def flow_counted(self, flow: Flow, *grown: int) -> None:
        """Only ends are told."""

    def flow_ended(self, flow: Flow) -> None:
        if self._spool is None:
            return
        if len(self._flows) >= MAX_FLOWS:
            self._flows.popleft()
            self._counts["flows_dropped"] += 1
        self._flows.append(flow)

    def on_alert(self, alert: dict[str, Any]) -> None:
        """A WAF alert, as `mitm.alerts` has checked it."""
        if len(self._alerts) >= MAX_ALERTS:
            self._alerts.popleft()
            self._counts["alerts_dropped"] += 1
        self._alerts.append((time.monotonic() + FLOW_WAIT_S, alert))

    def on_event(self, name: str, content: dict[str, Any]) -> None:
        """`dpi.threat`, `dpi.ban` or `dpi.client`, as on ubus."""
        if self._mqtt is not None:
            now = eve.timestamp(self._engine.now())
            self._mqtt.publish(name.rpartition(".")[2], {"timestamp": now, "host": self.sensor, **content})

    # --- what goes out

    async def run(self) -> None:
        """Writes and sends until cancelled; then writes what is left."""
        tables = (self._engine.tap.table, self._engine.lan.table)
        for table in tables:
            table.set_sinks([*table.sinks, self])
        outbox = self._engine.correlator.outbox
        outbox.listener = self.on_event
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write_events())
                if self._settings.textfile or self._settings.influx_url or self._mqtt is not None:
                    group.create_task(self._tell_figures())
                if self._settings.influx_url:
                    group.create_task(self._push())
                if self._mqtt is not None:
                    group.create_task(self._mqtt.run())
        finally:
            outbox.listener = None
            for table in tables:
                table.set_sinks([sink for sink in table.sinks if sink is not self])
            while self._flows or self._alerts:
                self._write(last=True)

    async def _write_events(self) -> None:
        while True:
            while len(self._flows) >= SLICE:
                self._write()
                await asyncio.sleep(0)
            self._write()
            await asyncio.sleep(TICK_S)

    def _write(self, last: bool = False) -> None:
        """Up to `SLICE` flows, and the alerts whose flow is known or will not be."""
        events = [eve.flow_event(self._flows.popleft(), self.sensor) for _ in range(min(SLICE, len(self._flows)))]
        now = time.monotonic()
        for _ in range(min(SLICE, len(self._alerts))):
            due, alert = self._alerts.popleft()
            flow = self._flow_of(alert)
            if flow is None and now < due and not last:
                self._alerts.append((due, alert))
                continue
            pair = eve.alert_events(alert, flow, self.sensor)
            events += pair
            if self._mqtt is not None:
                self._mqtt.publish("alert", pair[0])
        if not events or self._spool is None:
            return
        lines = [json.dumps(event, separators=(",", ":")).encode("ascii") + b"\n" for event in events]
        try:
            self._spool.append(lines)
        except OSError as error:
            self._spool.dropped += len(lines)
            self._failures["eve"] = error.strerror or str(error)
        else:
            self._failures.pop("eve", None)

    def _flow_of(self, alert: dict[str, Any]) -> Flow | None:
        port = alert["client_port"]
        return self._engine.correlator.joiner.exact(alert["client_ip"], port, alert["at"]) if port else None

    async def _tell_figures(self) -> None:
        influx_at = 0.0
        while True:
            now = self._engine.now()
            found = list(families(self._engine, self.sensor))
            if self._settings.textfile:
                self._write_textfile(prometheus.text(found))
            if self._settings.influx_url and not 0 <= now - influx_at < INFLUX_S:
                influx_at = now
                if len(self._bodies) >= INFLUX_QUEUED:
                    self._bodies.popleft()
                    self._counts["influx_dropped"] += 1
                self._bodies.append(influx.lines(found, self.sensor, now))
            if self._mqtt is not None:
                plain = {family.name: family.values[0][1] for family in found if _is_plain(family.values)}
                self._mqtt.publish("figures", {"timestamp": eve.timestamp(now), "host": self.sensor, **plain})
            await asyncio.sleep(FIGURES_S)

    def _write_textfile(self, text: str) -> None:
        folder, name = os.path.split(self._settings.textfile)
        try:
            replace_file(folder, name, text.encode("utf-8"), TEXTFILE_MODE)
        except OSError as error:
            self._failures["textfile"] = error.strerror or str(error)
        else:
            self._failures.pop("textfile", None)

    async def _push(self) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self._secrets.influx_token:
            headers["Authorization"] = f"Token {self._secrets.influx_token}"
        while True:
            if self._bodies:
                bodies = list(self._bodies)
                taken, failure = await post_all(self._settings.influx_url, headers, bodies, INFLUX_POST_S)
                for body in bodies[:taken]:
                    if self._bodies and self._bodies[0] is body:
                        self._bodies.popleft()
                self._counts["influx_sent"] += taken
                self._failures["influx"] = failure
                if not failure:
                    del self._failures["influx"]
            await asyncio.sleep(INFLUX_S if "influx" in self._failures else TICK_S)

    # --- how it is

    def counters(self) -> dict[str, int]:
        found = {f"export_{name}": number for name, number in self._counts.items()}
        if self._spool is not None:
            found |= {"export_eve_written": self._spool.written, "export_eve_dropped": self._spool.dropped}
        if self._mqtt is not None:
            found |= {f"export_{name}": number for name, number in self._mqtt.counters().items()}
        return found

    def problems(self) -> list[Problem]:
        places = {
            "eve": (
                "EVE events cannot be written",
                "Give dpi-dual.export.eve_path a directory that only root can write.",
            ),
            "textfile": ("The metrics file cannot be written", "Check dpi-dual.export.textfile."),
            "influx": ("InfluxDB takes no figures", "Check dpi-dual.export.influx_url and influx_token."),
        }
        found = [
            Problem("export_failing", f"{places[name][0]} ({why}).", places[name][1], details={"export": name})
            for name, why in self._failures.items()
        ]
        return found + (self._mqtt.problems() if self._mqtt is not None else [])


def _is_plain(values: list[tuple[dict[str, str], float]]) -> bool:
    return len(values) == 1 and not values[0][0]
