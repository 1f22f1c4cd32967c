"""What records get from the MITM stream after their event."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dpi_dual.correlation import enrichment
from tests.correlation.scene import ATTACKER, Scene, run


def test_requests_of_the_analyser_are_in_the_record_as_they_were(scene: Scene) -> None:
    class Link:
        """The buffer's answer, which changes meanwhile."""

        asked = 0
        store = scene.alerts

        async def context(self, ip: str, since: float = 0.0, limit: int = 50) -> list[dict[str, Any]]:
            self.asked += 1
            return [{"id": f"r{self.asked}", "path": "/login", "headers": {"Cookie": "secret"}}]

    link = Link()
    scene.one.enrichment.mitm = link

    async def work() -> None:
        task = asyncio.ensure_future(scene.one.enrichment.run())
        scene.alert()
        scene.alert(number=2, rule="xss-1")
        while not all(record["context"]["mitm_requests"] for record in scene.records()):
            await asyncio.sleep(0.01)
        task.cancel()

    run(work)
    assert link.asked == 1  # one question for both records of the address
    assert [record["context"]["mitm_requests"] for record in scene.records()] == [[{"id": "r1", "path": "/login"}]] * 2


def test_too_many_that_wait_are_counted_and_the_newest_are_served(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrichment, "WAITING", 2)
    for number, ip in enumerate((ATTACKER, "198.51.100.8", "198.51.100.9"), 1):
        scene.alert(ip, number)
    assert scene.one.counters()["correlation_requests_dropped"] == 1


def test_without_the_mitm_stream_nothing_waits(scene: Scene) -> None:
    scene.one.enrichment.mitm = None
    scene.alert()
    assert scene.one.counters()["correlation_requests_dropped"] == 0
    assert asyncio.run(scene.one.enrichment.requests_of(ATTACKER, 0.0)) == []
