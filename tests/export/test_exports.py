"""The exports of a real engine: EVE lines, metrics that promtool accepts, InfluxDB, MQTT, and what is away."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dpi_dual.export import eve
from dpi_dual.processes import own_program
from lab.engine import RunningEngine, running_engine
from lab.waiting import eventually
from tests.cli.agent import FLOWS

from .conftest import subscribed

ADDRESS = re.compile(r'"[^"]*(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|[0-9a-f]{1,4}:[0-9a-f:]+)[^"]*"')


def uci(socket: Path, **options: str | int) -> str:
    lines = "".join(f"\toption {name} '{value}'\n" for name, value in options.items())
    lan = f"config lan 'lan'\n\toption interface 'lo'\n\toption netifyd_socket '{socket}'\n"
    return f"{lan}config export 'export'\n\toption sensor_id 'router one'\n{lines}"


def counter(engine: RunningEngine, name: str) -> int:
    return int(engine.call("dpi.status", "health")["counters"].get(f"export_{name}", -1))


def problem(engine: RunningEngine, code: str) -> dict[str, Any] | None:
    found = engine.call("dpi.status", "health")["problems"]
    return next((entry for entry in found if entry["code"] == code), None)


def read_eve(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def test_finished_flows_become_eve_lines(agent_socket: Path) -> None:
    with running_engine(uci(agent_socket, eve=1)) as engine:
        path = engine.directory / "stats" / "eve.json"
        eventually("three flows", lambda: len(read_eve(path)) >= len(FLOWS))
        events = read_eve(path)
        assert path.stat().st_mode & 0o777 == 0o640
        assert counter(engine, "eve_written") == len(FLOWS)
        first = next(event for event in events if event["src_ip"] == FLOWS[0][1])
    assert {event["event_type"] for event in events} == {"flow"}
    assert (first["dest_ip"], first["dest_port"], first["proto"]) == (FLOWS[0][3], FLOWS[0][4], "TCP")
    assert first["flow"]["bytes_toserver"] == FLOWS[0][7]
    assert first["flow"]["bytes_toclient"] == FLOWS[0][8]
    assert (first["host"], first["in_iface"]) == ("router-one", "lo")
    assert re.fullmatch(r"1:[A-Za-z0-9+/]{27}=", first["community_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0000", first["timestamp"])
    assert first["dpi_dual"]["hostname"] == "www.youtube.com"
    assert 0 < first["flow_id"] < 1 << 53


def test_a_place_that_cannot_be_written_is_a_problem_not_an_end(agent_socket: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong = tmp_path / "file" / "eve.json"
    with running_engine(uci(agent_socket, eve=1, eve_path=wrong, textfile=tmp_path / "file" / "x.prom")) as engine:
        eventually("the flows are counted as dropped", lambda: counter(engine, "eve_dropped") == len(FLOWS))
        eventually("health says it", lambda: problem(engine, "export_failing"))
        assert engine.process.poll() is None


def test_metrics_are_what_prometheus_takes(agent_socket: Path, tmp_path: Path) -> None:
    textfile = tmp_path / "textfile" / "dpi_dual.prom"
    with running_engine(uci(agent_socket, prometheus=1, textfile=textfile)) as engine:
        engine.call("dpi.correlator", "correlate", ip="198.51.100.9", event_type="scanner", reason='a "b" \\ c')
        eventually("the flows are known", lambda: len(engine.call("dpi.lan", "flows")["flows"]) == len(FLOWS))
        answer = engine.call("dpi.status", "metrics")
        eventually("the file is written", textfile.exists)
        assert textfile.stat().st_mode & 0o777 == 0o644
        assert "dpi_dual_info" in textfile.read_text()
    text = answer["text"]
    assert answer["content_type"].startswith("text/plain; version=0.0.4")
    assert not ADDRESS.search(text), ADDRESS.search(text)
    assert 'sensor="router-one"' in text
    assert re.search(r'^dpi_dual_flows_started_total\{stream="lan"\} 3$', text, re.MULTILINE)
    assert re.search(r"^dpi_dual_threats_total 1$", text, re.MULTILINE)
    for kind, name in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        assert (name == "counter") == kind.endswith("_total"), (kind, name)
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_metrics_are_off_by_default(agent_socket: Path) -> None:
    with running_engine(uci(agent_socket)) as engine:
        assert engine.call("dpi.status", "metrics")["code"] == "prometheus_off"
        parts = engine.call("dpi.status", "health")["parts"]
        assert "export" not in json.dumps(parts)
        assert not (engine.directory / "stats" / "eve.json").exists()


# --- InfluxDB


class Receiver(ThreadingHTTPServer):
    """Takes what InfluxDB takes, as long as `status` says so."""

    status = 204
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.bodies: list[str] = []
        self.headers: list[dict[str, str]] = []


class _Take(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.headers.append({**self.headers, "path": self.path})
        if self.server.status == 204:
            self.server.bodies.append(body)
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def with_secret(engine: RunningEngine, name: str, value: str) -> None:
    secrets = engine.directory / "config" / "dpi-dual-secrets"
    secrets.touch(0o600)
    secrets.write_text(f"config export 'export'\n\toption {name} '{value}'\n")
    engine.process.send_signal(signal.SIGHUP)


def test_figures_are_pushed_as_line_protocol(agent_socket: Path, receiver: Receiver) -> None:
    url = f"http://127.0.0.1:{receiver.server_port}/api/v2/write?org=home&bucket=dpi"
    with running_engine(uci(agent_socket, influx_url=url)) as engine:
        with_secret(engine, "influx_token", "s3cret")
        eventually("a push", lambda: [head for head in receiver.headers if head.get("Authorization") == "Token s3cret"])
        eventually("it is counted", lambda: counter(engine, "influx_sent") >= 1)
        assert "s3cret" not in json.dumps(engine.call("dpi.status", "health"))
    assert receiver.headers[0]["path"] == "/api/v2/write?org=home&bucket=dpi"
    lines = receiver.bodies[-1].splitlines()
    assert len(lines) > 20
    for line in lines:
        assert re.fullmatch(r"dpi_dual_[a-z_]+,(\\.|[^ \\])+ value=-?[0-9.e+-]+ [0-9]{19}", line), line
        assert "sensor=router-one" in line


@pytest.mark.parametrize("status", [401, 302, 500])
def test_what_influxdb_refuses_is_kept_and_told(agent_socket: Path, receiver: Receiver, status: int) -> None:
    receiver.status = status
    with running_engine(uci(agent_socket, influx_url=f"http://127.0.0.1:{receiver.server_port}/write")) as engine:
        found = eventually("health says it", lambda: problem(engine, "export_failing"))
        assert f"it answered {status}" in found["message"]
        assert counter(engine, "influx_sent") == 0
    assert [head["path"] for head in receiver.headers][:1] == ["/write"]
    assert all(head["path"] == "/write" for head in receiver.headers), "redirects are not followed"


# --- MQTT


def mqtt_uci(socket: Path, port: int, **more: str | int) -> str:
    return uci(socket, mqtt=1, mqtt_host="127.0.0.1", mqtt_port=port, **{"mqtt_tls": 0, **more})


def children(engine: RunningEngine, word: bytes) -> list[int]:
    """The engine's processes with a word in their command."""
    listed = Path(f"/proc/{engine.process.pid}/task/{engine.process.pid}/children").read_text().split()
    return [int(pid) for pid in listed if word in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture
def paho() -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")


@pytest.mark.usefixtures("paho")
def test_events_go_to_the_broker_and_the_last_will_says_goodbye(
    agent_socket: Path, make_broker: Callable[..., Any]
) -> None:
    broker = make_broker()
    with (
        subscribed(broker.port) as subscriber,
        running_engine(mqtt_uci(agent_socket, broker.port, mqtt_topic="home/dpi")) as engine,
    ):
        status = "home/dpi/router-one/status"
        assert subscriber.wait(status) == {"state": "online"}
        engine.call("dpi.correlator", "correlate", ip="198.51.100.9", event_type="scanner", reason="by hand")
        threat = subscriber.wait("home/dpi/router-one/threat")
        assert (threat["ip"], threat["event_type"], threat["host"]) == ("198.51.100.9", "scanner", "router-one")
        assert subscriber.wait("home/dpi/router-one/client")["mac"]
        figures = subscriber.wait("home/dpi/router-one/figures")
        assert figures["dpi_dual_resident_memory_bytes"] > 1 << 20
        eventually("the broker acknowledged", lambda: counter(engine, "mqtt_delivered") >= 3)
        # Both are killed at once: nobody can say goodbye but the broker.
        (child,) = children(engine, b"mqtt_process")
        os.kill(child, signal.SIGKILL)
        engine.process.kill()
        assert subscriber.wait(status, lambda content: content["state"] == "offline")


@pytest.mark.usefixtures("paho")
def test_messages_wait_for_a_broker_that_is_away(agent_socket: Path, make_broker: Callable[..., Any]) -> None:
    broker = make_broker(start=False)
    with running_engine(mqtt_uci(agent_socket, broker.port)) as engine:
        for number in range(3):
            engine.call("dpi.correlator", "correlate", ip=f"198.51.100.{number}", event_type="scanner")
        broker.start()
        with subscribed(broker.port) as subscriber:
            topic = "dpi-dual/router-one/threat"
            # Those that came before we listened are not repeated: what the broker got is what the engine counts.
            eventually("all that waited was delivered", lambda: counter(engine, "mqtt_delivered") >= 3)
            broker.stop()
            engine.call("dpi.correlator", "correlate", ip="198.51.100.77", event_type="scanner")
            found = eventually("health says it", lambda: problem(engine, "mqtt_down"))
            assert "takes no messages" in found["message"]
            broker.start()
            eventually("it is back", lambda: problem(engine, "mqtt_down") is None)
            engine.call("dpi.correlator", "correlate", ip="198.51.100.78", event_type="brute_force")
            assert subscriber.wait(topic, lambda content: content["ip"] == "198.51.100.78")
        assert counter(engine, "mqtt_dropped") == 0


@pytest.mark.usefixtures("paho")
def test_a_wrong_password_is_told_and_a_right_one_works(
    agent_socket: Path, make_broker: Callable[..., Any], tmp_path: Path
) -> None:
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("mosquitto_passwd is not installed (Debian's package mosquitto)")
    passwords = tmp_path / "passwords"
    subprocess.run([tool, "-b", "-c", passwords, "router", "right"], check=True, capture_output=True)
    broker = make_broker(start=False)
    broker.more = f"allow_anonymous false\npassword_file {passwords}\n"
    broker.start()
    with running_engine(mqtt_uci(agent_socket, broker.port, mqtt_user="router")) as engine:
        with_secret(engine, "mqtt_password", "wrong")
        found = eventually("health says it", lambda: problem(engine, "mqtt_down"))
        assert "refused" in found["message"] or "lost" in found["message"]
        with_secret(engine, "mqtt_password", "right")
        engine.call("dpi.correlator", "correlate", ip="198.51.100.9", event_type="scanner")
        eventually("the broker acknowledged", lambda: counter(engine, "mqtt_delivered") >= 1)
        assert children(engine, b"mqtt_process")
        assert not children(engine, b"right")


@pytest.mark.usefixtures("paho")
def test_tls_needs_a_certificate_that_somebody_vouches_for(
    agent_socket: Path, make_broker: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *made, *subject], check=True, capture_output=True)
    broker = make_broker(start=False)
    broker.more = f"certfile {certificate}\nkeyfile {key}\n"
    broker.start()
    with running_engine(mqtt_uci(agent_socket, broker.port, mqtt_tls=1)) as engine:
        eventually("a certificate that nobody vouches for is refused", lambda: problem(engine, "mqtt_down"))
        assert counter(engine, "mqtt_delivered") == 0
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with (
        subscribed(broker.port, ca_certs=str(certificate)) as subscriber,
        running_engine(mqtt_uci(agent_socket, broker.port, mqtt_tls=1)),
    ):
        assert subscriber.wait("dpi-dual/router-one/status")["state"] == "online"


