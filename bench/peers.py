"""The suite beside programs that do parts of its work: nlbwmon, ntopng, Suricata, CrowdSec, on the same lab's traffic.

Taken only when asked for (`make bench ROW=peers`), with those that are installed; nothing is installed or built. Each
peer has a run of the lab of its own, beside the suite; what both are asked is what the peer is for. docs/peers.md has
what came of it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.peer_detectors import Crowdsec, Suricata, crowdsec_bans, suricata_alerts
from bench.peer_figures import NOBODY, Bytes, Lines, banned, grown, seen, unattributed, unseen, worst_error
from bench.peer_lab import AGENT, ENGINE, PROXY, ROOT, Meter, PeerLab, PeerLabError, Spent, quiet, running_lab, wait_for
from bench.peer_programs import PROGRAMS, Nlbwmon, Ntopng, Peer, missing
from bench.rollcall import PROBES
from bench.row import NotHere, Row
from lab.network import CLIENT_MACS

#: How long the LAN's clients make traffic, and how long figures may go on moving afterwards.
TRAFFIC_S = 60.0
STILL_S, SETTLE_S = 35.0, 120.0
VISIBLE_S = 90.0
ROLLCALL_S = 900.0

#: Alerts of less weight tell of oddities in protocols, not of attacks.
SEVERITY = 2

AnyPeer = TypeVar("AnyPeer", bound=Peer)


@contextmanager
def _running(kind: type[AnyPeer]) -> Iterator[tuple[PeerLab, AnyPeer]]:
    """A lab with that peer in its router."""
    with running_lab() as lab:
        peer = kind(lab)
        try:
            peer.launch()
            yield lab, peer
        finally:
            peer.stop()


def _say(text: str) -> None:
    print(f"    {text}", file=sys.stderr, flush=True)


# --- what the LAN's clients transfer


@dataclass(frozen=True, slots=True)
class LanFound:
    wire: Bytes
    ours: Bytes
    theirs: Bytes
    visible_s: dict[str, float]
    """After how many seconds of traffic something showed."""
    spent: dict[str, Spent]


def _watch_lan(lab: PeerLab, peer: Nlbwmon | Ntopng) -> LanFound:
    """Traffic for a while; what the router's ports, the suite and the peer have counted of it."""
    count = peer.client_bytes
    quiet(lambda: sum(lab.own_bytes().values()), 12, SETTLE_S)
    before = lab.port_bytes(), lab.own_bytes(), count()
    flows, newest = peer.flows(), lab.newest_flow()
    looks: dict[str, Callable[[], bool]] = {
        "our bytes": lambda: any(grown(before[1], lab.own_bytes()).values()),
        "our flows": lambda: lab.newest_flow() > newest,
        "their bytes": lambda: any(grown(before[2], count()).values()),
        "their flows": lambda: peer.flows() > flows,
    }
    meter = Meter(engine=lab.pids(ENGINE), agent=lab.pids(AGENT), peer=peer.pids)
    began = time.monotonic()
    lab.traffic("start")
    wait_for("the first bytes", lambda: lab.port_bytes() != before[0], 30, 0.1)
    first = time.monotonic()
    visible: dict[str, float] = {}
    while time.monotonic() - began < TRAFFIC_S or len(visible) < len(looks):
        for name, shows in looks.items():
            if name not in visible and shows():
                visible[name] = time.monotonic() - first
        if time.monotonic() - first > VISIBLE_S:
            break
        time.sleep(0.2)
    lab.traffic("stop")
    took = meter.read()
    quiet(lambda: (lab.own_bytes(), count()), STILL_S, SETTLE_S)
    after = lab.port_bytes(), lab.own_bytes(), count()
    wire, ours, theirs = (grown(then, now) for then, now in zip(before, after, strict=True))
    for name, mac in CLIENT_MACS.items():
        _say(f"{name}: {wire[mac]:,} bytes on the wire, {ours.get(mac, 0):,} by us, {theirs.get(mac, 0):,} by the peer")
    return LanFound(wire, ours, theirs, {name: visible.get(name, VISIBLE_S) for name in looks}, took)


def _lan_rows(name: str, found: LanFound) -> list[Row]:
    shown = found.visible_s
    ours, theirs = worst_error(found.ours, found.wire), worst_error(found.theirs, found.wire)
    known = {mac: count for mac, count in found.theirs.items() if mac in (*CLIENT_MACS.values(), *NOBODY)}
    return [
        Row(
            *(f"{name}: bytes of a client, worst error", ours, "%", theirs),
            *("≤ the peer's, or 0.5", ours <= max(theirs, 0.5), 1, name),
        ),
        Row(f"{name}: bytes of no known device", unattributed(found.ours), "%", unattributed(known), "", True, 1, name),
        *(
            Row(
                *(f"{name}: {what} show after", shown[f"our {what}"], "s", shown[f"their {what}"]),
                *("", True, 1, name),
            )
            for what in ("flows", "bytes")
        ),
        *_cost_rows(name, found.spent, (ENGINE,)),
    ]


