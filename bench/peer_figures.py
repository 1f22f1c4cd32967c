"""What is made of what was counted, alerted and banned: pure figures, for the comparison with the peers."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: A line a visit, as `bench.rollcall` prints them.
Lines = list[dict[str, Any]]

#: By MAC address.
Bytes = Mapping[str, int]

#: What stands for a MAC address that is not known.
NOBODY = ("", "00:00:00:00:00:00")


def grown(before: Bytes, after: Bytes) -> dict[str, int]:
    """What was added since."""
    return {mac: count - before.get(mac, 0) for mac, count in after.items()}


def worst_error(counted: Bytes, wire: Bytes) -> float:
    """How far off the worst counted client is, in percent of what its interface carried."""
    return max(100 * abs(counted.get(mac, 0) - there) / there for mac, there in wire.items() if there)


def unattributed(counted: Bytes) -> float:
    """Percent of the bytes that are of no known device."""
    total = sum(counted.values())
    return 100 * sum(count for mac, count in counted.items() if mac in NOBODY) / total if total else 0.0


def share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def seen(lines: Lines, alerted: Iterable[str]) -> tuple[float, float]:
    """Attacks that were seen, and ordinary visits that were taken for attacks, each as a share of those made once."""
    ips = set(alerted)
    once = [line for line in lines if line["group"] == "once" and line["statuses"]]
    counts = []
    for attack in (True, False):
        chosen = [line for line in once if line["attack"] is attack]
        counts.append(share(sum(line["ip"] in ips for line in chosen), len(chosen)))
    return counts[0], counts[1]


def unseen(lines: Lines, alerted: Iterable[str]) -> dict[str, int]:
    """Attacks that nobody saw, by kind."""
    ips = set(alerted)
    found: dict[str, int] = defaultdict(int)
    for line in lines:
        if line["group"] == "once" and line["attack"] and line["ip"] not in ips:
            found[line["kind"]] += 1
    return dict(found)


@dataclass(frozen=True, slots=True)
class Banned:
    """Who went on attacking and was banned; who only browsed and was."""

    attackers: float
    people: float
    seconds: float | None
    """From the first request to the ban, in the middle of those that were banned."""
    requests: dict[str, int]
    """By what an attacker tried: the requests he made until then; all of them if he was not banned."""


def banned(lines: Lines, bans: Mapping[str, float]) -> Banned:
    times: dict[str, list[float]] = defaultdict(list)
    attackers: dict[str, bool] = {}
    kinds: dict[str, str] = {}
    for line in lines:
        attackers[line["ip"]] = line["attack"]
        if line["group"] == "again":
            times[line["ip"]].append(line["at"])
            kinds[line["ip"]] = line["kind"]
    bad = [ip for ip in times if attackers[ip]]
    people = [ip for ip, attack in attackers.items() if not attack]
    took = [bans[ip] - times[ip][0] for ip in bad if ip in bans]
    return Banned(
        share(len(took), len(bad)),
        share(sum(ip in bans for ip in people), len(people)),
        statistics.median(took) if took else None,
        {kinds[ip]: sum(at <= bans.get(ip, at) for at in times[ip]) for ip in bad},
    )
