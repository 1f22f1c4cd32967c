"""The alerts that the engine keeps: paged, bounded, none lost to a full database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpi_dual.errors import QueryError
from tests.mitm.feeder import Engine

Make = Callable[..., Engine]


def test_alerts_are_paged_and_bounded(engine: Make) -> None:
    one = engine()
    event: dict[str, Any] = {"client_ip": "192.0.2.1", "path": "/\x1b[2J" + "x" * 9999, "categories": ["sqli", "evil"]}
    last = one.link.store.take("s", [{"n": n, "id": f"id{n:06}", "at": 1e18, **event} for n in range(1, 1205)])
    assert last == 1204
    assert one.link.store.take("s", [{"n": 1204, "id": "id-other", **event}]) == 1204
    assert len(one.told) == 1204
    assert one.link.store.total() == 1000
    seen, before = [], ""
    while True:
        page = one.link.alerts(limit=300, before=before)
        seen += page["alerts"]
        before = page.get("next", "")
        if not before:
            break
    assert [alert["id"] for alert in seen] == [f"id{n:06}" for n in range(1204, 204, -1)]
    assert len(seen[0]["path"]) == 512
    assert "\x1b" not in seen[0]["path"]
    assert seen[0]["categories"] == ["sqli"]
    with pytest.raises(QueryError, match="next"):
        one.link.alerts(before="1; drop")


def test_a_full_database_loses_no_alert(engine: Make, tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    one = engine(db)
    db.execute("PRAGMA max_page_count=1")
    one.link.store.take("s", [{"n": 1, "id": "abcd", "client_ip": "192.0.2.1", "path": "/" * 100_000}] * 1)
    events = [{"n": n, "id": f"abcd{n}", "client_ip": "192.0.2.1", "path": "/" * 500} for n in range(2, 300)]
    one.link.store.take("s", events)
    assert len(one.told) == 299
    assert [problem.code for problem in one.link.problems()][:1] == ["mitm_alerts_not_stored"]
