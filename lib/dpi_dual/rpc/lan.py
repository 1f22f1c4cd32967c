"""The answers of `dpi.lan`."""

from __future__ import annotations

from typing import Any

from dpi_dual.engine.service import Engine

Answer = dict[str, Any]


def status(engine: Engine) -> Answer:
    return {
        **engine.lan.status(),
        "enabled": engine.settings.lan.enabled,
        "running": "lan" in engine.supervisor,
    }


def clients(engine: Engine, **page: Any) -> Answer:
    return engine.lan.clients(**page)


def client(engine: Engine, client: str) -> Answer:
    return engine.lan.client(client)


def destinations(engine: Engine, **page: Any) -> Answer:
    return engine.lan.destinations(**page)


def protocols(engine: Engine, **page: Any) -> Answer:
    return engine.lan.protocols(**page)


def applications(engine: Engine, **page: Any) -> Answer:
    return engine.lan.applications(**page)


def flows(engine: Engine, **filters: Any) -> Answer:
    return engine.lan.flows(**filters)


def history(engine: Engine, **wanted: Any) -> Answer:
    return engine.lan.history(**wanted)
