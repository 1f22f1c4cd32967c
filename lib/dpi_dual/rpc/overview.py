"""The answer of `dpi.status overview`: all that the Overview page shows, in one answer of bounded size."""

from __future__ import annotations

import time
from typing import Any
from weakref import WeakKeyDictionary

from dpi_dual import __version__
from dpi_dual.correlation import answers
from dpi_dual.correlation.bans import BAN_STATE
from dpi_dual.correlation.records import Wanted
from dpi_dual.engine.service import Engine
from dpi_dual.rpc.bounded import NAMES, THREATS, cut, distribution, scorecard, shown_problems, threats

Answer = dict[str, Any]


def overview(engine: Engine, range: str, since: float = 0.0) -> Answer:
    """Everything at once; of the time series only the steps from `since` on, when it is given."""
    now = engine.now()
    problems = engine.problems()
    return {
        "engine": "running",
        "version": __version__,
        "now_at": round(now, 3),
        "started_at": round(engine.started_at, 3),
        "enabled": engine.settings.settings.enabled,
        "mode": engine.settings.settings.mode,
        "mitm": _mitm(engine),
        "tap": _tap(engine),
        "lan": _lan(engine),
        "correlation": _correlation(engine),
        "problems": shown_problems(problem.answer() for problem in problems),
        "problems_total": len(problems),
        "series": engine.series.recent(range, now, since),
        "distribution": {
            "tap": distribution(*_tap_names(engine)),
            "lan": distribution(*_lan_names(engine)),
        },
        "threats": threats(engine.correlator.store.page(Wanted(), THREATS)["threats"]),
        "scorecard": _scorecard(engine),
    }


#: The day's picture reads every kept record, so what it costs is at most this part of all processor time.
SCORECARD_SHARE = 0.01

_scorecards: WeakKeyDictionary[Engine, tuple[float, Answer]] = WeakKeyDictionary()
"""Until when (monotonic) which picture is good enough."""


def _scorecard(engine: Engine) -> Answer:
    until, card = _scorecards.get(engine, (0.0, {}))
    if time.monotonic() >= until:
        cost = time.thread_time()
        card = scorecard(answers.scorecard(engine.correlator, "day"))
        cost = time.thread_time() - cost
        _scorecards[engine] = (time.monotonic() + cost / SCORECARD_SHARE, card)
    states = engine.correlator.store.by_state()
    return {**card, "open": states.get("new", 0), "banned": states.get(BAN_STATE, 0)}


# --- the streams


def _state(engine: Engine, part: str, running: bool) -> str:
    """off: switched off. waiting: it is to run, but what it needs is not there yet. running."""
    if part not in engine.settings.parts():
        return "off"
    return "running" if running else "waiting"


def _mitm(engine: Engine) -> Answer:
    figures = engine.mitm.status()
    buffer = engine.mitm.buffer()
    return {
        "state": _state(engine, "mitm", figures["running"]),
        **{name: figures[name] for name in ("requests_total", "threats_detected", "blocked_count", "buffer_entries")},
        "buffer_size": buffer["max_size"],
        "blocking": figures["blocking"],
        "tier": cut(figures["tier"], 32),
    }


def _tap(engine: Engine) -> Answer:
    figures = engine.tap.status(running="tap" in engine.supervisor)
    agent = engine.agents.get("tap") or engine.agents.get("netifyd")
    return {
        "state": _state(engine, "tap", figures["running"]),
        "interface": cut(figures["interface"], 48),
        **{name: figures[name] for name in ("interface_up", "rx_bytes", "rx_packets", "flows_1min", "flows_live")},
        "source": agent.kind if agent is not None and agent.connected else "none",
    }


def _lan(engine: Engine) -> Answer:
    figures = engine.lan.status()
    keys = ("active_clients", "unique_destinations", "detected_protocols", "rx_rate_bps", "tx_rate_bps")
    return {
        "state": _state(engine, "lan", "lan" in engine.supervisor and figures["source"] != "none"),
        "interface": cut(str(figures["interface"]), 48),
        **{key: figures[key] for key in keys},
        "bytes_in": figures["bytes_in"],
        "bytes_out": figures["bytes_out"],
        "source": figures["source"],
        "rates_source": figures["rates_source"],
        "offload": bool(engine.lan.offload),
    }


def _correlation(engine: Engine) -> Answer:
    correlator = engine.correlator
    crowdsec = correlator.bans.crowdsec
    states = correlator.store.by_state()
    return {
        "state": _state(engine, "correlation", correlator.running),
        "threats_correlated": correlator.status()["threats_correlated"],
        "open": states.get("new", 0),
        "banned": correlator.store.totals().get("banned", 0),
        "auto_ban": correlator.settings.correlation.auto_ban,
        "crowdsec": crowdsec.status()["state"] if crowdsec is not None else "off",
        "decisions": len(crowdsec.decisions) if crowdsec is not None else 0,
    }


# --- names


def _tap_names(engine: Engine) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
    protocols: dict[str, tuple[int, int]] = {}
    applications: dict[str, tuple[int, int]] = {}
    for kind in engine.tap.table.tallies.kinds.values():
        size = kind.local_bytes + kind.other_bytes + kind.undirected_bytes
        for names, name in ((protocols, kind.key[0]), (applications, kind.key[1])):
            known = names.get(name, (0, 0))
            names[name] = (known[0] + size, known[1] + kind.flows)
    return protocols, applications


def _lan_names(engine: Engine) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
    protocols: dict[str, tuple[int, int]] = {}
    for row in engine.lan.protocols(limit=1024)["protocols"]:  # type: ignore[attr-defined]
        known = protocols.get(row["protocol"], (0, 0))
        protocols[row["protocol"]] = (known[0] + row["bytes"], known[1] + row["flows"])
    listed: Any = engine.lan.applications(limit=NAMES)["applications"]
    return protocols, {row["application"]: (row["bytes"], row["flows"]) for row in listed}
