"""CrowdSec, the real one: what is reported as banned is in its local API, and nothing accepted is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dpi_dual.correlation.crowdsec import Ban, CrowdSec, CrowdsecError, Decision, Delivery, is_own
from dpi_dual.settings import Crowdsec, CrowdsecSecrets
from lab import crowdsec as lab
from lab.crowdsec import LocalApi, running_crowdsec
from lab.waiting import eventually_async

pytestmark = pytest.mark.skipif(bool(lab.missing()), reason=lab.missing())

PASSWORD = "only-for-this-test-0123456789"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def api() -> Iterator[LocalApi]:
    with running_crowdsec() as running:
        running.add_machine("router", PASSWORD)
        yield running


class Router:
    """What the engine has of CrowdSec, with all that it was told."""

    def __init__(self, api: LocalApi, key: str, db: Path | str = ":memory:", **changes: str) -> None:
        self.decided: list[tuple[str, Decision]] = []
        self.delivered: list[Delivery] = []
        given = {"url": api.url, "machine_id": "router", "ban_mode": "profile", "password": PASSWORD, **changes}
        self.settings = Crowdsec(given["url"], given["machine_id"], given["ban_mode"])
        self.secrets = CrowdsecSecrets(given["password"], key)
        self._db = sqlite3.connect(db, isolation_level=None)
        weakref.finalize(self, self._db.close)
        self.crowdsec = CrowdSec(
            self.settings,
            self.secrets,
            self._db,
            on_decision=lambda change, decision: self.decided.append((change, decision)),
            on_delivered=self.delivered.append,
            interval_s=0.1,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CrowdSec]:
        task = asyncio.ensure_future(self.crowdsec.run())
        try:
            yield self.crowdsec
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]

    def counter(self, name: str) -> int:
        return self.crowdsec.counters().get(name, 0)

    def codes(self) -> set[str]:
        return {problem.code for problem in self.crowdsec.problems()}


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def listed(api: LocalApi) -> dict[str, dict[str, Any]]:
    """Value → decision, as any bouncer is told; `cscli` misses those that LAPI failed to tie to their alert."""
    key = api.add_bouncer(os.urandom(8).hex())
    request = urllib.request.Request(f"{api.url}/v1/decisions", headers={"X-Api-Key": key})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return {decision["value"]: decision for decision in json.load(answer) or []}


def marks(api: LocalApi) -> list[str]:
    """Our mark in every alert that LAPI has."""
    found = json.loads(api.cscli("alerts", "list", "-a", "-l", "0", "-o", "json")) or []
    meta = [pair for alert in found for event in alert["events"] or [] for pair in event["meta"]]
    return [pair["value"] for pair in meta if pair["key"] == "dpi_dual_id"]


def test_a_ban_is_in_the_local_api_and_undone_by_unban(api: LocalApi) -> None:
    router = Router(api, api.add_bouncer("b"))

    async def scenario() -> None:
        async with router.running() as crowdsec:
            ban = await crowdsec.ban("203.0.113.7", 3600, "by hand; 'quotes' and <b>")
            assert ban.target == "203.0.113.7" and ban.origin == "dpi-dual" and ban.decision_id > 0
            assert abs(ban.until_at - time.time() - 3600) < 60
            seen = listed(api)["203.0.113.7"]
            assert (seen["type"], seen["scope"], seen["origin"]) == ("ban", "Ip", "dpi-dual")
            held = crowdsec.lookup("203.0.113.7")
            assert held is not None and is_own(held) and crowdsec.lookup("203.0.113.8") is None
            assert crowdsec.lookup("::ffff:203.0.113.7") is not None

            assert await crowdsec.unban("203.0.113.7") == 1
            assert crowdsec.lookup("203.0.113.7") is None and listed(api) == {}
            assert await crowdsec.unban("203.0.113.7") == 0

    run(scenario())


def test_an_ipv6_network_is_banned_as_one_and_outlives_the_unban_of_an_address_in_it(api: LocalApi) -> None:
    router = Router(api, api.add_bouncer("b"))

    async def scenario() -> None:
        async with router.running() as crowdsec:
            await crowdsec.ban("2001:DB8:0:7::1/64", 600, "network")
            held = crowdsec.lookup("2001:db8:0:7:ffff::9")
            assert held is not None and (held.value, held.scope) == ("2001:db8:0:7::/64", "Range")
            assert listed(api)["2001:db8:0:7::/64"]["scope"] == "Range"
            assert await crowdsec.unban("2001:db8:0:7::1") == 0
            assert "2001:db8:0:7::/64" in listed(api)
            assert await crowdsec.unban("2001:db8:0:7::/64") == 1
            assert listed(api) == {} and crowdsec.lookup("2001:db8:0:7::1") is None

    run(scenario())


def test_alerts_leave_the_decision_to_the_profiles_unless_told_otherwise(api: LocalApi) -> None:
    router = Router(api, api.add_bouncer("b"))

    async def scenario() -> None:
        async with router.running() as crowdsec:
            meta = {"path": "/a?b\n", "rule": "942100"}
            crowdsec.alert("198.51.100.1", "waf_block", "sqli", meta=meta, reference="record 1", events=3)
            crowdsec.alert("198.51.100.2", "waf_block", "sqli", mode="decision", duration_s=90, reference="record 2")
            crowdsec.alert("198.51.100.3", "waf_alert", "odd", mode="record", reference="record 3")
            await eventually_async("three were delivered", lambda: len(router.delivered) == 3)

    run(scenario())
    by_profile, by_us, recorded = sorted(router.delivered, key=lambda delivery: delivery.reference)
    assert [by_profile.reference, by_us.reference, recorded.reference] == ["record 1", "record 2", "record 3"]
    assert by_profile.bans[0].origin == "crowdsec" and by_profile.bans[0].until_at > time.time() + 3 * 3600
    assert by_us.bans[0].origin == "dpi-dual" and by_us.bans[0].until_at < time.time() + 91
    assert recorded.bans == () and recorded.error == ""
    assert set(listed(api)) == {"198.51.100.1", "198.51.100.2"}
    (alert,) = [a for a in json.loads(api.cscli("alerts", "list", "-a", "-o", "json")) if a["message"] == "odd"]
    assert alert["scenario"] == "dpi-dual/waf_alert"


def test_a_ban_that_the_profiles_do_not_grant_is_an_error(api: LocalApi) -> None:
    api.stop()
    (api.directory / "profiles.yaml").write_text("name: nobody\nfilters:\n - 1 == 2\n")
    api.start()
    router = Router(api, api.add_bouncer("b"))

    async def scenario() -> None:
        with pytest.raises(CrowdsecError, match="profile") as refused:
            await router.crowdsec.ban("203.0.113.9", 3600, "x", mode="profile")
        assert refused.value.code == "not_banned"
        await router.crowdsec.ban("203.0.113.9", 3600, "x", mode="decision")

    run(scenario())


def test_what_others_decide_is_followed_and_what_was_there_before_is_silent(api: LocalApi) -> None:
    router = Router(api, api.add_bouncer("b"))
    api.cscli("decisions", "add", "--ip", "192.0.2.1", "--duration", "1h")

    async def scenario() -> None:
        async with router.running() as crowdsec:
            await eventually_async("192.0.2.1 is decided about", lambda: crowdsec.lookup("192.0.2.1"))
            api.cscli("decisions", "add", "--range", "192.0.2.64/26", "--duration", "1h", "--type", "captcha")
            await eventually_async("192.0.2.65 is decided about", lambda: crowdsec.lookup("192.0.2.65"))
            api.cscli("decisions", "delete", "--ip", "192.0.2.1")
            await eventually_async("192.0.2.1 is no longer decided about", lambda: crowdsec.lookup("192.0.2.1") is None)

    run(scenario())
    changes = [(change, decision.value, decision.type) for change, decision in router.decided]
    assert changes == [("new", "192.0.2.64/26", "captcha"), ("deleted", "192.0.2.1", "ban")]
    assert not any(is_own(decision) for _, decision in router.decided)


def test_a_ban_runs_out_and_the_shorter_of_two_does_not_end_the_longer(api: LocalApi) -> None:
    router = Router(api, api.add_bouncer("b"))

    async def scenario() -> None:
        async with router.running() as crowdsec:
            await eventually_async("all decisions are loaded", lambda: router.counter("crowdsec_full_loads"))
            await crowdsec.ban("192.0.2.9", 600, "long")
            await crowdsec.ban("192.0.2.9", 2, "short")
            await crowdsec.ban("192.0.2.10", 2, "short")
            await eventually_async(
                "192.0.2.10 is no longer decided about", lambda: crowdsec.lookup("192.0.2.10") is None
            )
            await eventually_async(
                "its end was told", lambda: ("deleted", "192.0.2.10") in [(c, d.value) for c, d in router.decided]
            )
            held = crowdsec.lookup("192.0.2.9")
            assert held is not None and held.until_at > time.time() + 300

    run(scenario())


def test_a_stopped_local_api_blocks_nothing_and_gets_everything_later(api: LocalApi) -> None:
    router = Router(api, api.add_bouncer("b"))

    async def scenario() -> None:
        async with router.running() as crowdsec:
            await crowdsec.ban("203.0.113.1", 3600, "before")
            api.stop()
            for number in range(200):
                crowdsec.alert(f"198.51.100.{number}", "waf_block", "x", reference=str(number))
            assert crowdsec.status()["queued"] == 200
            assert crowdsec.lookup("203.0.113.1") is not None
            with pytest.raises(CrowdsecError) as down:
                await crowdsec.ban("203.0.113.2", 3600, "now")
            assert down.value.code == "crowdsec_unreachable"
            await eventually_async("it tries again", lambda: router.counter("crowdsec_retries") >= 2)
            assert router.delivered == [] and crowdsec.status()["queued"] == 200
            assert crowdsec.status()["state"] == "unreachable" and "crowdsec_unreachable" in router.codes()
            api.start()
            await eventually_async("all were delivered", lambda: len(router.delivered) == 200)
            await eventually_async("nothing is wrong any more", lambda: router.codes() == set())

    run(scenario())
    # Each once; one that LAPI was too busy for is asked for again after those behind it.
    assert sorted(int(delivery.reference) for delivery in router.delivered) == list(range(200))
    assert all(delivery.bans and not delivery.error for delivery in router.delivered)
    sent = marks(api)
    assert len(sent) == len(set(sent)) == 201
    assert "203.0.113.2" not in listed(api)


def test_a_flood_of_alerts_does_not_become_a_flood_of_attempts(api: LocalApi) -> None:
    router = Router(api, "")
    api.stop()

    async def scenario() -> None:
        async with router.running() as crowdsec:
            crowdsec.alert("198.51.100.0", "waf_block", "x")
            await eventually_async("it tries again", lambda: router.counter("crowdsec_retries"))
            for number in range(1, 200):
                crowdsec.alert(f"198.51.100.{number}", "waf_block", "x")
                await asyncio.sleep(0)
            assert router.counter("crowdsec_retries") < 20
            with pytest.raises(CrowdsecError):
                await crowdsec.unban("198.51.100.0/24")
            assert crowdsec.status()["queued"] == 0
            api.start()
            crowdsec.alert("198.51.100.7", "waf_block", "x")
            await eventually_async("nothing waits", lambda: crowdsec.status()["queued"] == 0)

    run(scenario())
    assert set(listed(api)) == {"198.51.100.7"}


def test_a_ban_that_waits_is_withdrawn_by_unban(api: LocalApi) -> None:
    router = Router(api, api.add_bouncer("b"))
    api.stop()

    async def scenario() -> None:
        async with router.running() as crowdsec:
            crowdsec.alert("198.51.100.1", "waf_block", "x", reference="a")
            crowdsec.alert("198.51.100.2", "waf_block", "x", reference="b")
            with pytest.raises(CrowdsecError):
                await crowdsec.unban("198.51.100.1")
            assert [(d.reference, d.error[:9]) for d in router.delivered] == [("a", "withdrawn")]
            api.start()
            await eventually_async("two were delivered", lambda: len(router.delivered) == 2)

    run(scenario())
    assert set(listed(api)) == {"198.51.100.2"}


_ENGINE = """
import asyncio, sqlite3, sys
from dpi_dual.correlation.crowdsec import CrowdSec
from dpi_dual.settings import Crowdsec, CrowdsecSecrets
url, password, key, path, first = sys.argv[1:]
db = sqlite3.connect(path, isolation_level=None)
db.execute("PRAGMA journal_mode=WAL"); db.execute("PRAGMA synchronous=OFF")
async def main():
    crowdsec = CrowdSec(Crowdsec(url, "router", "decision"), CrowdsecSecrets(password, key), db)
    for number in range(int(first), int(first) + 10):
        print(crowdsec.alert(f"198.51.100.{number}", "waf_block", "x", duration_s=600), flush=True)
    print("accepted", flush=True)
    async with asyncio.timeout(60):
        run = asyncio.ensure_future(crowdsec.run())
        while crowdsec.status()["queued"]:
            await asyncio.sleep(0.01)
    print("sent", flush=True)
    run.cancel()
