"""Correlation in the whole lab: an attack over TLS becomes a record, a flow, a reputation, and a ban in CrowdSec."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lab import crowdsec, record, visitors
from lab.gateway.client import CallError, Client
from lab.network import ROUTER_WAN, VISITORS, VISITORS6
from lab.origin import SHOP
from lab.supervisor import order

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(crowdsec.missing()), reason=crowdsec.missing() or "CrowdSec is here"),
]

ROOT = Path(__file__).resolve().parent.parent.parent
#: An alert, its flow and its requests are together within this.
RECORD_S = 2.0
PATIENCE_S = 20.0
END_S = 60
THRESHOLD = 80

#: Those that the lab's own attackers are not: their reputations are what a test makes of them.
QUIET = [ip for ip in VISITORS if ip not in visitors.attackers()]
QUIET6 = [ip for ip in VISITORS6 if ip not in visitors.attackers()]


@dataclass
class RunningLab:
    """A lab whose own visitors are silent, so that every attack is one of ours."""

    process: subprocess.Popen[str]
    report: Path
    said: list[str]
    environment: dict[str, str]
    record: dict[str, Any]

    def call(self, name: str, method: str, **arguments: Any) -> dict[str, Any]:
        with Client(self.record["ubus_socket"]) as client:
            return client.call(name, method, arguments)

    def order(self, service: str, action: str) -> dict[str, Any]:
        return order(self.record["supervisor_socket"], service=service, action=action)

    def script(self, name: str, *argv: str) -> str:
        command = [str(ROOT / "lab" / "bin" / name), *argv]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def attack(self, ip: str, path: str = "/search?q=" + quote("<script>alert(1)</script>"), times: int = 1) -> int:
        """Attacks as this visitor, each time over a connection of its own; the last one's port."""
        port = "0"
        for _ in range(times):
            shown = ["-sS", "-o", "/dev/null", "--max-time", "20", "-w", "%{local_port}", "--interface", ip]
            port = self.script("visitor", "curl", *shown, "-6" if ":" in ip else "-4", f"https://{SHOP}{path}")
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
        alerts = json.loads(self.script("cscli", "decisions", "list", "-a", "-o", "json")) or []
        return [f"{row['scope']}:{row['value']}" for alert in alerts for row in alert["decisions"]]


def eventually(what: str, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    deadline = time.monotonic() + patience_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            if last := condition():
                return last
        except (CallError, OSError, KeyError) as error:
            last = error
        time.sleep(0.05)
    pytest.fail(f"not within {patience_s} s: {what} ({last})")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    directory = tmp_path_factory.mktemp("lab")
    report = directory / "report.json"
    environment = {**os.environ, "DPI_LAB_DIRECTORY": str(directory)}
    process = subprocess.Popen(
        [sys.executable, "-m", "lab", "run", "--report", str(report), "--port", "0"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line.rstrip())
        if line.startswith("  logs and files"):
            break
    running = record.read(directory / "lab.json")
    if not running.get("ready"):
        process.send_signal(signal.SIGINT)
        pytest.fail("\n".join([*said, *process.communicate(timeout=END_S)[0].splitlines()]))
    lab = RunningLab(process, report, said, environment, running)
    lab.order("visitors", "stop")
    # The agent looks for the interface that the engine has made every second.
    eventually("the mirror is captured", lambda: lab.call("dpi.status", "status")["tap_stream"]["flows_1min"])
    yield lab
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=END_S)
    process.stdout.close()


def test_it_says_what_to_try(lab: RunningLab) -> None:
    text = "\n".join(lab.said)
    assert "lab/bin/dpi-dualctl threats 5" in text
    assert "lab/bin/cscli decisions list -a" in text
    stats = eventually("it is connected", lambda: lab.call("dpi.correlator", "stats"))
    assert stats["auto_ban"]
    assert stats["crowdsec"]["state"] == "connected"


def test_an_attack_is_one_record_with_request_flow_and_score(lab: RunningLab) -> None:
    ip = QUIET[0]
    port = lab.attack(ip)

    def told() -> dict[str, Any] | None:
        rows = lab.threats(ip, context=True)
        context = rows[0]["context"] if rows else {}
        return rows[0] if context.get("mitm_requests") and context.get("dpi_flows") else None

    threat = eventually("a record with request and flow", told, RECORD_S)
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
    assert ip in lab.script("dpi-dualctl", "threats", "5")


def test_who_goes_on_is_banned_once_and_unban_undoes_it(lab: RunningLab) -> None:
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


def test_of_ipv6_the_network_is_banned(lab: RunningLab) -> None:
    ip = QUIET6[0]
    lab.attack(ip, times=6)
    network = ip.removesuffix(":1") + ":/64"
    eventually("its ban", lambda: network in lab.banned())
    assert lab.decisions().count(f"Range:{network}") == 1
    assert lab.call("dpi.correlator", "unban", ip=ip)["removed"] == 1
    assert f"Range:{network}" not in lab.decisions()


def test_a_whitelisted_address_is_recorded_and_never_banned(lab: RunningLab) -> None:
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


def test_a_client_of_the_lan_is_recorded_and_told_and_never_banned(lab: RunningLab) -> None:
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
def test_hostile_parameters_are_refused_by_name(lab: RunningLab, ip: object) -> None:
    before = lab.decisions()
    for method in ("ban", "unban", "correlate", "whitelist_add"):
        if ip in ("0.0.0.0/0", "198.51.100.7/24") and method != "ban":
            continue
        more = {"event_type": "waf_alert"} if method == "correlate" else {}
        answer = lab.call("dpi.correlator", method, ip=ip, **more)
        assert answer["code"] in ("bad_address", "bad_parameter"), (method, answer)
        assert len(answer["error"]) < 300
    assert lab.decisions() == before


def test_while_crowdsec_is_down_nothing_is_lost(lab: RunningLab) -> None:
    ip = QUIET[2]
    lab.order("crowdsec", "stop")
    eventually("it is gone", lambda: not lab.order("crowdsec", "running")["running"])
    lab.attack(ip, times=6)
    eventually("it waits", lambda: lab.call("dpi.correlator", "stats")["crowdsec"]["queued"] > 0)
    assert lab.threats(ip)[-1]["state"] == "new"
    assert lab.call("dpi.correlator", "ban", ip=QUIET[3])["code"].startswith("crowdsec_")
    lab.order("crowdsec", "start")
    eventually("its ban", lambda: f"Ip:{ip}" in lab.decisions(), 40)
    eventually("the record says so", lambda: lab.threats(ip)[-1]["crowdsec_status"] == "banned")
    assert lab.decisions().count(f"Ip:{ip}") == 1
    assert f"Ip:{QUIET[3]}" not in lab.decisions()


def test_the_report_counts_it(lab: RunningLab) -> None:
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
