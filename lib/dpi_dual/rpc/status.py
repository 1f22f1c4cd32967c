"""The answers of `dpi.status`."""

from __future__ import annotations

import os
import platform
from typing import Any

from dpi_dual import __version__
from dpi_dual.correlation.actors import parse_network
from dpi_dual.engine.service import Engine
from dpi_dual.errors import QueryError
from dpi_dual.mitm.alerts import Wanted

Answer = dict[str, Any]


def status(engine: Engine) -> Answer:
    settings = engine.settings
    return {
        "enabled": settings.settings.enabled,
        "mode": settings.settings.mode,
        "correlation_enabled": "correlation" in settings.parts(),
        "mitm_stream": {"enabled": "mitm" in settings.parts(), **engine.mitm.status()},
        "tap_stream": {
            "enabled": "tap" in settings.parts(),
            **engine.tap.status(running="tap" in engine.supervisor),
        },
        "correlation": engine.correlator.status(),
        "lan_passive": lan_passive(engine),
        "engine": "running",
        "service": {"state": "running", "text": "it runs", "pid": os.getpid()},
        "version": __version__,
        "started_at": round(engine.started_at, 3),
        "rss_bytes": engine.rss_bytes(),
        "problems": sum(problem.severity != "info" for problem in engine.problems()),
    }


def lan_passive(engine: Engine) -> Answer:
    figures = engine.lan.status()
    keys = ("interface", "active_clients", "unique_destinations", "detected_protocols")
    return {
        "enabled": engine.settings.lan.enabled,
        "running": "lan" in engine.supervisor,
        **{key: figures[key] for key in keys},
    }


def flows(engine: Engine, **filters: Any) -> Answer:
    return {**engine.tap.summary(), **engine.tap.table.flows(**filters)}


def buffer(engine: Engine) -> Answer:
    return engine.mitm.buffer()


def alerts(engine: Engine, limit: int, before: str = "", ip: str = "", **filters: Any) -> Answer:
    return engine.mitm.alerts(limit, before, Wanted(network=parse_network(ip) if ip else None, **filters))


async def replay(engine: Engine, **wanted: Any) -> Answer:
    return await engine.mitm.replay(**wanted)


def _mirror_part(engine: Engine) -> Any:
    if engine.mirror is None:
        raise QueryError("tap_off", "the TAP stream is switched off (dpi-dual.settings.mode, dpi-dual.tap.enabled)")
    return engine.mirror


async def mirror(engine: Engine) -> Answer:
    return dict(await engine.mirror_status())


async def mirror_start(engine: Engine) -> Answer:
    return dict(await _mirror_part(engine).start())


async def mirror_stop(engine: Engine) -> Answer:
    return dict(await _mirror_part(engine).stop())


def history(engine: Engine, range: str) -> Answer:
    return engine.series.points(range, engine.now())


def health(engine: Engine) -> Answer:
    problems = engine.problems()
    return {
        "ok": not any(problem.severity in ("warning", "error") for problem in problems),
        "engine": "running",
        "problems": [problem.answer() for problem in problems],
        "parts": engine.supervisor.status(),
        "agents": [agent.status() for agent in engine.agents.values()],
        "counters": engine.counters(),
    }


def version(engine: Engine) -> Answer:
    return {
        "version": __version__,
        "engine": "running",
        "python": platform.python_version(),
        "agents": {name: agent.status() for name, agent in engine.agents.items()},
    }


def metrics(engine: Engine) -> Answer:
    settings = engine.settings.export
    if not settings.prometheus:
        raise QueryError("prometheus_off", "there are no metrics: dpi-dual.export.prometheus is off")
    # Imported here: off on most routers.
    from dpi_dual.export import prometheus
    from dpi_dual.export.exports import sensor_id
    from dpi_dual.export.figures import families

    text = prometheus.text(families(engine, sensor_id(settings)))
    return {"content_type": prometheus.CONTENT_TYPE, "text": text}
