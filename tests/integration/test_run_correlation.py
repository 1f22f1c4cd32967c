"""Correlation in the whole lab: an attack over TLS becomes a record, a flow, a reputation, and a ban in CrowdSec."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from lab import crowdsec, visitors
from lab.network import ROUTER_WAN, VISITORS, VISITORS6
from lab.origin import SHOP
from lab.waiting import eventually
from tests.integration.running_lab import END_S, RunningLab, running_lab

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(crowdsec.missing()), reason=crowdsec.missing() or "CrowdSec is here"),
]

THRESHOLD = 80

#: Those that the lab's own attackers are not: their reputations are what a test makes of them.
QUIET = [ip for ip in VISITORS if ip not in visitors.attackers()]
QUIET6 = [ip for ip in VISITORS6 if ip not in visitors.attackers()]


@dataclass
class OurLab(RunningLab):
    """What these tests ask of it."""

    def said_by(self, name: str, *argv: str) -> str:
        done = self.script(name, *argv)
        if done.returncode:  # not an assertion: what is not up yet may be asked again
            raise OSError(done.stdout + done.stderr)
        return done.stdout

    def attack(self, ip: str, path: str = "/search?q=" + quote("<script>alert(1)</script>"), times: int = 1) -> int:
        """Attacks as this visitor, each time over a connection of its own; the last one's port."""
        port = "0"
        for _ in range(times):
            shown = ["-sS", "-o", "/dev/null", "--max-time", "20", "-w", "%{local_port}", "--interface", ip]
            port = self.said_by("visitor", "curl", *shown, "-6" if ":" in ip else "-4", f"https://{SHOP}{path}")
        return int(port)

    def threats(self, ip: str, **more: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.call("dpi.correlator", "timeline", ip=ip, limit=100, **more)["threats"]
        return rows

    def reputation(self, ip: str) -> float:
        return float(self.call("dpi.correlator", "reputation", ip=ip)["score"])

    def banned(self) -> list[str]:
        """The targets of our own bans, as the correlator tells them."""
        return [row["target"] for row in self.call("dpi.correlator", "bans", limit=500)["bans"]]

    def decisions(self) -> list[str]:
        """The same as CrowdSec's own command tells it, in `scope:value`."""
        alerts = json.loads(self.said_by("cscli", "decisions", "list", "-a", "-o", "json")) or []
        return [f"{row['scope']}:{row['value']}" for alert in alerts for row in alert["decisions"]]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OurLab]:
    with running_lab(OurLab, tmp_path_factory.mktemp("lab")) as lab:
        # The agent looks for the interface that the engine has made every second.
        eventually("the mirror is captured", lambda: lab.call("dpi.status", "status")["tap_stream"]["flows_1min"])
        yield lab


def test_it_says_what_to_try(lab: OurLab) -> None:
    text = "\n".join(lab.said)
    assert "lab/bin/dpi-dualctl threats 5" in text
    assert "lab/bin/cscli decisions list -a" in text
    stats = eventually("it is connected", lambda: lab.call("dpi.correlator", "stats"))
    assert stats["auto_ban"]
    assert stats["crowdsec"]["state"] == "connected"


def test_an_attack_is_one_record_with_request_flow_and_score(lab: OurLab) -> None:
    ip = QUIET[0]
    port = lab.attack(ip)

    def told() -> dict[str, Any] | None:
        rows = lab.threats(ip, context=True)
        context = rows[0]["context"] if rows else {}
        return rows[0] if context.get("mitm_requests") and context.get("dpi_flows") else None

    began = time.monotonic()
    threat = eventually("a record with request and flow", told)
    print(f"a record with request and flow {time.monotonic() - began:.2f} s after the attack")
    assert len(lab.threats(ip)) == 1
    assert (threat["ip"], threat["event_type"], threat["port"], threat["host"]) == (ip, "waf_alert", port, SHOP)
    assert threat["threat_score"] >= 30
    assert (threat["reputation_before"], threat["reputation_score"]) == (0.0, 15.0)
    assert (threat["state"], threat["crowdsec_status"]) in (("new", "none"), ("new", "queued"), ("new", "alerted"))
    (flow,) = threat["context"]["dpi_flows"]
    ends = {(flow["local_ip"], flow["local_port"]), (flow["other_ip"], flow["other_port"])}
    assert ends == {(ip, port), (ROUTER_WAN, 443)}
    assert threat["community_id"].startswith("1:")
    request = threat["context"]["mitm_requests"][0]
    assert (request["method"], request["host"]) == ("GET", SHOP)
    assert request["path"].startswith("/search")
    assert [alert["categories"][0] for alert in threat["context"]["waf_alerts"]] == ["xss"]
    assert ip in lab.said_by("dpi-dualctl", "threats", "5")


def test_who_goes_on_is_banned_once_and_unban_undoes_it(lab: OurLab) -> None:
    ip = QUIET[1]
    lab.attack(ip, times=6)
    eventually("its ban", lambda: ip in lab.banned())
    assert lab.reputation(ip) >= THRESHOLD
    row = eventually("the record says so", lambda: [row for row in lab.threats(ip) if row["state"] == "crowdsec_ban"])
    assert row[0]["crowdsec_status"] == "banned"
    assert row[0]["count"] == 6
    lab.attack(ip, times=2)
    eventually("they are counted", lambda: lab.threats(ip)[-1]["count"] == 8)
    assert lab.decisions().count(f"Ip:{ip}") == 1
    assert lab.banned().count(ip) == 1
    assert lab.call("dpi.correlator", "context", ip=ip)["crowdsec"]["banned"]

    done = lab.call("dpi.correlator", "unban", ip=ip)
    assert (done["ok"], done["removed"]) == (True, 1)
    assert f"Ip:{ip}" not in lab.decisions()
    assert ip not in lab.banned()
    assert not lab.call("dpi.correlator", "context", ip=ip)["crowdsec"]["banned"]
    assert {row["crowdsec_status"] for row in lab.threats(ip) if row["state"] != "new"} == {"unbanned"}


