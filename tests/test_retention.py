"""Records about people end by age where their number does not end them, and a wrong clock ends none."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest

from dpi_dual import retention
from dpi_dual.correlation.records import timestamp
from dpi_dual.correlation.store import Store
from dpi_dual.mitm.alerts import Alerts

DAY = 86_400.0
NOW = 1_800_000_000.0


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


def test_once_a_day_and_never_on_the_first_of_a_clock(db: sqlite3.Connection) -> None:
    assert retention.oldest(db, "x", NOW) == 0
    assert retention.oldest(db, "x", NOW + 60) == 0
    assert retention.oldest(db, "x", NOW + DAY) == NOW + DAY - retention.KEPT_DAYS * DAY
    assert retention.oldest(db, "x", NOW + DAY + 60) == 0
    years_ahead = NOW + 3000 * DAY
    assert retention.oldest(db, "x", years_ahead) == 0
    assert retention.oldest(db, "x", NOW + 2 * DAY) == 0
    assert retention.oldest(db, "x", NOW + 3 * DAY) > 0
    assert retention.oldest(db, "y", NOW + 3 * DAY) == 0


def test_alerts_threats_and_notifications_end(db: sqlite3.Connection) -> None:
    alerts, store = Alerts(db), Store(db)
    ages = (200, 91, 1)
    for number, days in enumerate(ages):
        at = NOW - days * DAY
        event = {"n": number + 1, "id": f"000{number}", "client_ip": "198.51.100.7", "at": at}
        alerts.take("s", [event], now=at)
        store.add_notification({"timestamp": timestamp(at), "ip": "198.51.100.7"})
        db.execute(
            "INSERT INTO correlation_threats (at, last_at, actor, packed, event_type, rule, score, count, state,"
            " crowdsec, before, after, community_id, body, context)"
            " VALUES (?, ?, '198.51.100.7', x'00', 'manual', '', 1, 1, 'new', '', 0, 0, '',"
            ' \'{"ip":"198.51.100.7","reason":""}\', \'{}\')',
            (at, at),
        )
    for now in (NOW - DAY, NOW):
        alerts.prune(now)
        store.prune(now)
    assert [row["id"] for row in alerts.page()["alerts"]] == ["0002"]
    assert store.kept().records == len(store.notifications()) == 1


def test_a_database_that_refuses_is_told(db: sqlite3.Connection) -> None:
    alerts = Alerts(db)
    db.execute("PRAGMA query_only = 1")
    alerts.prune(NOW)
    assert "readonly" in alerts.failed
