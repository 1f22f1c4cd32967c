"""What a plugin answers when no engine runs: what UCI, /sys and the last snapshots say, marked `"engine": "down"`."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dpi_dual import __version__, config
from dpi_dual.correlation.events import HIGH
from dpi_dual.errors import QueryError
from dpi_dual.model import Problem
from dpi_dual.paths import ENGINE_SOCKET
from dpi_dual.rpc import leftovers, legacy, procd
from dpi_dual.rpc.validate import Validator

Answer = dict[str, Any]

#: As the engine's own (`engine/control.py`): ubus refuses what is much larger, and rpcd falls off the bus.
ANSWER_BYTES = 256 * 1024


def _snapshot(settings: config.Settings, name: str) -> Answer:
    return leftovers.snapshot(settings.settings.stats_dir, name)


def _interface(name: str) -> Answer:
    base = Path("/sys/class/net") / Path(name).name

    def figure(file: str) -> int:
        try:
            return int((base / "statistics" / file).read_text())
        except (OSError, ValueError, RecursionError):
            return 0

    try:
        up = bool(int((base / "flags").read_text(), 16) & 1)
    except (OSError, ValueError, RecursionError):
        up = False
    return {"interface_up": up, **{key: figure(key) for key in ("rx_bytes", "tx_bytes")}}


def _status(settings: config.Settings, why: str) -> Answer:
    lan = _snapshot(settings, "lan-flows.json")
    return {
        "enabled": settings.settings.enabled,
        "mode": settings.settings.mode,
        "correlation_enabled": "correlation" in settings.parts(),
        "mitm_stream": {
            "enabled": "mitm" in settings.parts(),
            "running": False,
            "buffer_entries": 0,
            "threats_detected": 0,
            "blocked_count": 0,
        },
        "tap_stream": {
            "enabled": "tap" in settings.parts(),
            "running": False,
            "interface": settings.tap.interface,
            **_interface(settings.tap.interface),
            "flows_1min": 0,
            "collector_running": False,
        },
        "correlation": {"running": False, "threats_correlated": 0},
        "lan_passive": {
            "enabled": settings.lan.enabled,
            "running": False,
            "interface": " ".join(settings.lan.interface),
            **leftovers.counts(lan, "active_clients", "unique_destinations", "detected_protocols"),
        },
        "service": procd.state(settings.settings.enabled),
        "version": __version__,
        "reason": why,
    }


def _overview(settings: config.Settings, why: str) -> Answer:
    from dpi_dual.rpc import stale

    up = _interface(settings.tap.interface)["interface_up"]
    problems = _health(settings, why)["problems"]
    threats = _threats(settings, why)["threats"]
    return stale.overview(settings, lambda name: _snapshot(settings, name), up, problems, threats)


def _flows(settings: config.Settings, why: str) -> Answer:
    empty = {
        "timestamp": "",
        "flows_1min": 0,
        "tap_interface": settings.tap.interface,
        **dict.fromkeys(("rx_bytes", "tx_bytes", "rx_packets", "tx_packets"), 0),
        "protocols": {},
        "applications": {},
        "top_talkers": [],
        "mode": "passive_tap",
    }
    return {**empty, **_snapshot(settings, "dpi-flows.json"), "flows": [], "total": 0}


def _buffer(settings: config.Settings, why: str) -> Answer:
    empty = {
        "timestamp": "",
        "entries": 0,
        "max_size": settings.mitm.buffer_size,
        **dict.fromkeys(("requests_total", "threats_detected", "blocked_count", "high_threat_in_buffer"), 0),
        "threat_distribution": {},
        "top_hosts": {},
        "analysis_enabled": settings.mitm.async_analysis,
        "replay_enabled": settings.mitm.replay_on_alert,
    }
    return {**empty, **_snapshot(settings, "dpi-buffer.json")}


#: What an owner may do, by the state that procd names.
_HINTS = {
    "disabled": "Switch it on: uci set dpi-dual.settings.enabled=1; uci commit dpi-dual; dpi-dualctl start.",
    "starting": "If this lasts: logread -e dpi-dual, then dpi-dualctl restart.",
    "stopping": "Start it again when it has ended: dpi-dualctl start.",
    "respawning": "Why it ended: logread -e dpi-dual.",
}


def _health(settings: config.Settings, why: str) -> Answer:
    service = procd.state(settings.settings.enabled)
    known = service["state"] not in ("unmanaged", "unknown")
    down = Problem(
        "engine_down",
        f"The engine does not run ({service['text'] if known else why}); figures stand still.",
        _HINTS.get(
            service["state"],
            "Start it: dpi-dualctl start. Why it ended: logread -e dpi-dual.",
        ),
        "error",
        details={"service": service["state"]},
    )
    problems = [down, *settings.problems]
    return {
        "ok": False,
        "problems": [problem.answer() for problem in problems],
        "parts": {},
        "agents": [],
        "counters": {},
    }


def _version(settings: config.Settings, why: str) -> Answer:
    return {"version": __version__, "python": platform.python_version(), "agents": {}}


def _mirror(settings: config.Settings, action: str) -> Answer:
    from dpi_dual.capture.mirror import perform

    tap = settings.tap
    return dict(perform(action, tap.interface, list(tap.mirror_source), tap.mirror_mode))


def _lan_status(settings: config.Settings, why: str) -> Answer:
    empty = {
        "timestamp": "",
        "mode": "lan_passive",
        "interface": " ".join(settings.lan.interface),
        **dict.fromkeys(("active_clients", "unique_destinations", "detected_protocols"), 0),
        **dict.fromkeys(("rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "rx_rate_bps", "tx_rate_bps"), 0),
        "source": "none",
    }
    rates = dict.fromkeys(("rx_rate_bps", "tx_rate_bps"), 0)
    known = _snapshot(settings, "lan-flows.json")
    return {**empty, **known, **rates, "enabled": settings.lan.enabled, "running": False}


def _rows(file: str, key: str) -> Callable[[config.Settings, str], Answer]:
    def rows(settings: config.Settings, why: str) -> Answer:
        found = _snapshot(settings, file)
        listed = found.get(key)
        known = listed if isinstance(listed, list) else []
        return {"timestamp": found.get("timestamp", ""), key: known, "total": len(known)}

    return rows


def _nothing(key: str) -> Callable[[config.Settings, str], Answer]:
    return lambda settings, why: {key: [], "total": 0}


_TEXTS = ("ip", "timestamp", "event_type", "reason", "crowdsec_status", "state")
_NUMBERS = ("id", "threat_score", "reputation_score", "count")


def _threats(settings: config.Settings, why: str) -> Answer:
    own = settings.correlation.output
    moved = own != config.defaults().correlation.output
    path = Path(own) if moved else Path(settings.settings.stats_dir) / Path(own).name
    known = [
        entry
        for entry in leftovers.lines(path)
        if all(type(entry.get(key)) is str for key in _TEXTS)
        and all(type(entry.get(key)) in (int, float) for key in _NUMBERS)
    ]
    for entry in known:
        entry.pop("context", None)  # with it an answer could be more than ubus carries
    return {"threats": known, "total": len(known)}


def _stats(settings: config.Settings, why: str) -> Answer:
    known = _threats(settings, why)["threats"]
    counted = ("events", "threats", "joined_with_flow", "banned", "reputations", "latency_ms_p99")
    return {
        "running": False,
        **dict.fromkeys(counted, 0),
        "threats_kept": len(known),
        "high_threats": sum(entry["threat_score"] >= HIGH for entry in known),
        "actors": len({str(entry.get("actor", entry["ip"])) for entry in known}),
        "updated": known[0]["timestamp"] if known else "",
        "by_state": {},
        "by_type": {},
        "auto_ban": settings.correlation.auto_ban,
        "crowdsec": {"state": "unknown"},
    }


def _notifications(settings: config.Settings, why: str) -> Answer:
    path = Path(settings.settings.stats_dir) / "notifications.json"
    known = [entry for entry in leftovers.lines(path) if "id" in entry]
    return {"notifications": known, "total": len(known)}


def _whitelist(settings: config.Settings, why: str) -> Answer:
    return {"whitelist": list(settings.whitelist.ip), "implicit": []}


def _tuning(settings: config.Settings, why: str) -> Answer:
    from dpi_dual.correlation.policy import weights

    own = settings.correlation
    names = ("sensitivity", "window", "reputation_decay", "decay_interval", "notifications", "notification_threshold")
    more = ("watch_crowdsec", "auto_ban", "auto_ban_threshold", "auto_ban_duration")
    points = weights(settings)
    return {
        **{name: getattr(own, name) for name in (*names, *more)},
        "weights": points,
        "scoring": {name: getattr(settings.scoring, name) for name in points},
        "mutes": [],
    }


_ANSWERS: dict[tuple[str, str], Callable[[config.Settings, str], Answer]] = {
    ("dpi.status", "overview"): _overview,
    ("dpi.status", "status"): _status,
    ("dpi.status", "flows"): _flows,
    ("dpi.status", "buffer"): _buffer,
    ("dpi.status", "alerts"): _nothing("alerts"),
    ("dpi.status", "mirror"): lambda settings, why: _mirror(settings, "status"),
    ("dpi.status", "mirror_start"): lambda settings, why: _mirror(settings, "ensure"),
    ("dpi.status", "mirror_stop"): lambda settings, why: _mirror(settings, "remove"),
    ("dpi.status", "health"): _health,
    ("dpi.status", "version"): _version,
    ("dpi.lan", "status"): _lan_status,
    ("dpi.lan", "clients"): _rows("lan-clients.json", "clients"),
    ("dpi.lan", "destinations"): _rows("lan-destinations.json", "destinations"),
    ("dpi.lan", "protocols"): _rows("lan-protocols.json", "protocols"),
    ("dpi.lan", "flows"): _nothing("flows"),
    ("dpi.correlator", "timeline"): _threats,
    ("dpi.correlator", "stats"): _stats,
    ("dpi.correlator", "notifications"): _notifications,
    ("dpi.correlator", "whitelist"): _whitelist,
    ("dpi.correlator", "tuning"): _tuning,
}


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{ENGINE_SOCKET} is not there"
    return f"{ENGINE_SOCKET}: {error.strerror or error}"


def answer(obj: str, name: str, arguments: bytes, failure: OSError) -> bytes:
    """The answer to a call without an engine, as one line of JSON; `failure` ended the attempt to reach it."""
    why = _reason(failure)
    result: dict[str, Any]
    try:
        try:
            given = json.loads(arguments or b"{}")
        except (ValueError, RecursionError):
            raise QueryError("bad_json", "the arguments are not valid JSON (rpcd cuts them at 65,536 bytes)") from None
        validator = Validator()
        method, values = validator.check(obj, name, given)
        if isinstance(failure, PermissionError):
            raise QueryError("no_permission", f"{ENGINE_SOCKET} may not be opened by this user; use root or ubus")
        # A full backlog is refused at once: so many calls wait for an engine that hangs.
        if isinstance(failure, TimeoutError | BlockingIOError):
            raise QueryError("timeout", f"the engine did not answer in time ({why})")
        if method.target[0] == legacy.OBJECT:
            question = legacy.question(name, values)
            result = legacy.shaped(name, values, _found(question[:2], validator.check(*question)[1], why))
        else:
            result = _found(method.target, values, why)
    except QueryError as error:
        result = legacy.refused(obj, name, dict(error.answer()))
    line = json.dumps({**result, "engine": "down"}).encode("ascii") + b"\n"
    if len(line) <= ANSWER_BYTES:
        return line
    refusal = {"error": "the files are too large to be shown; ask for fewer rows with limit", "code": "too_large"}
    return json.dumps({**refusal, "engine": "down"}).encode("ascii") + b"\n"


def _found(target: tuple[str, str], values: dict[str, Any], why: str) -> Answer:
    known = _ANSWERS.get(target)
    if known is None:
        raise QueryError("engine_down", f"{' '.join(target)} needs the engine, which does not run ({why}); start it")
    settings = config.load()
    result = known(settings, why)
    if values.get("figures") and target[0] == "dpi.lan":
        result["figures"] = _lan_status(settings, why)
    for key in ("clients", "destinations", "protocols", "threats", "notifications"):
        if isinstance(result.get(key), list) and "limit" in values:
            result[key] = result[key][: values["limit"]]
    return result