def _cost_rows(name: str, took: dict[str, Spent], ours: tuple[str, ...]) -> list[Row]:
    peer = took["peer"]
    sums = sum(took[part].rss_mib for part in ours), sum(took[part].cpu_percent for part in ours)
    told = " and ".join(ours)
    rows = [
        Row(f"{name}: memory, {told}", sums[0], "MiB", peer.rss_mib, "", True, 1, name),
        Row(f"{name}: processor, {told}", sums[1], "% of a core", peer.cpu_percent, "", True, 1, name),
    ]
    each = (f"{part} {one.rss_mib:.0f} MiB, {one.cpu_percent:.1f} %" for part, one in took.items())
    _say(f"{'; '.join(each)} of a core (agent: the lab's stand-in for netifyd)")
    return rows


def _nlbwmon() -> list[Row]:
    with _running(Nlbwmon) as (lab, peer):
        return _lan_rows("nlbwmon", _watch_lan(lab, peer))


def _ntopng() -> list[Row]:
    with _running(Ntopng) as (lab, peer):
        rows = _lan_rows("ntopng", _watch_lan(lab, peer))
        ours = {row["application"] for row in lab.rows("dpi.lan", "applications", "applications")}
        ours |= {row["protocol"] for row in lab.rows("dpi.lan", "protocols", "protocols")}
        theirs = peer.applications()
        _say(f"we name {', '.join(sorted(ours))}; ntopng {', '.join(sorted(theirs))}")
        rows.append(
            Row("ntopng: protocols and applications named", len(ours), "names", len(theirs), "", True, 1, "ntopng")
        )
        return rows


# --- what visitors ask of the published services


def _roll_call(lab: PeerLab, *arguments: str) -> Any:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'lib'}"}
    command = [sys.executable, "-m", "bench.rollcall", "--ca", str(lab.files / "ca.crt"), *arguments]
    said = (lab.directory / "rollcall.jsonl").open("w+b")
    return lab.popen("internet", command, stdout=said, env=environment, cwd=ROOT), said


