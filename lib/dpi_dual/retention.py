"""How long records about people are kept at most, whatever their number: alerts, threats and notifications."""

from __future__ import annotations

import sqlite3

#: Their number bounds them on a busy router; on a quiet one this does.
KEPT_DAYS = 90
#: After a longer gap the clock is not believed on its first day: one set years ahead would end every record.
CREDIBLE_GAP_DAYS = 7

_DAY_S = 86_400


def oldest(db: sqlite3.Connection, records: str, now: float) -> float:
    """Unix time before which `records` are to be forgotten; 0 when nothing is to be done, as it is once a day."""
    db.execute("CREATE TABLE IF NOT EXISTS retention (records TEXT PRIMARY KEY, day INTEGER NOT NULL) WITHOUT ROWID")
    day = int(now // _DAY_S)
    row = db.execute("SELECT day FROM retention WHERE records = ?", (records,)).fetchone()
    if row and row[0] == day:
        return 0.0
    db.execute("INSERT OR REPLACE INTO retention VALUES (?, ?)", (records, day))
    return now - KEPT_DAYS * _DAY_S if row and 0 < day - row[0] <= CREDIBLE_GAP_DAYS else 0.0
