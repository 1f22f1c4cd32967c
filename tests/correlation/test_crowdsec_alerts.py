"""Alerts whose fate is unknown: a local API that fails, stalls or stores late gets each of them once all the same."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pytest

from dpi_dual.correlation import crowdsec_alerts, crowdsec_session
from dpi_dual.correlation.crowdsec import CrowdSec, CrowdsecError, Delivery
from dpi_dual.settings import Crowdsec, CrowdsecSecrets
from lab.waiting import eventually_async


class StandIn:
    """A local API with an alert store of its own, which can be told to misbehave at a POST.

    `faults`: what the first POSTs meet, one word each; `late_s`: how long after its answer it stores an alert.
    """

    def __init__(self, *faults: str, late_s: float = 0.0) -> None:
        self.faults = list(faults)
        self.late_s = late_s
        self.alerts: list[dict[str, Any]] = []
        self.strays: list[dict[str, Any]] = []
        self.posted = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def marks(self) -> list[str]:
        meta = [pair for alert in self.alerts for event in alert["events"] for pair in event["meta"]]
        return [pair["value"] for pair in meta if pair["key"] == "dpi_dual_id"]

    def _store(self, given: dict[str, Any], linked: bool = True) -> int:
        decisions = [
            {**decision, "id": 100 + len(self.alerts), "simulated": False} for decision in given.get("decisions", ())
        ]
        if not linked:
            self.strays += decisions
        # LAPI's search gives the newest first
        self.alerts.insert(0, {**given, "id": len(self.alerts) + 1, "decisions": decisions if linked else None})
        return len(self.alerts)

    def _later(self, given: dict[str, Any]) -> None:
        async def store() -> None:
            await asyncio.sleep(self.late_s)
            self._store(given)

        self._tasks.add(asyncio.ensure_future(store()))

    async def _post(self, given: dict[str, Any]) -> tuple[int, object]:
        self.posted += 1
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "fails, stores later":
            self._later(given)
        elif fault == "fails, has stored":
            self._store(given)
        elif fault == "fails half way":  # as CrowdSec 1.4.6 does: "error while updating decisions: database is locked"
            self._store(given, linked=False)
        elif fault in ("silent", "silent, stores later", "cut off"):
            if fault == "silent, stores later":
                self._later(given)
            if fault != "cut off":
                await asyncio.sleep(60)
            raise ConnectionError
        elif not fault:
            return 201, [str(self._store(given))]
        return 500, {"message": "database is locked"}

    async def _answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        where, _, parameters = path.partition("?")
        if where == "/v1/watchers/login":
            return 200, {"token": "t", "expire": "2000-01-01T00:00:00Z"}
        if (method, where) == ("POST", "/v1/alerts"):
            return await self._post(json.loads(body)[0])
        if where == "/v1/alerts":
            value = dict(pair.split("=", 1) for pair in parameters.split("&"))["value"]
            return 200, [alert for alert in self.alerts if alert["source"]["value"] == value] or None
        if where.startswith("/v1/alerts/"):
            return 200, next(alert for alert in self.alerts if str(alert["id"]) == where.rpartition("/")[2])
        if where == "/v1/decisions/stream":
            return 200, {"new": None, "deleted": None}
        if where == "/v1/decisions":
            return 200, self.strays or None
        return 404, None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
            method, path, _ = head.split(" ", 2)
            length = int(head.lower().partition("content-length:")[2].split("\r\n", 1)[0])
            status, said = await self._answer(method, path, await reader.readexactly(length))
            text = json.dumps(said).encode()
            writer.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n" % (status, len(text)) + text)
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # the client closed first, or we are to look as if we had died
        finally:
            writer.close()


Told = list[Delivery]


def with_api(api: StandIn, then: Callable[[CrowdSec, Told], Awaitable[None]], running: bool = True) -> None:
    async def scenario() -> None:
        told: Told = []
        server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            async with server:
                url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
                crowdsec = CrowdSec(
                    Crowdsec(url, "router", "decision"),
                    CrowdsecSecrets("password", "key"),
                    db,
                    on_delivered=told.append,
                )
                task = asyncio.ensure_future(crowdsec.run()) if running else None
                try:
                    await then(crowdsec, told)
                finally:
                    others = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
                    for other in others:
                        other.cancel()
                    await asyncio.gather(*others, return_exceptions=True)
                    assert task is None or task.cancelled()

    asyncio.run(scenario())


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question may take 0.3 s; what takes longer is searched for during 3 s."""
    monkeypatch.setattr(crowdsec_session, "QUESTION_S", 0.3)
    monkeypatch.setattr(crowdsec_alerts, "SETTLE_S", 0.25)
    monkeypatch.setattr(crowdsec_alerts, "SLOW_SETTLE_S", 3.0)


