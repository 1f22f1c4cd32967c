"""What may be sent again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dpi_dual.mitm.replay import resendable
from tests.mitm.feeder import record


@pytest.mark.parametrize(
    ("values", "force", "reason"),
    [
        ({}, False, ""),
        ({"method": "HEAD"}, False, ""),
        ({"method": "DELETE"}, False, "not safe"),
        ({"method": "DELETE"}, True, ""),
        ({"method": "WEBSOCKET"}, True, "WebSocket"),
        ({"cut": True}, True, "only a part"),
        ({"blocked": True}, False, "refused"),
        ({"blocked": True}, True, ""),
    ],
)
def test_resendable(values: dict[str, object], force: bool, reason: str) -> None:
    found = resendable(replace(record(1), **values), force)
    assert reason in found
    assert bool(reason) == bool(found)


def test_what_is_gone_cannot_be_sent() -> None:
    assert "not in the buffer" in resendable(None, True)
