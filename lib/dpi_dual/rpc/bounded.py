"""What the Overview shows of lists and texts, cut to shares of one answer's size; needs no engine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Answer = dict[str, Any]

#: What a poll may weigh, whatever the names on the wire and however much is wrong; the shares below add up to less.
MOST_BYTES = 16 * 1024
PROBLEM_BYTES = 2400
DISTRIBUTION_BYTES = 540
THREAT_BYTES = 2900
OFFENDER_BYTES = 640
TYPE_BYTES = 260

PROBLEMS, NAMES, THREATS, OFFENDERS, TYPES = 8, 8, 10, 5, 6
HOURS = 25


def weight(value: object) -> int:
    """Bytes of a value as the control socket writes it (ASCII only: a character beyond it takes six)."""
    return len(json.dumps(value, separators=(",", ":")))


def cut(text: str, most: int) -> str:
    """As much of a text as fits into `most` bytes of JSON without its quotes; an ellipsis says that it was cut."""
    if weight(text) - 2 <= most:
        return text
    room, kept = most - weight("…") + 2, 0
    for char in text:
        room -= weight(char) - 2
        if room < 0:
            break
        kept += 1
    return text[:kept] + "…"


def within(rows: Iterable[Any], most: int, room: int) -> list[Any]:
    """The first rows, `most` of them at most, that together take `room` bytes or less."""
    kept: list[Any] = []
    for row in rows:
        room -= weight(row) + 1
        if len(kept) == most or room < 0:
            break
        kept.append(row)
    return kept


def largest(names: Mapping[str, int], most: int, room: int) -> dict[str, int]:
    """The largest entries of a mapping that fit."""
    ranked = sorted(names.items(), key=lambda item: (-item[1], item[0]))
    return dict(within(((cut(name, 40), number) for name, number in ranked), most, room))


def shown_problems(problems: Iterable[Mapping[str, Any]]) -> list[Answer]:
    """The worst, as far as there is room; `dpi.status health` has them whole."""
    rows = (
        {
            "code": cut(str(problem["code"]), 40),
            "severity": problem["severity"],
            "message": cut(str(problem["message"]), 320),
            "hint": cut(str(problem.get("hint", "")), 240),
        }
        for problem in problems
    )
    return within(rows, PROBLEMS, PROBLEM_BYTES)


def distribution(protocols: Mapping[str, tuple[int, int]], applications: Mapping[str, tuple[int, int]]) -> Answer:
    """The largest of each as rows `{name, bytes, flows}`, and what all together are, so that a share can be told."""

    def rows(names: Mapping[str, tuple[int, int]]) -> list[Answer]:
        ranked = sorted(names.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))
        made = ({"name": cut(name, 32), "bytes": size, "flows": flows} for name, (size, flows) in ranked)
        return within(made, NAMES, DISTRIBUTION_BYTES)

    return {
        "bytes": sum(size for size, _ in protocols.values()),
        "flows": sum(flows for _, flows in protocols.values()),
        "protocols": rows(protocols),
        "applications": rows(applications),
    }


_THREAT = ("id", "ip", "event_type", "threat_score", "reputation_score", "crowdsec_status", "state", "count", "last_at")


def threats(records: Iterable[Mapping[str, Any]]) -> list[Answer]:
    """Records as rows of a table; `dpi.correlator context` has them whole."""
    rows = (
        {
            **{key: record[key] for key in _THREAT},
            "kind": record.get("kind", "remote"),
            "reason": cut(str(record["reason"]), 96),
            # A LAN client goes by its MAC, whatever its addresses.
            **({"actor": record["actor"]} if record.get("kind") == "client" else {}),
        }
        for record in records
        if all(key in record for key in (*_THREAT, "reason"))  # a file may be of an older version
    )
    return within(rows, THREATS, THREAT_BYTES)


def scorecard(card: Mapping[str, Any]) -> Answer:
    """The day's threat picture, at most: worst offenders, commonest types and categories, events by the hour."""
    offenders = (
        {
            "actor": cut(str(row["actor"]), 48),
            "ip": row["ip"],
            "score": row["score"],
            "threats": row["threats"],
            "last_event": row["last_event"],
        }
        for row in card["offenders"]
    )
    trend = sorted((int(row["at"]), int(row["events"])) for row in card["trend"])[-HOURS:]
    return {
        "level": card["level"],
        "events": card["events"],
        "open": card["open"],
        "banned": card["banned"],
        "types": largest(card["types"], TYPES, TYPE_BYTES),
        "categories": largest(card["categories"], TYPES, TYPE_BYTES),
        "offenders": within(offenders, OFFENDERS, OFFENDER_BYTES),
        "step_s": card["step_s"],
        "trend_at": trend[0][0] if trend else 0,
        "trend": [events for _, events in trend],
    }
