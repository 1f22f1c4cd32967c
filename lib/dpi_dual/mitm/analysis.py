"""Analyses copies of requests beside the live path: ring, deep tier, behaviour, anomaly, and the events they give."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dpi_dual.mitm import event
from dpi_dual.mitm.anomaly import Anomaly, Features, Place, features, place_of
from dpi_dual.mitm.behaviour import LIMIT_S, MAX_CLIENTS, Behaviour, Finding
from dpi_dual.mitm.forensic import ForensicLog
from dpi_dual.mitm.judge import merged
from dpi_dual.mitm.policy import Policy
from dpi_dual.mitm.record import WEBSOCKET, Record
from dpi_dual.mitm.redact import is_redacted, redacted
from dpi_dual.mitm.ring import Entry, Ring
from dpi_dual.mitm.seal import Seal
from dpi_dual.mitm.spool import Spool
from dpi_dual.waf.verdict import Hit, Verdict

#: Copies that wait for the deep tier; beyond it the oldest keep their quick verdict.
BACKLOG, BACKLOG_BYTES = 1_000, 16 * 1024 * 1024
#: How long after an anomaly the next of the same client at the same place is told; how many pairs are remembered.
ANOMALY_AGAIN_S, ANOMALIES = 60.0, 2_000
TOP_HOSTS = 10
#: Addresses that wait for a second look at their requests, and how long after one the next may come.
SUSPECTS, SUSPECT_AGAIN_S = 32, 300.0

NOTHING = Verdict(0, (), (), False, False, "none")

#: What the addon counts; the names it may send.
ADDON_COUNTERS = (
    "requests",
    "blocked",
    "limited",
    "misdirected",
    "dropped",
    "dropped_alerts",
    "errors",
    "websocket_messages",
    "modify_skipped",
    "analyser_restarts",
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A copy whose turn in the deep tier is to come."""

    record: Record
    entry: Entry


