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
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from lab import record
from lab.gateway.client import CallError, Client
from lab.supervisor import order

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parent.parent.parent

#: What is promised: after a fault, figures flow again within this.
RECOVERY_S = 15
START_S = 60
END_S = 60


@dataclass
class RunningLab:
    """A lab in a process group of its own, as a terminal would have it."""

    process: subprocess.Popen[str]
    directory: Path
    report: Path
    said: list[str]
    environment: dict[str, str]
    record: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.record["url"])

    def call(self, name: str, method: str, **arguments: Any) -> dict[str, Any]:
        with Client(self.record["ubus_socket"]) as client:
            return client.call(name, method, arguments)

    def ubus(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [ROOT / "lab" / "bin" / "ubus", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    def in_router(self, *argv: str) -> str:
        return subprocess.run([*self.record["enter_router"], *argv], capture_output=True, text=True, check=True).stdout

    def services(self) -> dict[str, Any]:
        services: dict[str, Any] = order(self.record["supervisor_socket"], action="list")["services"]
        return services

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """As Ctrl-C does at a terminal: the signal goes to the whole process group."""
        os.killpg(self.process.pid, number)
        assert self.process.stdout is not None
        self.said += self.process.stdout.read().splitlines()
        return self.process.wait(timeout=END_S)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts labs, each in a process group of its own; none outlives the module."""
    started: list[subprocess.Popen[str]] = []

    def start(directory: Path, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "lab", "run", *arguments],
            cwd=ROOT,
            env={**os.environ, "DPI_LAB_DIRECTORY": str(directory)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        process.stdout.close()
        process.wait(timeout=END_S)


def until_ready(process: subprocess.Popen[str]) -> list[str]:
    """What a lab says until it runs, or has failed."""
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line.rstrip())
        if line.startswith("  logs and files"):
            break
    return said


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Iterator[RunningLab]:
    directory = tmp_path_factory.mktemp("lab")
    report = directory / "report.json"
    process = start(directory, "--report", str(report), "--port", "0")
    said = until_ready(process)
    running = record.read(directory / "lab.json")
    assert running.get("ready"), "\n".join(said)
    environment = {**os.environ, "DPI_LAB_DIRECTORY": str(directory)}
    lab = RunningLab(process, directory, report, said, environment, running)
    yield lab
    if process.poll() is None:
        lab.end()


def eventually(what: str, condition: Callable[[], Any], patience_s: float = RECOVERY_S) -> None:
    """Waits for a condition that may fail with the errors of a product that is just starting."""
    deadline = time.monotonic() + patience_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            if last := condition():
                return
        except (CallError, OSError, KeyError) as error:
            last = error
        time.sleep(0.2)
    pytest.fail(f"not within {patience_s} s: {what} ({last})")


def figures_flow(lab: RunningLab, since: float) -> bool:
    """True when both streams know flows that began after `since`, and the mirror is whole."""
    mirror = lab.call("dpi.status", "mirror")
    tap = lab.call("dpi.status", "flows", limit=1)["flows"]
    lan = lab.call("dpi.lan", "flows", limit=1)["flows"]
    fresh = all(rows and rows[0]["first_seen_at"] > since for rows in (tap, lan))
    return fresh and mirror["complete"]


def mirror_filters(lab: RunningLab, direction: str) -> int:
    listing = lab.in_router("tc", "-s", "filter", "show", "dev", "wan", direction)
    return len(re.findall(r"mirred \(Egress Mirror to device tap0\)", listing))


def assert_one_filter_a_direction(lab: RunningLab) -> None:
    assert [mirror_filters(lab, direction) for direction in ("ingress", "egress")] == [1, 1]


def clients_of_both_versions(lab: RunningLab) -> int:
    rows = lab.call("dpi.lan", "clients")["clients"]
    return sum(1 for row in rows if {":" in ip for ip in row["ips"]} == {True, False})


def lan_bytes(lab: RunningLab) -> int:
    rows = lab.call("dpi.lan", "clients", limit=500)["clients"]
    return sum(row["bytes_in"] + row["bytes_out"] for row in rows)


# --- a person tries it


def test_it_shows_progress_and_says_what_to_try(lab: RunningLab) -> None:
    assert sum(bool(re.search(r" … \d+ ms$", line)) for line in lab.said) >= 8
    text = "\n".join(lab.said)
    assert lab.url in text
    assert f"password {lab.record['password']}" in text
    assert "lab/bin/ubus call dpi.status status" in text


def test_ubus_lists_and_calls(lab: RunningLab) -> None:
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
def test_wrong_calls_are_refused_by_name(lab: RunningLab, arguments: tuple[str, ...], named: str) -> None:
    answer = json.loads(lab.ubus("call", *arguments).stdout)
    assert named in answer["error"]
    assert re.fullmatch("[a-z_]+", answer["code"])


def test_the_same_over_http_with_a_login(lab: RunningLab) -> None:
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


def test_dpi_dualctl_works_on_the_labs_router(lab: RunningLab) -> None:
    command = [ROOT / "lab" / "bin" / "dpi-dualctl", "--json", "status"]
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tap_stream"]["interface"] == "tap0"


def test_a_second_lab_in_the_same_place_is_refused(lab: RunningLab, start: Start) -> None:
    second = start(lab.directory)
    said, _ = second.communicate(timeout=END_S)
    assert second.returncode == 1
    assert f"process {lab.process.pid}" in said


# --- faults


def test_a_killed_engine_comes_back_with_one_filter_a_direction(lab: RunningLab) -> None:
    eventually("LAN bytes", lambda: lan_bytes(lab) > 0)
    since = time.time()
    os.kill(lab.services()["engine"]["pid"], signal.SIGKILL)
    eventually("figures after the engine was killed", lambda: figures_flow(lab, since))
    eventually("LAN bytes again", lambda: lan_bytes(lab) > 0)
    assert lab.services()["engine"]["restarts"] == 1
    assert_one_filter_a_direction(lab)


def test_a_killed_dpi_agent_comes_back(lab: RunningLab) -> None:
    before, since = lan_bytes(lab), time.time()
    os.kill(lab.services()["netifyd"]["pid"], signal.SIGKILL)
    eventually("figures after the DPI agent was killed", lambda: figures_flow(lab, since))
    eventually("LAN bytes count on", lambda: lan_bytes(lab) > before)
    assert lab.services()["netifyd"]["restarts"] == 1
    assert_one_filter_a_direction(lab)


def test_a_deleted_capture_interface_comes_back(lab: RunningLab) -> None:
    lab.in_router("ip", "link", "delete", "tap0")
    since = time.time()
    eventually("figures after tap0 was deleted", lambda: figures_flow(lab, since))
    assert_one_filter_a_direction(lab)
    counted = lab.call("dpi.status", "mirror")["packets_mirrored"]
    eventually("packets are mirrored", lambda: lab.call("dpi.status", "mirror")["packets_mirrored"] > counted)


def test_stop_lasts_and_start_works_over_ubus(lab: RunningLab) -> None:
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
    eventually("figures after a start", lambda: figures_flow(lab, since))
    assert_one_filter_a_direction(lab)
    pid = lab.services()["engine"]["pid"]
    assert lab.call("dpi.status", "restart")["ok"]
    eventually("another engine", lambda: lab.services()["engine"]["pid"] not in (pid, None))
    since = time.time()
    eventually("figures after a restart", lambda: figures_flow(lab, since))


def test_ctrl_c_writes_the_report_and_leaves_nothing(lab: RunningLab) -> None:
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
