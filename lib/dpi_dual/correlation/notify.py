"""Notifications: what is grave enough to be told, at most so often, kept for reading and handed to the outbox."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from dpi_dual.correlation.events import severity
from dpi_dual.correlation.outbox import Outbox
from dpi_dual.correlation.records import timestamp
from dpi_dual.correlation.store import Store

#: The same about the same actor is told again after this time at the earliest.
AGAIN_S = 300.0
#: And all in all so many a minute.
A_MINUTE = 30
REMEMBERED = 2000


class Notifier:
    """Holds back what was told lately; what it held back is counted."""

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._allowance = float(A_MINUTE)
        self._allowance_at = 0.0
        self.told = 0
        self.suppressed = 0

    def tell(
        self, now: float, kind: str, actor: str, ip: str, event: str, reason: str, score: float, **more: Any
    ) -> bool:
        """`kind` is threat or ban; False if it was held back."""
        key = (kind, actor, event)
        last = self._told.get(key)
        self._allowance = min(A_MINUTE, self._allowance + max(0.0, now - self._allowance_at) * A_MINUTE / 60)
        self._allowance_at = now
        if (last is not None and 0 <= now - last < AGAIN_S) or self._allowance < 1:
            self.suppressed += 1
            return False
        self._allowance -= 1
        self._told[key] = now
        self._told.move_to_end(key)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        notification = {
            "timestamp": timestamp(now),
            "type": kind,
            "severity": severity(score),
            "ip": ip,
            "event": event,
            "reason": reason,
            "score": round(score),
            **{name: value for name, value in more.items() if value},
        }
        number = self._store.add_notification(notification)
        self._outbox.notify({"id": number, **notification})
        self.told += 1
        return True
