"""Reading what Suricata and CrowdSec found."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from bench.peer_detectors import Alert, crowdsec_bans, suricata_alerts


def _event(xff: str = "", **more: object) -> str:
    alert = {"signature": "ET WEB_SERVER something", "severity": 1} | ({"xff": xff} if xff else {})
    return json.dumps({"event_type": "alert", "src_ip": "127.0.0.1", "in_iface": "lo", "alert": alert, **more})


def test_suricata_s_alerts_belong_to_who_is_told_in_x_forwarded_for() -> None:
    lines = [_event(xff="192.0.2.100"), _event(src_ip="192.0.2.101", in_iface="wan"), '{"event_type": "tls"}', '{"ev']
    lines.append(json.dumps({"event_type": "alert", "alert": {"signature": "no IP", "severity": 3}}))
    rule = "ET WEB_SERVER something"
    assert suricata_alerts(lines) == [
        Alert("192.0.2.100", "lo", rule, 1),
        Alert("192.0.2.101", "wan", rule, 1),
        Alert("", "", "no IP", 3),
    ]


def test_crowdsec_s_first_decision_on_an_address_counts(tmp_path: Path) -> None:
    database = tmp_path / "crowdsec.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE decisions (value TEXT, created_at TEXT)")
        connection.executemany(
            "INSERT INTO decisions VALUES (?, ?)",
            [
                ("192.0.2.100", "1970-01-01 00:00:20.5+00:00"),
                ("192.0.2.100", "1970-01-01 00:00:10.250000+00:00"),
                ("192.0.2.101", "1970-01-01 00:01:00+00:00"),
            ],
        )
    connection.close()
    assert crowdsec_bans(database) == {"192.0.2.100": 10.25, "192.0.2.101": 60.0}
