"""The whole lab as a person runs it: what it reports, what it survives, and that nothing of it stays behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from lab import record
from lab.supervisor import order
from lab.waiting import eventually, seconds_until
from tests.integration.running_lab import END_S, ROOT, RunningLab, lab_environment, start_lab, until_ready

pytestmark = pytest.mark.root


class PersonsLab(RunningLab):
    """A lab as a person at a terminal has it: the programs of `lab/bin`, the router's own commands, Ctrl-C."""

    @property
    def url(self) -> str:
        return str(self.record["url"])

    def ubus(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.script("ubus", *arguments)

    def in_router(self, *argv: str) -> str:
        return subprocess.run([*self.record["enter_router"], *argv], capture_output=True, text=True, check=True).stdout

    def services(self) -> dict[str, Any]:
        services: dict[str, Any] = order(self.record["supervisor_socket"], action="list")["services"]
        return services

    def end(self) -> int:
        """As Ctrl-C does at a terminal: the signal goes to the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.stdout is not None
        self.said += self.process.stdout.read().splitlines()
        return self.process.wait(timeout=END_S)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts labs, each in a process group of its own; none outlives the module."""
    started: list[subprocess.Popen[str]] = []

    def start(directory: Path, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
        started.append(start_lab(directory, *arguments, prefix=prefix))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        process.stdout.close()
        process.wait(timeout=END_S)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Iterator[PersonsLab]:
    directory = tmp_path_factory.mktemp("lab")
    report = directory / "report.json"
    process = start(directory, "--report", str(report), "--port", "0")
    said = until_ready(process)
    running = record.read(directory / "lab.json")
    assert running.get("ready"), "\n".join(said)
    lab = PersonsLab(process, report, said, lab_environment(directory), running)
    yield lab
    if process.poll() is None:
        lab.end()


def figures_flow(lab: PersonsLab, since: float) -> bool:
    """True when both streams know flows that began after `since`, and the mirror is whole."""
    mirror = lab.call("dpi.status", "mirror")
    tap = lab.call("dpi.status", "flows", limit=1)["flows"]
    lan = lab.call("dpi.lan", "flows", limit=1)["flows"]
    fresh = all(rows and rows[0]["first_seen_at"] > since for rows in (tap, lan))
    return fresh and mirror["complete"]


def figures_again(lab: PersonsLab, since: float, fault: str) -> None:
    took = seconds_until(f"figures after {fault}", lambda: figures_flow(lab, since))
    print(f"figures flow again {took:.1f} s after {fault}")


def mirror_filters(lab: PersonsLab, direction: str) -> int:
    listing = lab.in_router("tc", "-s", "filter", "show", "dev", "wan", direction)
    return len(re.findall(r"mirred \(Egress Mirror to device tap0\)", listing))


def assert_one_filter_a_direction(lab: PersonsLab) -> None:
    assert [mirror_filters(lab, direction) for direction in ("ingress", "egress")] == [1, 1]


def clients_of_both_versions(lab: PersonsLab) -> int:
    rows = lab.call("dpi.lan", "clients")["clients"]
    return sum(1 for row in rows if {":" in ip for ip in row["ips"]} == {True, False})


def lan_bytes(lab: PersonsLab) -> int:
    rows = lab.call("dpi.lan", "clients", limit=500)["clients"]
    return sum(row["bytes_in"] + row["bytes_out"] for row in rows)


# --- a person tries it


def test_it_shows_progress_and_says_what_to_try(lab: PersonsLab) -> None:
    assert sum(bool(re.search(r" … \d+ ms$", line)) for line in lab.said) >= 8
    text = "\n".join(lab.said)
    assert lab.url in text
    assert f"password {lab.record['password']}" in text
    assert "lab/bin/ubus call dpi.status status" in text


def test_ubus_lists_and_calls(lab: PersonsLab) -> None:
    listing = lab.ubus("-v", "list", "dpi*").stdout
    assert re.search(r"^'dpi\.lan' @[0-9a-f]{8}\n\t\"", listing, re.M)
    assert '"flows":{"limit":"Integer"' in listing
    eventually("three clients, each with IPv4 and IPv6", lambda: clients_of_both_versions(lab) == 3)
    page = json.loads(lab.ubus("call", "dpi.lan", "clients", '{"limit": 2}').stdout)
    assert len(page["clients"]) == 2
    assert page["total"] == 3
    rest = lab.call("dpi.lan", "clients", limit=2, before=page["next"])
    rows = [*page["clients"], *rest["clients"]]
    assert {row["hostname"] for row in rows} == {"laptop", "phone", "tv"}
    assert len({row["mac"] for row in rows}) == 3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("dpi.lan", "clients", '{"limit": "two"}'), "limit"),
        (("dpi.lan", "clients", '{"frob": 1}'), "frob"),
        (("dpi.lan", "client", "{}"), "client"),
        (("dpi.status", "flows", '{"ip": "no address"}'), "no address"),
    ],
)
def test_wrong_calls_are_refused_by_name(lab: PersonsLab, arguments: tuple[str, ...], named: str) -> None:
    answer = json.loads(lab.ubus("call", *arguments).stdout)
    assert named in answer["error"]
    assert re.fullmatch("[a-z_]+", answer["code"])


