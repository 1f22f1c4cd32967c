"""WAF alerts on the engine's side: what the analyser says is checked as hostile, kept in SQLite, and told once."""

from __future__ import annotations

import ipaddress
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dpi_dual import retention
from dpi_dual.errors import QueryError
from dpi_dual.waf.verdict import CATEGORIES

#: What `waf-alerts.json` holds and `alerts` can show.
KEPT = 1000
STREAMS = 16
EVENTS = ("waf_alert", "waf_block", "scanner", "brute_force", "rate_limit")
MAX_RULES = 10
#: A page of alerts stays below what ubus carries.
PAGE_BYTES = 240 * 1024
#: An analyser's clock may be off by so much before its times are replaced by ours.
CLOCK_S = 3600.0

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z\-]{3,63}\Z")
_KNOWN = CATEGORIES | {"brute_force"}

Alert = dict[str, Any]


def _text(value: object, most: int) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(char if char.isprintable() else "." for char in value[:most])


def _whole(value: object, low: int, high: int) -> int:
    return min(max(value, low), high) if type(value) is int else low


def checked(given: Any, now: float) -> Alert | None:
    """An event as we keep it, with known keys and bounded values only; None if it cannot be one."""
    if not isinstance(given, dict):
        return None
    identity, ip = given.get("id"), given.get("client_ip")
    if not isinstance(identity, str) or not _ID.match(identity) or not isinstance(ip, str):
        return None
    try:
        address = ipaddress.ip_address(ip[:64])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    at: Any = given.get("at")
    # Compared before it is used in a sum: JSON's whole numbers may be too large for a float.
    if type(at) not in (int, float) or not now - CLOCK_S - 7 * 86_400 <= at <= now + CLOCK_S:
        at = now
    categories = given.get("categories")
    rules = given.get("rules")
    return {
        "id": identity,
        "request_id": _text(given.get("request_id"), 64),
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        "at": round(float(at), 3),
        "event": given.get("event") if given.get("event") in EVENTS else "waf_alert",
        "client_ip": str(address),
        "client_port": _whole(given.get("client_port"), 0, 65_535),
        "host": _text(given.get("host"), 255),
        "path": _text(given.get("path"), 512),
        "method": _text(given.get("method"), 32),
        "threat_score": _whole(given.get("threat_score"), 0, 100),
        "categories": [entry for entry in categories[:8] if isinstance(entry, str) and entry in _KNOWN]
        if isinstance(categories, list)
        else [],
        "blocked": given.get("blocked") is True,
        "rule": _text(given.get("rule"), 64),
        "place": _text(given.get("place"), 96),
        "tier": _text(given.get("tier"), 32),
        "rules": [
            {
                "rule": _text(rule.get("rule"), 64),
                "category": _text(rule.get("category"), 32),
                "place": _text(rule.get("place"), 96),
                "score": _whole(rule.get("score"), 0, 100),
            }
            for rule in rules[:MAX_RULES]
            if isinstance(rule, dict)
        ]
        if isinstance(rules, list)
        else [],
    }


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a page of alerts is narrowed to; empty means any."""

    id: str = ""
    """Of the alert or of its request: one request may have several alerts."""
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    category: str = ""
    rule: str = ""
    host: str = ""
    min_score: int = 0
    blocked: bool | None = None
    since: float = 0.0
    until: float = 0.0

    def fits(self, alert: Alert) -> bool:
        """Is it one of these?"""
        return (
            (not self.id or self.id in (alert["id"], alert["request_id"]))
            and (self.network is None or ipaddress.ip_address(alert["client_ip"]) in self.network)
            and (not self.category or self.category in alert["categories"])
            and (not self.rule or self.rule == alert["rule"] or any(self.rule == one["rule"] for one in alert["rules"]))
            and (not self.host or self.host.lower() == alert["host"].lower())
            and alert["threat_score"] >= self.min_score
            and (self.blocked is None or alert["blocked"] is self.blocked)
            and alert["at"] >= self.since
            and (not self.until or alert["at"] <= self.until)
        )


class Alerts:
    """The newest `KEPT` alerts, and up to which number each analyser's stream was taken."""

    def __init__(self, db: sqlite3.Connection, told: Callable[[Alert], None] | None = None) -> None:
        """`told` is called once for each new alert, after it is stored and before it is acknowledged."""
        self._db = db
        self._told = told
        self._last: dict[str, int] = {}
        self.changed = True
        self.failed = ""
        self.refused = 0
        self.repeated = 0
        self.taken = 0
        self.by_category: dict[str, int] = {}
        db.execute(
            "CREATE TABLE IF NOT EXISTS mitm_alerts (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL,"
            " client_ip TEXT NOT NULL, at REAL NOT NULL, alert TEXT NOT NULL)"
        )
        db.execute("CREATE INDEX IF NOT EXISTS mitm_alerts_client ON mitm_alerts (client_ip)")
        db.execute("CREATE TABLE IF NOT EXISTS mitm_streams (stream TEXT PRIMARY KEY, n INTEGER, at REAL)")
        self._last.update(db.execute("SELECT stream, n FROM mitm_streams").fetchall())

    def last(self, stream: str) -> int:
        """The number up to which a stream was taken."""
        return self._last.get(stream, 0)

    def take(self, stream: str, events: Iterable[Any], now: float | None = None) -> int:
        """Stores what is new; returns the number to acknowledge. What cannot be an event is counted and passed over."""
        now = time.time() if now is None else now
        last = self.last(stream)
        fresh: list[Alert] = []
        for given in events:
            number = given.get("n") if isinstance(given, dict) else None
            if type(number) is not int or not 0 < number < 1 << 53:
                self.refused += 1
                continue
            if number <= last:
                self.repeated += 1
                continue
            last = number
            alert = checked(given, now)
            if alert is None:
                self.refused += 1
            else:
                fresh.append(alert)
        self._last[stream] = last
        for alert in self._store(stream, last, fresh, now):
            self.taken += 1
            for category in alert["categories"]:
                self.by_category[category] = self.by_category.get(category, 0) + 1
            if self._told is not None:
                self._told(alert)
        return last

    def _store(self, stream: str, last: int, fresh: list[Alert], now: float) -> list[Alert]:
        """Those of `fresh` that were not known, all of them if the database cannot tell."""
        new: list[Alert] = []
        try:
            self._db.execute("BEGIN")
            try:
                for alert in fresh:
                    text = json.dumps(alert, separators=(",", ":"))
                    done = self._db.execute(
                        "INSERT OR IGNORE INTO mitm_alerts (id, client_ip, at, alert) VALUES (?, ?, ?, ?)",
                        (alert["id"], alert["client_ip"], alert["at"], text),
                    )
                    if done.rowcount:
                        new.append(alert)
                    else:
                        self.repeated += 1
                self._db.execute("INSERT OR REPLACE INTO mitm_streams VALUES (?, ?, ?)", (stream, last, now))
                self._db.execute("DELETE FROM mitm_alerts WHERE n <= (SELECT MAX(n) FROM mitm_alerts) - ?", (KEPT,))
                self._db.execute(
                    "DELETE FROM mitm_streams WHERE stream NOT IN"
                    " (SELECT stream FROM mitm_streams ORDER BY at DESC LIMIT ?)",
                    (STREAMS,),
                )
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self.failed = str(error)
            return fresh
        self.failed = ""
        self.changed = self.changed or bool(new)
        while len(self._last) > 4 * STREAMS:
            self._last.pop(next(iter(self._last)))
        return new

    def prune(self, now: float) -> None:
        """Forgets what is too old to be kept."""
        try:
            oldest = retention.oldest(self._db, "mitm_alerts", now)
            if oldest and self._db.execute("DELETE FROM mitm_alerts WHERE at < ?", (oldest,)).rowcount:
                self.changed = True
        except sqlite3.Error as error:
            self.failed = str(error)

    def file(self) -> Iterator[str]:
        """The content of `waf-alerts.json`: the JSON texts of the alerts, newest last."""
        self.changed = False
        for (text,) in self._db.execute("SELECT alert FROM mitm_alerts ORDER BY n"):
            yield text

    def page(self, limit: int = 50, before: str = "", wanted: Wanted | None = None) -> dict[str, Any]:
        """Alerts, newest first, and how many there are of those that are wanted."""
        if before and not (before.isascii() and before.isdigit() and len(before) < 19):
            raise QueryError("bad_page", "`before` must be the `next` of the page before it")
        mark = int(before) if before else 1 << 62
        narrowed = wanted is not None and wanted != Wanted()
        shown: list[Alert] = []
        answer: dict[str, Any] = {"alerts": shown, "total": 0 if narrowed else self.total()}
        # There are `KEPT` of them at most: reading all is quicker than an index for each filter is to keep.
        rows = self._db.execute(
            "SELECT n, alert FROM mitm_alerts WHERE n < ? ORDER BY n DESC LIMIT ?",
            (1 << 62, KEPT) if narrowed else (mark, limit + 1),
        )
        size = last = 0
        for number, text in rows:
            alert = json.loads(text)
            if wanted is not None and narrowed:
                if not wanted.fits(alert):
                    continue
                answer["total"] += 1
            if number >= mark or "next" in answer:
                continue
            size += len(text) + 1
            if len(shown) == limit or (shown and size > PAGE_BYTES):
                answer["next"] = str(last)
                continue
            shown.append(alert)
            last = number
        return answer

    def total(self) -> int:
        """How many are kept."""
        (count,) = self._db.execute("SELECT COUNT(*) FROM mitm_alerts").fetchone()
        return int(count)

    def of_address(self, ip: str, since: float, limit: int = 50) -> list[Alert]:
        """The alerts about an address, newest first."""
        rows = self._db.execute(
            "SELECT alert FROM mitm_alerts WHERE client_ip = ? AND at >= ? ORDER BY n DESC LIMIT ?", (ip, since, limit)
        )
        return [json.loads(text) for (text,) in rows]