def _answers(process: Any, said: Any) -> Lines:
    try:
        code = process.wait(ROLLCALL_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    said.seek(0)
    lines = [json.loads(line) for line in said]
    said.close()
    if code:
        raise PeerLabError(f"the roll call ended with {code}")
    return lines


def _call_all(lab: PeerLab, *arguments: str) -> Lines:
    lines = _answers(*_roll_call(lab, *arguments))
    failed = [line for line in lines if "error" in line]
    _say(f"{len(lines)} visits, {len(failed)} of them failed" + (f": {failed[0]['error']}" if failed else ""))
    # Buffer B judges in full what Buffer A has let pass.
    quiet(lambda: lab.call("dpi.status", "buffer")["threats_detected"], 5, SETTLE_S)
    return lines


def _our_alerts(lab: PeerLab) -> set[str]:
    return {row["client_ip"] for row in lab.rows("dpi.status", "alerts", "alerts")}


def _until_alert(lab: PeerLab, looks: dict[str, Callable[[], set[str]]]) -> dict[str, float]:
    """Seconds from the beginning of an attack's connection until an alert can be read; the median."""
    process, said = _roll_call(lab, "--probe")
    first: dict[tuple[str, str], float] = {}
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        for name, look in looks.items():
            for ip in look():
                first.setdefault((name, ip), time.time())
        time.sleep(0.01)
    at = {line["ip"]: line["at"] for line in _answers(process, said)}
    found = {}
    for name in looks:
        took = [when - at[ip] for (who, ip), when in first.items() if who == name and ip in at]
        if took:
            found[name] = statistics.median(took)
    return found


def _newest_alerts(lab: PeerLab) -> Callable[[], set[str]]:
    return lambda: {row["client_ip"] for row in lab.call("dpi.status", "alerts", limit=10)["alerts"]}


def _waf_rows(name: str, ours: tuple[float, float], theirs: tuple[float, float]) -> list[Row]:
    return [
        Row(f"{name}: attacks seen", ours[0], "ratio", theirs[0], "≥ the peer's", ours[0] >= theirs[0], 1, name),
        Row(f"{name}: ordinary visits taken for attacks", ours[1], "ratio", theirs[1], "", True, 1, name),
    ]


def _suricata() -> list[Row]:
    with _running(Suricata) as (lab, peer):
        lab.watch_only()
        lab.traffic("start")
        meter = Meter(engine=lab.pids(ENGINE), proxy=lab.pids(PROXY), peer=peer.pids)
        lines = _call_all(lab)
        took = meter.read()
        grave = [alert for alert in peer.alerts() if alert.severity <= SEVERITY]
        ours = _our_alerts(lab)
        plain = {alert.ip for alert in grave if alert.interface == "lo"}
        hidden = {alert.ip for alert in grave if alert.interface != "lo"}
        rules = Counter(alert.rule for alert in grave if alert.interface == "lo")
        _say(f"{len(rules)} rules of Suricata's hit: " + "; ".join(f"{n} {rule}" for rule, n in rules.most_common(6)))
        _say(f"not seen by us: {unseen(lines, ours)}")
        _say(f"not seen by Suricata where requests are plain: {unseen(lines, plain)}")
        rows = _waf_rows("Suricata on the WAN", seen(lines, ours), seen(lines, hidden))
        rows += _waf_rows("Suricata after decryption", seen(lines, ours), seen(lines, plain))
        lab.traffic("stop")
        with peer.events.open(errors="replace") as events:
            events.seek(0, 2)
            delays = _until_alert(
                lab,
                {
                    "ours": _newest_alerts(lab),
                    "theirs": lambda: {alert.ip for alert in suricata_alerts(events)},
                },
            )
        if "ours" in delays:
            name, beside = "Suricata: attack to alert, median", delays.get("theirs")
            theirs = None if beside is None else 1000 * beside
            rows.append(Row(name, 1000 * delays["ours"], "ms", theirs, "", True, PROBES, "Suricata, after decryption"))
        return rows + _cost_rows("Suricata", took, ("engine", "proxy"))


def _crowdsec() -> list[Row]:
    with _running(Crowdsec) as (lab, peer):
        lab.watch_only()
        lab.traffic("start")
        meter = Meter(engine=lab.pids(ENGINE), proxy=lab.pids(PROXY), peer=peer.pids)
        lines = _call_all(lab, "--access-log", str(peer.access_log))
        quiet(peer.bans, 5, SETTLE_S)
        took = meter.read()
        bans = peer.bans()
        ours, theirs = banned(lines, crowdsec_bans(lab.files / "crowdsec" / "crowdsec.db")), banned(lines, bans)
        _say(f"requests until the ban: {ours.requests} by us, {theirs.requests} by CrowdSec")
        rows = _waf_rows("CrowdSec alone", seen(lines, _our_alerts(lab)), seen(lines, bans))
        rows += [
            Row(
                *("CrowdSec alone: attackers banned", ours.attackers, "ratio", theirs.attackers),
                *("≥ the peer's", ours.attackers >= theirs.attackers, 1, "CrowdSec alone"),
            ),
            Row(
                *("CrowdSec alone: people banned", ours.people, "ratio", theirs.people),
                *("≤ the peer's", ours.people <= theirs.people, 1, "CrowdSec alone"),
            ),
        ]
        through = statistics.mean(ours.requests.values()), statistics.mean(theirs.requests.values())
        rows.append(
            Row(
                *("CrowdSec alone: requests until the ban, mean", through[0], "requests", through[1]),
                *("≤ the peer's", through[0] <= through[1], len(ours.requests), "CrowdSec alone"),
            )
        )
        if ours.seconds is not None:
            name = "CrowdSec alone: first attack to ban, of those banned"
            rows.append(Row(name, ours.seconds, "s", theirs.seconds, "", True, 1, "CrowdSec alone"))
        return rows + _cost_rows("CrowdSec alone", took, ("engine", "proxy"))


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "nlbwmon": _nlbwmon,
    "ntopng": _ntopng,
    "suricata": _suricata,
    "crowdsec": _crowdsec,
}


def measure(names: Iterable[str] = tuple(PROGRAMS)) -> list[Row]:
    """Those that are installed; the others, and one that failed, are named."""
    rows: list[Row] = []
    lacking = []
    for name in names:
        if why := missing(name):
            lacking.append(why)
            _say(why)
            continue
        _say(f"{name}, with a lab of its own …")
        try:
            rows += MEASURES[name]()
        except (PeerLabError, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            lacking.append(f"{name}: {type(error).__name__}: {error}")
            _say(f"not measured: {lacking[-1]}")
    if not rows:
        raise NotHere("; ".join(lacking))
    return rows


if __name__ == "__main__":
    from bench.__main__ import table

    print(table(measure(sys.argv[1:] or tuple(PROGRAMS))))
