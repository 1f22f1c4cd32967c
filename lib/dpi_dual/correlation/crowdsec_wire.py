"""Alerts as LAPI takes them, and what may be believed of what it says about them."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dpi_dual.correlation.crowdsec_decisions import (
    LONGEST_S,
    Address,
    Decision,
    address,
    bounded,
    go_duration_s,
    spelled,
)
from dpi_dual.correlation.crowdsec_queue import Waiting
from dpi_dual.errors import QueryError

#: The origin of our decisions, and what the scenario of each of our alerts begins with.
ORIGIN = "dpi-dual"
SCENARIOS = "dpi-dual/"
#: The widest networks that can be banned: a slip of the pen must not cut off the world.
WIDEST = {32: 8, 128: 16}

_MARK = "dpi_dual_id"
_SCENARIO = re.compile(r"[a-z0-9][a-z0-9._/-]{0,79}\Z")
_MODES = ("profile", "decision", "record")


class CrowdsecError(QueryError):
    """What could not be done at CrowdSec. `sent`: it may have been done all the same."""

    def __init__(self, code: str, message: str, sent: bool = False) -> None:
        super().__init__(code, message)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Ban:
    """A decision that LAPI was seen to hold. `until_at` is Unix seconds."""

    target: str
    alert_id: int
    decision_id: int
    type: str
    scenario: str
    origin: str
    until_at: float


def is_own(decision: Decision) -> bool:
    """True for a decision that followed from an alert of ours."""
    return decision.origin == ORIGIN or decision.scenario.startswith(SCENARIOS)


def place(target: str) -> Address:
    """The address or network that `target` spells; CrowdsecError if it spells none."""
    where = address(target)
    if where is None:
        raise CrowdsecError("bad_target", f"{bounded(target, 60)!r} is neither an address nor a network")
    return where


def checked(target: str, scenario: str, reason: str, mode: str, duration_s: float) -> Waiting:
    """An alert that LAPI can take; CrowdsecError names what is wrong."""
    where = place(target)
    if where[1] < WIDEST[where[0]]:
        raise CrowdsecError("bad_target", f"{spelled(where)} is too wide to be banned (at most /{WIDEST[where[0]]})")
    if mode not in _MODES:
        raise CrowdsecError("bad_mode", f"{bounded(mode, 20)!r} is none of {', '.join(_MODES)}")
    name = scenario.removeprefix(SCENARIOS)
    if not _SCENARIO.match(name):
        raise CrowdsecError("bad_scenario", f"{bounded(scenario, 60)!r} is no name of a scenario")
    if mode == "decision" and not 1 <= duration_s <= LONGEST_S:
        raise CrowdsecError("bad_duration", f"a ban lasts from 1 s to {LONGEST_S} s, not {duration_s:g} s")
    return Waiting(
        spelled(where), SCENARIOS + name, bounded(reason, 300) or name, mode, duration_s, 1, round(time.time(), 3)
    )


def scope_and_value(target: str) -> tuple[str, str]:
    """CrowdSec's scope and value of an address or network."""
    return ("Range" if "/" in target else "Ip"), target


def alert_json(alert: Waiting) -> dict[str, Any]:
    """One element of what `POST /v1/alerts` takes."""
    scope, value = scope_and_value(alert.target)
    # LAPI counts a decision's duration from stop_at: now, however long the alert waited.
    stop = _rfc3339(time.time())
    meta = {_MARK: alert.uuid, **alert.meta}
    wire: dict[str, Any] = {
        "scenario": alert.scenario,
        "scenario_hash": "",
        "scenario_version": "",
        "message": alert.reason,
        "capacity": 0,
        "leakspeed": "0",
        "simulated": False,
        "remediation": alert.mode != "record",
        "events_count": alert.events,
        "events": [{"timestamp": stop, "meta": [{"key": key, "value": value} for key, value in meta.items()]}],
        "source": {"scope": scope, "value": value, "range" if scope == "Range" else "ip": value},
        "start_at": _rfc3339(min(alert.started_at, time.time())),
        "stop_at": stop,
    }
    if alert.mode == "decision":
        wire["decisions"] = [
            {
                "origin": ORIGIN,
                "type": "ban",
                "scenario": alert.scenario,
                "scope": scope,
                "value": value,
                "duration": f"{max(int(alert.duration_s), 1)}s",
            }
        ]
    return wire


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def mark_of(found: dict[str, Any]) -> str:
    """The uuid that we had put into an alert; empty if it is not ours."""
    events = found.get("events")
    for event in events[:8] if isinstance(events, list) else ():
        meta = event.get("meta") if isinstance(event, dict) else None
        for pair in meta[:64] if isinstance(meta, list) else ():
            if isinstance(pair, dict) and pair.get("key") == _MARK:
                return bounded(pair.get("value"), 64)
    return ""


def decisions_in_force(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The decisions of an alert, as LAPI shows it, that hold now."""
    given = found.get("decisions")
    items = [item for item in given[:64] if isinstance(item, dict)] if isinstance(given, list) else []
    return [
        item
        for item in items
        if (go_duration_s(item.get("duration")) or 0) > 0 and address(item.get("value")) and not item.get("simulated")
    ]


def ban_of(item: dict[str, Any], alert_id: int) -> Ban:
    """A decision that `decisions_in_force` gave."""
    return Ban(
        spelled(place(item["value"])),
        alert_id,
        number(item.get("id")),
        bounded(item.get("type"), 32),
        bounded(item.get("scenario")),
        bounded(item.get("origin"), 64),
        round(time.time() + (go_duration_s(item.get("duration")) or 0), 3),
    )


def shown(item: dict[str, Any]) -> dict[str, Any]:
    """A decision for `bans`."""
    where = address(item.get("value"))
    return {
        "id": number(item.get("id")),
        "target": spelled(where) if where else bounded(item.get("value"), 64),
        "scope": bounded(item.get("scope"), 32),
        "type": bounded(item.get("type"), 32),
        "scenario": bounded(item.get("scenario")),
        "origin": bounded(item.get("origin"), 64),
        "until_at": round(time.time() + (go_duration_s(item.get("duration")) or 0), 3),
    }


def is_community(item: dict[str, Any]) -> bool:
    """True for a decision out of a subscribed list, of which there can be tens of thousands."""
    origin = bounded(item.get("origin"), 64).lower()
    return origin == "capi" or origin.startswith("lists")


def number(value: object) -> int:
    """A positive whole number of LAPI's, 0 if it is none."""
    return value if type(value) is int and 0 <= value < 1 << 53 else 0


def decoded(text: bytes) -> Any:
    """JSON, or None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def complaint(said: Any) -> str:
    """LAPI's own words about what it refused."""
    return (bounded(said.get("message"), 200) if isinstance(said, dict) else "") or "no reason given"


def token_lifetime_s(expire: object) -> float:
    """How long a token lasts; an hour at most, whatever the clocks of LAPI and router say."""
    try:
        ends = datetime.fromisoformat(expire if isinstance(expire, str) else "").timestamp()
    except (ValueError, OverflowError):
        return 3600.0
    return min(max(ends - time.time(), 60.0), 3600.0)
