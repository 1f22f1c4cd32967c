"""The object `luci.dpi-dual` of the shell predecessor as a table: each old method is a question to a new one.

Pages and panels that were written for it go on working. Nothing is decided here: parameters are mapped onto the new
method's, its answer is given the old keys. Lists are newest last, as in the files that it read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dpi_dual.errors import QueryError

Values = dict[str, Any]
Answer = dict[str, Any]
Question = tuple[str, str, Values]

OBJECT = "luci.dpi-dual"

#: What `sensitivity` makes of the standard weights; with `custom` they are the owner's own.
_FACTORS = {"low": 0.7, "medium": 1.0, "high": 1.3, "custom": 1.0}
_TUNED = (
    "sensitivity",
    "auto_ban_threshold",
    "auto_ban_duration",
    "notifications",
    "notification_threshold",
    "reputation_decay",
    "decay_interval",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One old method: whom it asks, with what, and what it makes of the answer (of an answer that is no error)."""

    target: tuple[str, str]
    ask: Callable[[Values], Values]
    shape: Callable[[Values, Answer], Answer]
    setter: bool = False
    """It changes something, and says so with `success`."""


def question(name: str, given: Values) -> Question:
    """Object, method and parameters that an old call with checked parameters means."""
    row = TABLE[name]
    return (*row.target, row.ask(given))


def shaped(name: str, given: Values, answer: Answer) -> Answer:
    """The answer to `question` in the old method's keys; an error keeps its sentence and code."""
    if "error" in answer:
        return refused(OBJECT, name, {key: answer[key] for key in ("error", "code", "engine") if key in answer})
    kept = {"engine": answer["engine"]} if answer.get("engine") == "down" else {}
    return {**TABLE[name].shape(given, answer), **kept}


def refused(obj: str, name: str, error: Answer) -> Answer:
    """An error as the caller expects it: old setters say `success` too."""
    old = obj == OBJECT and name in TABLE and TABLE[name].setter
    return {"success": False, **error} if old else error


# --- questions


def _nothing(given: Values) -> Values:
    return {}


def _limit(given: Values) -> Values:
    return {"limit": given["limit"]}


def _all_rows(given: Values) -> Values:
    return {"limit": 500}


def _ip(given: Values) -> Values:
    return {"ip": _filled(given, "ip")}


def _filled(given: Values, key: str) -> str:
    """A parameter that old pages send empty when nothing was typed."""
    text = str(given[key]).strip()
    if not text:
        raise QueryError("bad_parameter", f"{key} is empty")
    return text


def _records(given: Values) -> Values:
    return {"limit": given["limit"], "context": True}


def _given(given: Values) -> Values:
    return given


def _flat_scoring(given: Values) -> Values:
    plain = {key: value for key, value in given.items() if key != "scoring"}
    return {**given.get("scoring", {}), **plain}


# --- answers


def _as_is(given: Values, answer: Answer) -> Answer:
    return answer


def _without(*keys: str) -> Callable[[Values, Answer], Answer]:
    return lambda given, answer: {key: value for key, value in answer.items() if key not in keys}


def _only(*keys: str) -> Callable[[Values, Answer], Answer]:
    return lambda given, answer: {key: answer[key] for key in keys}


def _dated(key: str) -> Callable[[Values, Answer], Answer]:
    """The file that the old method gave out: its time and its rows."""

    def shape(given: Values, answer: Answer) -> Answer:
        return {"timestamp": answer.get("timestamp", datetime.now(UTC).isoformat(timespec="seconds")), key: answer[key]}

    return shape


def _newest_last(key: str, rows: str) -> Callable[[Values, Answer], Answer]:
    return lambda given, answer: {"total": answer["total"], key: answer[rows][::-1]}


def _timeline(given: Values, answer: Answer) -> Answer:
    return {"total": answer["total"], "limit": given["limit"], "entries": answer["threats"][::-1]}


def _found(given: Values, answer: Answer) -> Answer:
    return {"results": answer["threats"][::-1]}


def _stats(given: Values, answer: Answer) -> Answer:
    return {
        "total_correlations": answer["threats_kept"],
        "high_threat_count": answer["high_threats"],
        "banned_ips": answer["banned"],
        "unique_ips": answer["actors"],
        "updated": answer["updated"],
    }


def _context(given: Values, answer: Answer) -> Answer:
    banned = answer["crowdsec"].get("banned", False)
    return {
        "ip": answer["ip"],
        "reputation_score": answer["reputation"]["score"],
        "crowdsec_status": "banned" if banned else "clean",
        "context": {key: answer[key] for key in ("mitm_requests", "dpi_flows", "waf_alerts")},
    }


def _reputation(given: Values, answer: Answer) -> Answer:
    return {"ip": given["ip"], "reputation_score": answer["score"]}


def _mirror(given: Values, answer: Answer) -> Answer:
    software = any(source.get("ingress", {}).get("present") for source in answer["sources"])
    configured = software if answer["mode"] == "software" else answer["complete"]
    return {"tap_found": answer["exists"], "tap_up": answer["up"], "ingress_configured": configured}