def test_an_alert_stored_after_an_error_is_not_sent_again() -> None:
    api = StandIn("fails, stores later", late_s=2.0)

    async def then(crowdsec: CrowdSec, told: Told) -> None:
        uuid = crowdsec.alert("203.0.113.1", "x", "x", duration_s=60, reference="late")
        crowdsec.alert("203.0.113.2", "x", "x", duration_s=60, reference="other")
        await eventually_async("both were told", lambda: len(told) == 2)
        # The one behind it did not wait for it.
        assert [delivery.reference for delivery in told] == ["other", "late"]
        assert all(delivery.bans for delivery in told)
        assert api.posted == 2 and api.marks().count(uuid) == 1

    with_api(api, then)


def test_an_alert_stored_after_we_gave_up_waiting_is_not_sent_again(hurried: None) -> None:
    api = StandIn("silent, stores later", late_s=1.5)

    async def then(crowdsec: CrowdSec, told: Told) -> None:
        uuid = crowdsec.alert("203.0.113.1", "x", "x", duration_s=60)
        await eventually_async("it is told", lambda: told)
        assert told[0].bans and api.marks() == [uuid] and api.posted == 1
        assert crowdsec.counters()["crowdsec_alerts_found"] == 1

    with_api(api, then)


@pytest.mark.parametrize("fault", ["fails, has stored", "fails half way"])
@pytest.mark.parametrize("mode", ["decision", "profile", "record"])
def test_an_alert_stored_before_an_error_is_not_sent_again(fault: str, mode: str) -> None:
    api = StandIn(fault)

    async def then(crowdsec: CrowdSec, told: Told) -> None:
        uuid = crowdsec.alert("203.0.113.1", "x", "x", mode=mode, duration_s=60)
        await eventually_async("it is told", lambda: told)
        assert bool(told[0].bans) == (mode == "decision") and not told[0].error
        assert api.marks() == [uuid] and api.posted == 1

    with_api(api, then)


@pytest.mark.parametrize("faults", [["cut off"], ["silent"], ["fails"], ["fails", "cut off"]])
def test_an_alert_that_is_nowhere_is_sent_again(hurried: None, faults: list[str]) -> None:
    api = StandIn(*faults)

    async def then(crowdsec: CrowdSec, told: Told) -> None:
        uuid = crowdsec.alert("203.0.113.1", "x", "x", duration_s=60)
        await eventually_async("it is told", lambda: told)
        assert told[0].bans and api.marks() == [uuid] and api.posted == len(faults) + 1

    with_api(api, then)


def test_a_ban_whose_decision_never_came_into_being_is_asked_for_again(hurried: None) -> None:
    """LAPI has the alert, but neither with the ban nor beside it: the ban matters more than a tidy list of alerts."""
    api = StandIn("fails half way")

    async def then(crowdsec: CrowdSec, told: Told) -> None:
        crowdsec.alert("203.0.113.1", "x", "x", duration_s=60)
        await eventually_async("the late answer came", lambda: api.strays)
        api.strays.clear()
        await eventually_async("it is told", lambda: told)
        assert told[0].bans and api.posted == 2

    with_api(api, then)


@pytest.mark.parametrize("fault", ["fails, stores later", "fails, has stored", "fails half way"])
def test_a_ban_by_hand_is_looked_for_before_it_is_called_a_failure(fault: str) -> None:
    api = StandIn(fault, late_s=0.7)

    async def then(crowdsec: CrowdSec, told: Told) -> None:
        ban = await crowdsec.ban("203.0.113.1", 60, "x")
        assert ban.target == "203.0.113.1" and crowdsec.lookup("203.0.113.1") is not None
        assert api.posted == 1

    with_api(api, then, running=False)


def test_a_ban_by_hand_that_failed_once_is_tried_once_more(hurried: None) -> None:
    api = StandIn("fails")

    async def then(crowdsec: CrowdSec, told: Told) -> None:
        await crowdsec.ban("203.0.113.1", 60, "x")
        assert len(api.marks()) == 1 and api.posted == 2

    with_api(api, then, running=False)


def test_a_ban_by_hand_that_is_nowhere_is_an_error(hurried: None) -> None:
    async def then(crowdsec: CrowdSec, told: Told) -> None:
        with pytest.raises(CrowdsecError, match="database is locked") as failed:
            await crowdsec.ban("203.0.113.1", 60, "x")
        assert failed.value.code == "crowdsec_failed"

    with_api(StandIn("fails", "fails"), then, running=False)
