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
        "offload": [problem.answer() for problem in engine.lan.offload],
    }


def _with(engine: Engine, figures: bool, answer: Answer) -> Answer:
    """With the figures of `status` when they are asked for: a page asks one question a poll."""
    return {**answer, "figures": status(engine)} if figures else answer


def clients(engine: Engine, figures: bool = False, **page: Any) -> Answer:
    return _with(engine, figures, engine.lan.clients(**page))


def client(engine: Engine, client: str, figures: bool = False, period: str = "hour") -> Answer:
    return _with(engine, figures, engine.lan.client(client, period))


def destinations(engine: Engine, figures: bool = False, **page: Any) -> Answer:
    return _with(engine, figures, engine.lan.destinations(**page))


def protocols(engine: Engine, figures: bool = False, **page: Any) -> Answer:
    return _with(engine, figures, engine.lan.protocols(**page))


def applications(engine: Engine, **page: Any) -> Answer:
    return engine.lan.applications(**page)


def flows(engine: Engine, **filters: Any) -> Answer:
    return engine.lan.flows(**filters)


def history(engine: Engine, figures: bool = False, **wanted: Any) -> Answer:
    return _with(engine, figures, engine.lan.history(**wanted))