class Analysis:
    """Works on copies one after another; `limit(ip, until)` is called for a client that asks for too much."""

    def __init__(
        self,
        folder: int,
        key: bytes,
        policy: Policy,
        limit: Callable[[str, float], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`folder` is a descriptor of the buffer directory, which stays the caller's."""
        self._key = key
        self._limit = limit
        self._clock = clock
        self.policy = policy
        self.started_at = clock()
        seal = self._seal(policy)
        mitm = policy.mitm
        self.ring = Ring(folder, seal, mitm.buffer_size, mitm.buffer_retention)
        self.spool = Spool(folder, seal)
        self.forensic = ForensicLog(folder, seal, mitm.buffer_retention)
        self.behaviour = Behaviour()
        self.anomaly = Anomaly()
        self.tier = ""
        """What the deep tier runs: crs or builtin; empty before it does."""
        self.problem = ""
        self.anomaly_problem = ""
        """Why the better of the two anomaly models is not used although its library is there."""
        self._anomalies: OrderedDict[tuple[str, Place], float] = OrderedDict()
        self._backlog: deque[Waiting] = deque()
        self._backlog_bytes = 0
        self.addon: dict[str, int] = dict.fromkeys(ADDON_COUNTERS, 0)
        self._counters = Counter[str]()
        self._distribution = Counter[str]()
        self.suspects: deque[str] = deque()
        self._looked_at: dict[str, float] = {}
        self._threats = 0
        self._prepare()

    def _seal(self, policy: Policy) -> Seal:
        return Seal(self._key if policy.mitm.encrypt_buffer else None)

    def _prepare(self) -> None:
        self.ring.grave_score = self.policy.mitm.block_threshold

    def reconfigure(self, policy: Policy) -> None:
        """Works by another policy from now on; what is buffered stays, as far as the new bounds allow."""
        old, self.policy = self.policy.mitm, policy
        mitm = policy.mitm
        self.ring.size, self.ring.retention_s = mitm.buffer_size, mitm.buffer_retention
        self.forensic.retention_s = mitm.buffer_retention
        if mitm.encrypt_buffer != old.encrypt_buffer:
            seal = self._seal(policy)
            self.ring.reseal(seal)
            self.spool.reseal(seal)
            self.forensic.seal = seal
        self._prepare()

    # --- what comes from the addon

    def request(self, record: Record) -> bool:
        """A copy: kept at once without its secrets, analysed when its turn comes, at once if it was found guilty.

        True when what was found is safely noted, so that the addon need not keep it.
        """
        now = self._clock()
        quick = record.quick
        guilty = record.blocked or (quick is not None and quick.alert)
        known = self.ring.get(record.id)
        if known is not None and known.alert:
            return True  # told again after a restart of ours
        entry = self.ring.put(redacted(record, self.policy.mitm.redact_headers), now)
        self._counters["analysed_requests"] += 1
        if record.method != WEBSOCKET:
            for finding in self.behaviour.request(record.client_ip, now):
                self._found(entry, finding, now)
        if guilty or not self.policy.mitm.async_analysis:
            self._conclude(record, entry, quick, None)
        if self.policy.mitm.async_analysis:
            self._wait(Waiting(record, entry))
        return guilty

    def _wait(self, waiting: Waiting) -> None:
        self._backlog.append(waiting)
        self._backlog_bytes += len(waiting.record.body)
        while len(self._backlog) > BACKLOG or self._backlog_bytes > BACKLOG_BYTES:
            self._backlog_bytes -= len(self._backlog.popleft().record.body)
            self._counters["analysis_skipped"] += 1

    def response(self, head: dict[str, Any]) -> None:
        """How a request was answered; found by its id."""
        entry = self.ring.get(str(head.get("id")))
        if entry is None:
            self._counters["responses_unmatched"] += 1
            return
        now = self._clock()
        status = int(head.get("status", 0))
        self.ring.update(
            entry,
            now,
            status=status,
            response_size=int(head.get("size", 0)),
            response_type=str(head.get("type", ""))[:64],
            latency_ms=float(head.get("latency_ms", 0.0)),
        )
        if not entry.blocked:
            for finding in self.behaviour.response(entry.client_ip, entry.host, entry.path, status, now):
                self._found(entry, finding, now)
        self._learn(entry)

    def addon_counters(self, head: dict[str, Any]) -> None:
        """The addon's own figures, cumulative."""
        for name in ADDON_COUNTERS:
            value = head.get(name)
            if type(value) is int and value >= 0:
                self.addon[name] = value

    # --- the deep tier

    def take(self) -> Waiting | None:
        """The next copy for the deep tier; None when none waits."""
        if not self._backlog:
            return None
        waiting = self._backlog.popleft()
        self._backlog_bytes -= len(waiting.record.body)
        return waiting

    def finish(self, waiting: Waiting, deep: Verdict | None) -> None:
        """What the deep tier made of a copy; None if it could not judge it."""
        self._conclude(waiting.record, waiting.entry, waiting.record.quick, deep)

    def _conclude(self, record: Record, entry: Entry, quick: Verdict | None, deep: Verdict | None) -> None:
        mitm = self.policy.mitm
        verdicts = [verdict for verdict in (quick, deep) if verdict is not None]
        verdict = merged(verdicts, block_threshold=mitm.block_threshold) if verdicts else NOTHING
        place = place_of(record.method, record.host, record.path)
        anomaly = 0
        if mitm.async_analysis:
            entry.features = features(record.request())
            anomaly = self.anomaly.score(place, entry.features)
        told = entry.alert
        now = self._clock()
        self.ring.update(
            entry,
            now,
            score=verdict.score,
            categories=verdict.categories,
            rules=tuple(f"{hit.rule} {hit.place}" for hit in verdict.rules[: event.MAX_RULES]),
            alert=verdict.alert or entry.blocked,
            anomaly=anomaly,
        )
        if entry.alert and not told:
            self._alert(event.of_verdict(entry, verdict, verdict.score))
            self._suspect(entry.client_ip, now)
            for finding in self.behaviour.attacked(entry.client_ip, verdict.categories, now):
                self._found(entry, finding, now)
        elif anomaly >= mitm.alert_threshold and not told:
            self._anomalous(entry, place, min(anomaly, max(mitm.block_threshold - 1, 1)), now)
        if verdict.rules or anomaly:
            self._log(record, entry, verdict, anomaly, now)
        if entry.status:
            self._learn(entry)

    def _anomalous(self, entry: Entry, place: Place, score: int, now: float) -> None:
        """Tells of an anomaly, with a score below what would block; a client that repeats itself is told once."""
        key = (entry.client_ip, place)
        if now - self._anomalies.get(key, -ANOMALY_AGAIN_S) < ANOMALY_AGAIN_S:
            self._counters["anomalies_repeated"] += 1
            return
        self._anomalies[key] = now
        self._anomalies.move_to_end(key)
        if len(self._anomalies) > ANOMALIES:
            self._anomalies.popitem(last=False)
        self._alert(event.of_anomaly(entry, score))

    def _learn(self, entry: Entry) -> None:
        """An ordinary request, once it was both analysed and answered."""
        if entry.features and not entry.alert and 0 < entry.status < 400:
            self.anomaly.learn(place_of(entry.method, entry.host, entry.path), Features(*entry.features))
        if entry.status:
            entry.features = ()

    # --- events

    def _suspect(self, ip: str, now: float) -> None:
        """An address whose earlier requests deserve a second look, now and then."""
        if not self.policy.mitm.replay_on_alert or now - self._looked_at.get(ip, 0.0) < SUSPECT_AGAIN_S:
            return
        if len(self.suspects) < SUSPECTS:
            self._looked_at[ip] = now
            if len(self._looked_at) > MAX_CLIENTS:
                self._looked_at.pop(next(iter(self._looked_at)))
            self.suspects.append(ip)

    def second_look(self, ip: str, answer: dict[str, Any]) -> None:
        """Notes what the stricter rules say of an address's earlier requests: for a person to weigh, not to act on."""
        self._counters["second_looks"] += 1
        now = self._clock()
        changed = [{"id": row["id"], "after": row["after"]} for row in answer["changed"]]
        self.forensic.write({"second_look": ip, "at": now, "requests": answer["requests"], "changed": changed}, now)

    def _found(self, entry: Entry, finding: Finding, now: float) -> None:
        self._alert(event.of_finding(entry, finding))
        self.forensic.write(
            {"id": entry.id, "at": now, "client_ip": entry.client_ip, "finding": finding.rule, "count": finding.count},
            now,
        )
        if finding.kind == "rate_limit":
            self._limit(entry.client_ip, now + LIMIT_S)

    def _alert(self, alert: dict[str, Any]) -> None:
        self._threats += 1
        self._distribution.update(alert["categories"])
        self.spool.add(alert)

    def _log(self, record: Record, entry: Entry, verdict: Verdict, anomaly: int, now: float) -> None:
        stored = redacted(record, self.policy.mitm.redact_headers).redacted
        self.forensic.write(
            {
                **entry.summary(),
                "tier": verdict.tier,
                "hits": [_logged(hit, stored) for hit in verdict.rules[: event.MAX_RULES]],
                "anomaly": anomaly,
            },
            now,
        )

    # --- figures

    def tick(self) -> None:
        """Lets go of what is too old."""
        now = self._clock()
        self.ring.expire(now)
        self.forensic.expire(now)

    def figures(self) -> dict[str, Any]:
        """What the engine shows: the keys of `dpi-buffer.json`, and the counters."""
        mitm = self.policy.mitm
        return {
            "entries": len(self.ring),
            "max_size": self.ring.size,
            "requests_total": self.addon["requests"],
            "threats_detected": self._threats,
            "blocked_count": self.addon["blocked"],
            "high_threat_in_buffer": self.ring.totals.grave,
            "threat_distribution": dict(self._distribution.most_common(32)),
            "top_hosts": {
                event.printable(host, 255): count for host, count in self.ring.totals.hosts.most_common(TOP_HOSTS)
            },
            "analysis_enabled": mitm.async_analysis,
            "replay_enabled": mitm.replay_on_alert,
            "blocking": mitm.block_threats,
            "tier": self.tier,
            "anomaly_model": self.anomaly.model,
            "waiting": len(self._backlog),
            "unreported": len(self.spool),
        }

    def counters(self) -> dict[str, int]:
        """Drops and oddities of addon and analyser."""
        own = ("analysed_requests", "analysis_skipped", "responses_unmatched", "second_looks", "anomalies_repeated")
        return {
            **{f"addon_{name}": value for name, value in self.addon.items()},
            **{name: self._counters[name] for name in own},
            **self.ring.counters(),
            **self.spool.counters(),
            **self.forensic.counters(),
            **self.behaviour.counters(),
        }

    def problems(self) -> list[dict[str, str]]:
        """What an owner should know; the engine words nothing of it anew."""
        found = []
        if self.problem:
            found.append({"code": "mitm_rules", "message": self.problem})
        if self.anomaly_problem:
            found.append({"code": "mitm_anomaly_model", "message": self.anomaly_problem})
        if self.ring.full:
            found.append({"code": "mitm_buffer_full", "message": f"the buffer cannot be written: {self.ring.full}"})
        return found

    def close(self) -> None:
        """Closes the files; they stay."""
        self.ring.close()
        self.spool.close()


def _logged(hit: Hit, redacted_places: tuple[str, ...]) -> dict[str, Any]:
    secret = is_redacted(hit.place, redacted_places)
    shown = {"rule": hit.rule, "category": hit.category, "place": hit.place, "score": hit.score}
    return shown if secret else {**shown, "matched": hit.matched}