def test_the_same_over_http_with_a_login(lab: PersonsLab) -> None:
    port = int(lab.url.rpartition(":")[2])

    def post(sid: str, name: str, method: str, arguments: dict[str, Any]) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": [sid, name, method, arguments]}
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", "/ubus", json.dumps(request))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    null = "0" * 32
    credentials = {"username": "root", "password": lab.record["password"]}
    sid = post(null, "session", "login", credentials)["result"][1]["ubus_rpc_session"]
    assert post(null, "dpi.status", "status", {})["error"]["code"] == -32002
    assert post(sid, "dpi.status", "status", {})["result"][1]["engine"] == "running"
    assert len(post(sid, "dpi.lan", "flows", {"limit": 3})["result"][1]["flows"]) == 3


def test_dpi_dualctl_works_on_the_labs_router(lab: PersonsLab) -> None:
    command = [ROOT / "lab" / "bin" / "dpi-dualctl", "--json", "status"]
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tap_stream"]["interface"] == "tap0"


def test_a_second_lab_in_the_same_place_is_refused(lab: PersonsLab, start: Start) -> None:
    second = start(lab.report.parent)
    said, _ = second.communicate(timeout=END_S)
    assert second.returncode == 1
    assert f"process {lab.process.pid}" in said


# --- faults


def test_a_killed_engine_comes_back_with_one_filter_a_direction(lab: PersonsLab) -> None:
    eventually("LAN bytes", lambda: lan_bytes(lab) > 0)
    since = time.time()
    os.kill(lab.services()["engine"]["pid"], signal.SIGKILL)
    figures_again(lab, since, "the engine was killed")
    eventually("LAN bytes again", lambda: lan_bytes(lab) > 0)
    assert lab.services()["engine"]["restarts"] == 1
    assert_one_filter_a_direction(lab)


def test_a_killed_dpi_agent_comes_back(lab: PersonsLab) -> None:
    before, since = lan_bytes(lab), time.time()
    os.kill(lab.services()["netifyd"]["pid"], signal.SIGKILL)
    figures_again(lab, since, "the DPI agent was killed")
    eventually("LAN bytes count on", lambda: lan_bytes(lab) > before)
    assert lab.services()["netifyd"]["restarts"] == 1
    assert_one_filter_a_direction(lab)


def test_a_deleted_capture_interface_comes_back(lab: PersonsLab) -> None:
    lab.in_router("ip", "link", "delete", "tap0")
    since = time.time()
    figures_again(lab, since, "tap0 was deleted")
    assert_one_filter_a_direction(lab)
    counted = lab.call("dpi.status", "mirror")["packets_mirrored"]
    eventually("packets are mirrored", lambda: lab.call("dpi.status", "mirror")["packets_mirrored"] > counted)


def test_stop_lasts_and_start_works_over_ubus(lab: PersonsLab) -> None:
    stopped = lab.call("dpi.status", "stop")
    assert (stopped["ok"], stopped["running"]) == (True, False)
    assert lab.call("dpi.status", "status")["engine"] == "down"
    assert "tap0" not in lab.in_router("ip", "link", "show")
    assert mirror_filters(lab, "ingress") == mirror_filters(lab, "egress") == 0
    time.sleep(2)  # longer than a respawn would take
    assert not lab.services()["engine"]["running"]
    since = time.time()
    started = lab.call("dpi.status", "start")
    assert (started["ok"], started["running"]) == (True, True)
    figures_again(lab, since, "a start")
    assert_one_filter_a_direction(lab)
    pid = lab.services()["engine"]["pid"]
    assert lab.call("dpi.status", "restart")["ok"]
    eventually("another engine", lambda: lab.services()["engine"]["pid"] not in (pid, None))
    since = time.time()
    figures_again(lab, since, "a restart")


def test_ctrl_c_writes_the_report_and_leaves_nothing(lab: PersonsLab) -> None:
    namespaces = namespaces_of(lab.services())
    assert len(namespaces) == 6  # router, internet, nas, three clients
    assert lab.end() == 0, "\n".join(lab.said)
    assert lab.said[-1] == "everything removed"
    assert_nothing_left(lab.record, namespaces)
    report = json.loads(lab.report.read_text())
    assert report["engine"]["restarts"] == 1
    assert {"engine was killed by SIGKILL", "netifyd was killed by SIGKILL"} <= set(report["errors"])
    assert not [error for error in report["errors"] if "ended with" in error]
    assert report["lan"]["clients"] == 3


def namespaces_of(services: dict[str, Any]) -> set[int]:
    """Network namespaces that services run in; a process that was only just started may still be in our own."""
    pids = [service["pid"] for service in services.values() if service["running"]]
    return {os.stat(f"/proc/{pid}/ns/net").st_ino for pid in pids} - {os.stat("/proc/self/ns/net").st_ino}


def assert_nothing_left(running: dict[str, Any], namespaces: set[int]) -> None:
    assert record.processes_of(running["run"]) == []
    left = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.stat(entry / "ns" / "net").st_ino in namespaces:
                left.append(entry.name)
        except OSError:
            continue
    assert left == []
    assert not Path(running["directory"]).exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(running["url"].rpartition(":")[2]))) != 0