def test_of_ipv6_the_network_is_banned(lab: OurLab) -> None:
    ip = QUIET6[0]
    lab.attack(ip, times=6)
    network = ip.removesuffix(":1") + ":/64"
    eventually("its ban", lambda: network in lab.banned())
    assert lab.decisions().count(f"Range:{network}") == 1
    assert lab.call("dpi.correlator", "unban", ip=ip)["removed"] == 1
    assert f"Range:{network}" not in lab.decisions()


def test_a_whitelisted_address_is_recorded_and_never_banned(lab: OurLab) -> None:
    (ip,) = lab.call("dpi.correlator", "whitelist")["whitelist"]
    assert ip in visitors.attackers()
    lab.attack(ip, times=7)
    eventually("its reputation", lambda: lab.reputation(ip) >= THRESHOLD)
    eventually("why not", lambda: "whitelisted" in {row["crowdsec_status"] for row in lab.threats(ip)})
    by_hand = lab.call("dpi.correlator", "ban", ip=ip)
    assert by_hand["code"] == "never_banned"
    assert "the whitelist has" in by_hand["error"]
    assert f"Ip:{ip}" not in lab.decisions()
    assert ip not in lab.banned()


def test_a_client_of_the_lan_is_recorded_and_told_and_never_banned(lab: OurLab) -> None:
    client = eventually("a client", lambda: lab.call("dpi.lan", "clients", limit=1)["clients"][0])
    for _ in range(4):
        lab.call("dpi.correlator", "correlate", ip=client["ip"], event_type="brute_force", score=90)
    assert lab.reputation(client["ip"]) >= THRESHOLD
    assert {row["actor"] for row in lab.threats(client["ip"], type="brute_force")} == {client["mac"]}
    told = lab.call("dpi.correlator", "notifications", limit=100)["notifications"]
    assert client["mac"] in {row.get("mac") for row in told}
    assert lab.call("dpi.correlator", "ban", ip=client["ip"])["code"] == "never_banned"
    assert f"Ip:{client['ip']}" not in lab.decisions()


@pytest.mark.parametrize(
    "ip",
    [
        "203.0.113.9; reboot",
        "$(reboot)",
        "' OR 1=1 --",
        "::ffff:198.51.100.7",
        "fe80::1%br-lan",
        "198.51.100.7/24",
        "0.0.0.0/0",
        "192.0.2.300",
        "-a",
        "A" * 60_000,
        ["192.0.2.1"],
        {"$ne": ""},
        4,
        None,
    ],
    ids=lambda ip: str(ip)[:20],
)
def test_hostile_parameters_are_refused_by_name(lab: OurLab, ip: object) -> None:
    before = lab.decisions()
    for method in ("ban", "unban", "correlate", "whitelist_add"):
        if ip in ("0.0.0.0/0", "198.51.100.7/24") and method != "ban":
            continue
        more = {"event_type": "waf_alert"} if method == "correlate" else {}
        answer = lab.call("dpi.correlator", method, ip=ip, **more)
        assert answer["code"] in ("bad_address", "bad_parameter"), (method, answer)
        assert len(answer["error"]) < 300
    assert lab.decisions() == before


def test_while_crowdsec_is_down_nothing_is_lost(lab: OurLab) -> None:
    ip = QUIET[2]
    lab.order("crowdsec", "stop")
    eventually("it is gone", lambda: not lab.order("crowdsec", "running")["running"])
    lab.attack(ip, times=6)
    eventually("it waits", lambda: lab.call("dpi.correlator", "stats")["crowdsec"]["queued"] > 0)
    assert lab.threats(ip)[-1]["state"] == "new"
    assert lab.call("dpi.correlator", "ban", ip=QUIET[3])["code"].startswith("crowdsec_")
    lab.order("crowdsec", "start")
    eventually("its ban", lambda: f"Ip:{ip}" in lab.decisions())
    eventually("the record says so", lambda: lab.threats(ip)[-1]["crowdsec_status"] == "banned")
    assert lab.decisions().count(f"Ip:{ip}") == 1
    assert f"Ip:{QUIET[3]}" not in lab.decisions()


def test_the_report_counts_it(lab: OurLab) -> None:
    os.killpg(lab.process.pid, signal.SIGINT)
    assert lab.process.stdout is not None
    rest = lab.process.stdout.read()
    assert lab.process.wait(timeout=END_S) == 0, rest
    assert rest.rstrip().endswith("everything removed")
    document = json.loads(lab.report.read_text())
    correlation = document["correlation"]
    assert set(correlation) == {"events", "threats", "joined_with_flow", "banned", "latency_ms_p99", "crowdsec"}
    assert correlation["events"] >= 8 + 6 + 7 + 6 + 4
    assert 5 <= correlation["threats"] <= correlation["events"]
    assert 4 <= correlation["joined_with_flow"] <= correlation["threats"]
    assert correlation["banned"] >= 3
    assert correlation["latency_ms_p99"] > 0
    assert correlation["crowdsec"] == "connected"
    assert document["errors"] == []
