"""Bans through a real engine and a real CrowdSec: one a crossing, visible in LAPI, undone, never of the whitelisted."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lab import crowdsec as lab
from lab.crowdsec import LocalApi, running_crowdsec
from lab.engine import RunningEngine, running_engine
from lab.waiting import eventually

pytestmark = pytest.mark.skipif(bool(lab.missing()), reason=lab.missing())

PASSWORD = "only-for-this-test-0123456789"


@dataclass
class Router:
    """An engine that CrowdSec knows."""

    engine: RunningEngine
    api: LocalApi

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        return self.engine.call("dpi.correlator", method, **params)

    def listed(self) -> list[str]:
        """What `cscli decisions list -a` shows."""
        alerts = json.loads(self.api.cscli("decisions", "list", "-a", "-l", "0", "-o", "json")) or []
        return [decision["value"] for alert in alerts for decision in alert["decisions"]]


@pytest.fixture(scope="module")
def router() -> Iterator[Router]:
    with running_crowdsec() as api:
        api.add_machine("router", PASSWORD)
        key = api.add_bouncer("router")
        uci = (
            f"config crowdsec 'crowdsec'\n\toption url '{api.url}'\n\toption machine_id 'router'\n"
            "config correlation 'correlation'\n\toption auto_ban '1'\n\toption auto_ban_threshold '60'\n"
        )
        with running_engine(uci) as engine:
            secrets = engine.directory / "config" / "dpi-dual-secrets"
            secrets.touch(0o600)
            secrets.write_text(
                f"config crowdsec 'crowdsec'\n\toption password '{PASSWORD}'\n\toption bouncer_key '{key}'\n"
            )
            engine.process.send_signal(signal.SIGHUP)
            found = Router(engine, api)
            eventually("CrowdSec is connected", lambda: found.ask("stats")["crowdsec"]["state"] == "connected")
            yield found


def hit(router: Router, ip: str, times: int = 3) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for _ in range(times):
        answer = router.ask("correlate", ip=ip, event_type="waf_block", reason="sqli", score=90)
    record: dict[str, Any] = answer["threat"]
    return record


def state(router: Router, number: int) -> tuple[str, str]:
    record = router.ask("context", id=number)["record"]
    return record["state"], record["crowdsec_status"]


def test_reputation_crosses_the_threshold_and_one_decision_is_in_lapi(router: Router) -> None:
    record = hit(router, "198.51.100.21")
    eventually("the record says that it is banned", lambda: state(router, record["id"]) == ("crowdsec_ban", "banned"))
    assert router.listed().count("198.51.100.21") == 1
    hit(router, "198.51.100.21", 5)
    eventually("nothing waits", lambda: router.ask("stats")["crowdsec"]["queued"] == 0)
    assert router.listed().count("198.51.100.21") == 1
    assert router.ask("context", ip="198.51.100.21")["crowdsec"]["banned"]
    assert "198.51.100.21" in [ban["target"] for ban in router.ask("bans")["bans"]]
    assert router.ask("unban", ip="198.51.100.21")["removed"] == 1
    assert "198.51.100.21" not in router.listed()
    assert state(router, record["id"]) == ("acknowledged", "unbanned")
    hit(router, "198.51.100.21", 1)  # a person undid it: no new crossing, no new ban
    eventually("nothing waits", lambda: router.ask("stats")["crowdsec"]["queued"] == 0)
    assert "198.51.100.21" not in router.listed()


def test_an_ipv6_attacker_is_banned_as_a_range(router: Router) -> None:
    record = hit(router, "2001:db8:ffff::7")
    eventually("banned", lambda: state(router, record["id"])[1] == "banned")
    assert "2001:db8:ffff::/64" in router.listed()
    assert router.ask("unban", ip="2001:db8:ffff::99")["removed"] >= 1
    assert "2001:db8:ffff::/64" not in router.listed()


def test_whitelisted_sources_are_never_banned_by_any_path(router: Router) -> None:
    router.ask("whitelist_add", ip="198.51.100.32/28")
    record = hit(router, "198.51.100.33", 8)
    assert record["reputation_score"] == 100
    assert state(router, record["id"]) == ("new", "whitelisted")
    assert router.ask("ban", ip="198.51.100.33")["code"] == "never_banned"
    assert router.ask("ban", ip="198.51.100.0/24")["code"] == "never_banned"
    hit(router, "192.168.1.50", 8)
    eventually("nothing waits", lambda: router.ask("stats")["crowdsec"]["queued"] == 0)
    assert not {"198.51.100.33", "192.168.1.50", "198.51.100.0/24"} & set(router.listed())


def test_a_ban_by_hand_is_in_lapi_when_it_is_reported_and_whitelisting_undoes_it(router: Router) -> None:
    answer = router.ask("ban", ip="198.51.100.99", duration="30m", reason="by hand; $(reboot)")
    assert answer["ok"] and answer["target"] == "198.51.100.99"
    assert "198.51.100.99" in router.listed()
    added = router.ask("whitelist_add", ip="198.51.100.99")
    assert added["unbanned"] == 1
    assert "198.51.100.99" not in router.listed()


def test_with_lapi_down_an_error_is_an_error_and_what_waits_is_sent_afterwards(router: Router) -> None:
    router.api.stop()
    try:
        refused = router.ask("ban", ip="198.51.100.120")
        assert refused["code"].startswith("crowdsec_"), refused
        record = hit(router, "198.51.100.121")
        assert state(router, record["id"])[1] == "queued"
    finally:
        router.api.start()
    eventually("sent afterwards", lambda: state(router, record["id"]) == ("crowdsec_ban", "banned"))
    assert "198.51.100.121" in router.listed()
    assert "198.51.100.120" not in router.listed()


def test_a_decision_made_elsewhere_is_an_event(router: Router) -> None:
    router.api.cscli("decisions", "add", "-i", "198.51.100.140", "-d", "1h", "-R", "elsewhere")
    eventually("the decision is a record", lambda: router.ask("timeline", ip="198.51.100.140")["total"])
    (record,) = router.ask("timeline", ip="198.51.100.140")["threats"]
    assert (record["event_type"], record["state"]) == ("crowdsec_ban", "crowdsec_ban")
    assert router.ask("reputation", ip="198.51.100.140")["score"] == 30


def test_whitelisted_while_the_question_waited_is_not_left_banned(router: Router) -> None:
    file = router.engine.directory / "config" / "dpi-dual"
    before = file.read_text()
    router.api.stop()
    try:
        record = hit(router, "198.51.100.150")
        assert state(router, record["id"])[1] == "queued"
        file.write_text(before + "config whitelist 'whitelist'\n\tlist ip '198.51.100.150'\n")
        router.engine.process.send_signal(signal.SIGHUP)
        eventually("the whitelist is in force", lambda: "198.51.100.150" in router.ask("whitelist")["whitelist"])
    finally:
        router.api.start()
    eventually("the record says so", lambda: state(router, record["id"])[1] == "whitelisted")
    eventually("the ban is lifted", lambda: "198.51.100.150" not in router.listed())
    file.write_text(before)