def test_the_engine_itself_loads_neither_paho_nor_openssl(agent_socket: Path, make_broker: Callable[..., Any]) -> None:
    broker = make_broker()
    with running_engine(mqtt_uci(agent_socket, broker.port, eve=1, prometheus=1)) as engine:
        eventually("it runs", lambda: engine.call("dpi.status", "health")["parts"])
        engine.call("dpi.status", "metrics")
        maps = Path(f"/proc/{engine.process.pid}/maps").read_text()
    assert "libssl" not in maps
    assert eve.timestamp(0.5) == "1970-01-01T00:00:00.500000+0000"


@pytest.mark.usefixtures("paho")
def test_thousands_of_messages_are_all_acknowledged(make_broker: Callable[..., Any]) -> None:
    broker = make_broker()
    settings = {"host": "127.0.0.1", "port": broker.port, "tls": False, "user": "", "password": ""}
    lines = [json.dumps({**settings, "topic": "t", "sensor": "s"})]
    lines += [json.dumps([number, "t/s/threat", "{}"]) for number in range(1, 5001)]
    done = subprocess.run(
        [*own_program("dpi_dual.export.mqtt_process")],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    acknowledged = [words[1] for words in said if words[0] == "ack"]
    # The last of them may be on their way while the process says goodbye.
    assert len(acknowledged) == len(set(acknowledged)) >= 4950
    assert set(acknowledged) <= set(range(1, 5001))