# --- by itself, and after a crash


def test_it_stops_by_itself_and_reports(tmp_path: Path, start: Start) -> None:
    file = tmp_path / "r.json"
    process = start(tmp_path, "--duration", "20", "--report", str(file), "--port", "0")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert not (tmp_path / "lab.json").exists()
    report = json.loads(file.read_text())
    assert report["seconds"] >= 20
    assert report["tap"]["packets_mirrored"] > 500
    assert report["tap"]["flows"] > 20
    assert {"DNS", "HTTP", "TLS", "SSH", "ICMP"} <= set(report["tap"]["protocols"])
    assert report["lan"]["clients"] >= 3
    assert report["lan"]["flows"] > 40
    assert report["lan"]["ipv6_flows"] > 5
    assert report["lan"]["destinations"] >= 5
    assert {"youtube", "whatsapp"} & set(report["lan"]["applications"])
    assert report["lan"]["source"] == "netifyd"
    counted = report["lan"]["client_interface_bytes"]
    assert counted > 500_000
    assert abs(report["lan"]["bytes"] - counted) <= 0.05 * counted
    assert report["ubus"]["calls"] > 10
    assert report["ubus"]["median_ms"] > 0
    assert report["ubus"]["errors"] == 0
    assert 0 < report["engine"]["rss_bytes"] <= 45 * 2**20
    assert report["engine"]["restarts"] == 0
    assert not any(report["engine"]["dropped"].values())
    assert report["problems"] == {}
    assert report["errors"] == []
    figures = [line for line in said.splitlines() if "packets mirrored" in line]
    assert len(figures) >= 3


def test_what_a_killed_lab_leaves_is_cleared_by_the_next(tmp_path: Path, start: Start) -> None:
    process = start(tmp_path, "--port", "0")
    until_ready(process)
    crashed = record.read(tmp_path / "lab.json")
    services = order(crashed["supervisor_socket"], action="list")["services"]
    namespaces = namespaces_of(services)
    process.kill()
    process.communicate(timeout=END_S)
    again = start(tmp_path, "--duration", "1", "--port", "0")
    said, _ = again.communicate(timeout=END_S)
    assert again.returncode == 0, said
    assert f"removed {crashed['directory']} of the last run" in said
    assert_nothing_left(crashed, namespaces)


@pytest.fixture
def place_of_nobody() -> Iterator[Path]:
    """A directory of the user nobody; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="nobody-") as directory:
        os.chown(directory, 65534, 65534)
        yield Path(directory)


def test_an_ordinary_user_can_run_it_too(place_of_nobody: Path, start: Start) -> None:
    place = place_of_nobody
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    probe = [*nobody, "sh", "-c", f"unshare -Urnm true && {sys.executable} -c 'import lab.run'"]
    if subprocess.run(probe, cwd=ROOT, capture_output=True, check=False).returncode != 0:
        pytest.skip("here an ordinary user may not read the checkout, or have a user namespace")
    report = place / "report.json"
    process = start(place, "--report", str(report), "--port", "0", prefix=nobody)
    said = until_ready(process)
    running = record.read(place / "lab.json")
    assert running.get("ready"), "\n".join(said)
    # its port is the host's own, its command line reaches into its router
    connection = HTTPConnection("127.0.0.1", int(running["url"].rpartition(":")[2]), timeout=30)
    connection.request("GET", "/ubus/list/dpi.lan")
    assert "clients" in json.loads(connection.getresponse().read())
    connection.close()
    environment = {**os.environ, "DPI_LAB_DIRECTORY": str(place)}

    def as_nobody(*command: str) -> str:
        return subprocess.check_output([*nobody, *command], cwd=ROOT, env=environment, text=True, timeout=60)

    eventually(
        "a whole mirror", lambda: '"complete": true' in as_nobody("lab/bin/ubus", "call", "dpi.status", "mirror")
    )
    assert "tap0: mirroring" in as_nobody("lab/bin/dpi-dualctl", "mirror", "status")
    eventually("three clients", lambda: as_nobody("lab/bin/ubus", "call", "dpi.lan", "clients").count('"mac"') == 3)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    rest = process.stdout.read()
    assert process.wait(timeout=END_S) == 0, rest
    document = json.loads(report.read_text())
    assert document["lan"]["clients"] == 3
    assert document["tap"]["packets_mirrored"] > 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(("--duration", "0"), "above zero"), (("--duration", "x"), "invalid"), (("--port", "70000"), "not a port")],
)
def test_wrong_options_are_named(tmp_path: Path, start: Start, arguments: tuple[str, ...], complaint: str) -> None:
    process = start(tmp_path, *arguments)
    said, _ = process.communicate(timeout=END_S)
    assert process.returncode == 2
    assert complaint in said


def test_a_taken_port_is_said(tmp_path: Path, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(tmp_path, "--port", str(taken.getsockname()[1]))
        said, _ = process.communicate(timeout=END_S)
    assert process.returncode == 1
    assert "Address already in use" in said