def _lan_status(given: Values, answer: Answer) -> Answer:
    return {**answer, "collector_running": answer["running"]}


def _tuning(given: Values, answer: Answer) -> Answer:
    known = {key: answer[key] for key in _TUNED}
    return {**known, "sensitivity_multiplier": _FACTORS[answer["sensitivity"]], "scoring": answer["scoring"]}


def _done(message: Callable[[Values, Answer], str], *keys: str) -> Callable[[Values, Answer], Answer]:
    """Success in words, and the keys of the new answer that belong to it."""

    def shape(given: Values, answer: Answer) -> Answer:
        return {"success": True, "message": message(given, answer), **{key: answer[key] for key in keys}}

    return shape


def _replayed(given: Values, answer: Answer) -> str:
    more, fewer = answer["newly_alerting"], answer["no_longer_alerting"]
    return f"{answer['requests']} requests judged again: {more} newly alerting, {fewer} no longer"


def _banned(given: Values, answer: Answer) -> str:
    until = datetime.fromtimestamp(answer["until_at"], UTC).isoformat(timespec="seconds")
    return f"{answer['target']} is banned until {until}"


def _auto_ban(given: Values, answer: Answer) -> str:
    return f"automatic bans are {'on' if answer['auto_ban'] else 'off'}"


_STATUS, _LAN, _CORRELATOR = "dpi.status", "dpi.lan", "dpi.correlator"

TABLE: dict[str, Row] = {
    "get_flows": Row((_STATUS, "flows"), lambda given: {"limit": 1}, _without("flows", "total", "next")),
    "get_buffer": Row((_STATUS, "buffer"), _nothing, _as_is),
    "get_threats": Row((_STATUS, "alerts"), _limit, _newest_last("alerts", "alerts")),
    "get_correlation": Row((_CORRELATOR, "timeline"), _records, _newest_last("correlated", "threats")),
    "get_correlation_stats": Row((_CORRELATOR, "stats"), _nothing, _stats),
    "get_ip_context": Row((_CORRELATOR, "context"), _ip, _context),
    "get_ip_reputation": Row((_CORRELATOR, "reputation"), _ip, _reputation),
    "get_timeline": Row((_CORRELATOR, "timeline"), _records, _timeline),
    "get_mirror_status": Row((_STATUS, "mirror"), _nothing, _mirror),
    "search_correlations": Row(
        (_CORRELATOR, "search"), lambda given: {"query": given["ip"], "limit": given["limit"]}, _found
    ),
    "start": Row((_STATUS, "start"), _nothing, _done(lambda given, answer: "the service runs"), setter=True),
    "stop": Row((_STATUS, "stop"), _nothing, _done(lambda given, answer: "the service is stopped"), setter=True),
    "restart": Row(
        (_STATUS, "restart"), _nothing, _done(lambda given, answer: "the service was started anew"), setter=True
    ),
    "replay_request": Row(
        (_STATUS, "replay"),
        lambda given: {"id": _filled(given, "req_hash")},
        _done(_replayed, "requests", "newly_alerting", "no_longer_alerting"),
        setter=True,
    ),
    "correlate_ip": Row(
        (_CORRELATOR, "correlate"),
        _given,
        _done(lambda given, answer: f"recorded as threat {answer['threat']['id']} of {given['ip']}", "threat"),
        setter=True,
    ),
    "ban_ip": Row((_CORRELATOR, "ban"), _given, _done(_banned, "target", "until_at"), setter=True),
    "set_auto_ban": Row((_CORRELATOR, "set_auto_ban"), _given, _done(_auto_ban, "auto_ban"), setter=True),
    "get_tuning": Row((_CORRELATOR, "tuning"), _nothing, _tuning),
    "set_tuning": Row(
        (_CORRELATOR, "set_tuning"), _flat_scoring, _done(lambda given, answer: "the tuning is in force"), setter=True
    ),
    "whitelist_add": Row(
        (_CORRELATOR, "whitelist_add"),
        _ip,
        _done(lambda given, answer: f"{answer['ip']} is never banned", "whitelist"),
        setter=True,
    ),
    "whitelist_remove": Row(
        (_CORRELATOR, "whitelist_remove"),
        _ip,
        _done(lambda given, answer: f"{answer['ip']} is off the whitelist", "whitelist"),
        setter=True,
    ),
    "whitelist_list": Row((_CORRELATOR, "whitelist"), _nothing, _only("whitelist")),
    "reset_reputation": Row(
        (_CORRELATOR, "reset_reputation"),
        _ip,
        _done(lambda given, answer: f"the reputation of {given['ip']} is forgotten"),
        setter=True,
    ),
    "get_lan_status": Row((_LAN, "status"), _nothing, _lan_status),
    "get_lan_clients": Row((_LAN, "clients"), _all_rows, _dated("clients")),
    "get_lan_destinations": Row((_LAN, "destinations"), _limit, _dated("destinations")),
    "get_lan_protocols": Row((_LAN, "protocols"), _all_rows, _dated("protocols")),
}