asyncio.run(main())
"""


def test_a_killed_engine_loses_no_alert_and_sends_none_twice(api: LocalApi, tmp_path: Path) -> None:
    key = api.add_bouncer("b")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    accepted: list[str] = []

    def engine(first: int, kill_after_s: float | None) -> None:
        command = [sys.executable, "-c", _ENGINE, api.url, PASSWORD, key, str(tmp_path / "state.db"), str(first)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line == "accepted\n" and kill_after_s is not None:
                    time.sleep(kill_after_s)
                    process.send_signal(signal.SIGKILL)
                elif line not in ("accepted\n", "sent\n"):
                    accepted.append(line.strip())

    random.seed(4)
    for round_ in range(12):
        engine(round_ * 10, kill_after_s=random.uniform(0, 0.25))
    engine(120, kill_after_s=None)
    sent = marks(api)
    assert len(accepted) == 130
    assert sorted(sent) == sorted(accepted)
    assert len(listed(api)) == 130


def test_wrong_credentials_are_said_and_the_right_ones_help_at_once(api: LocalApi) -> None:
    router = Router(api, "no-such-key", password="wrong-password")

    async def scenario() -> None:
        async with router.running() as crowdsec:
            crowdsec.alert("198.51.100.1", "waf_block", "x")
            await eventually_async(
                "both refusals are said",
                lambda: {"crowdsec_machine_refused", "crowdsec_bouncer_refused"} <= router.codes(),
            )
            with pytest.raises(CrowdsecError) as refused:
                await crowdsec.ban("203.0.113.1", 60, "x")
            assert refused.value.code == "crowdsec_refused" and "dpi-dualctl crowdsec setup" in refused.value.message
            assert crowdsec.status()["state"] == "refused" and crowdsec.status()["queued"] == 1
            text = f"{crowdsec.problems()} {crowdsec.status()} {refused.value.message}"
            assert "wrong-password" not in text and "no-such-key" not in text
            crowdsec.reconfigure(router.settings, CrowdsecSecrets(PASSWORD, api.add_bouncer("b")))
            await eventually_async("one was delivered", lambda: len(router.delivered) == 1)
            await eventually_async("nothing is wrong any more", lambda: router.codes() == set())

    run(scenario())


def test_without_credentials_it_waits_and_says_so(api: LocalApi) -> None:
    router = Router(api, "", password="")

    async def scenario() -> None:
        async with router.running() as crowdsec:
            crowdsec.alert("198.51.100.1", "waf_block", "x")
            with pytest.raises(CrowdsecError, match="crowdsec setup"):
                await crowdsec.ban("203.0.113.1", 60, "x")
            with pytest.raises(CrowdsecError, match="crowdsec setup"):
                await crowdsec.bans()
            assert crowdsec.status()["state"] == "not_set_up" and router.codes() == {"crowdsec_not_set_up"}

    run(scenario())


def test_a_restarted_local_api_is_logged_in_to_again(api: LocalApi) -> None:
    router = Router(api, api.add_bouncer("b"))

    async def scenario() -> None:
        await router.crowdsec.ban("203.0.113.1", 3600, "x")
        api.stop()
        api.start()
        await router.crowdsec.ban("203.0.113.2", 3600, "x")

    run(scenario())
    assert set(listed(api)) == {"203.0.113.1", "203.0.113.2"}


def test_a_local_api_with_an_empty_database_is_refused_until_it_knows_us_then_read_anew(api: LocalApi) -> None:
    key = api.add_bouncer("b")
    router = Router(api, key)

    async def scenario() -> None:
        async with router.running() as crowdsec:
            await eventually_async("all decisions are loaded", lambda: router.counter("crowdsec_full_loads"))
            await crowdsec.ban("203.0.113.1", 3600, "x")
            api.stop()
            api.forget()
            api.start()
            await eventually_async("the refusal is said", lambda: "crowdsec_bouncer_refused" in router.codes())
            assert crowdsec.lookup("203.0.113.1") is not None  # what was known stays known meanwhile
            api.add_machine("router", PASSWORD)
            api.cscli("bouncers", "add", "b", "-k", key)
            crowdsec.reconfigure(Crowdsec(api.url + "/", "router", "profile"), router.secrets)
            await eventually_async(
                "203.0.113.1 is no longer decided about", lambda: crowdsec.lookup("203.0.113.1") is None
            )
            assert [change for change, _ in router.decided] == ["new", "deleted"]
            await crowdsec.ban("203.0.113.2", 3600, "x")

    run(scenario())


def test_bans_come_in_pages_newest_first(api: LocalApi) -> None:
    router = Router(api, api.add_bouncer("b"))

    async def scenario() -> None:
        made = [await router.crowdsec.ban(f"203.0.113.{number}", 3600, "x") for number in range(7)]
        first = await router.crowdsec.bans(limit=5)
        second = await router.crowdsec.bans(limit=5, before=first["next"])
        shown = [ban["target"] for page in (first, second) for ban in page["bans"]]
        assert shown == [ban.target for ban in reversed(made)]
        assert first["total"] == second["total"] == 7 and "next" not in second
        assert await router.crowdsec.count_decisions() == {"bans": 7, "community": 0}
        assert await router.crowdsec.check_login() == {}

    run(scenario())


@pytest.mark.parametrize(
    ("target", "duration_s", "scenario", "code"),
    [
        ("203.0.113.1; rm -rf /", 60, "x", "bad_target"),
        ("fe80::1%eth0", 60, "x", "bad_target"),
        ("203.0.113.1\0", 60, "x", "bad_target"),
        ("' OR 1=1", 60, "x", "bad_target"),
        ("9" * 10_000_000, 60, "x", "bad_target"),
        ("0.0.0.0/0", 60, "x", "bad_target"),
        ("::/0", 60, "x", "bad_target"),
        ("203.0.113.1", 0, "x", "bad_duration"),
        ("203.0.113.1", float("nan"), "x", "bad_duration"),
        ("203.0.113.1", 60, "a b", "bad_scenario"),
        ("203.0.113.1", 60, "", "bad_scenario"),
    ],
)
def test_what_cannot_be_banned_is_refused_by_name(target: str, duration_s: float, scenario: str, code: str) -> None:
    api = LocalApi(Path("/nonexistent"), 1)
    crowdsec = Router(api, "key").crowdsec
    with pytest.raises(CrowdsecError) as refused:
        asyncio.run(crowdsec.ban(target, duration_s, "x", scenario))
    assert refused.value.code == code and len(refused.value.message) < 300
    with pytest.raises(CrowdsecError):
        crowdsec.alert(target, scenario, "x", mode="decision", duration_s=duration_s)


def test_a_mapped_address_is_the_ipv4_address(api: LocalApi) -> None:
    router = Router(api, api.add_bouncer("b"))
    ban: Ban = asyncio.run(router.crowdsec.ban("::ffff:203.0.113.5", 60, "x"))
    assert ban.target == "203.0.113.5"
