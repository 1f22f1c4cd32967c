"""Row 9: what one poll of the Overview page weighs, over HTTP, on a busy engine with the worst names there are."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.row import Row
from bench.wire import HELLO, Listener, events, frame
from dpi_dual.engine.series import COLUMNS, KEEP_S, STEP_S, Series
from dpi_dual.engine.state import State
from lab.engine import ROOT, RunningEngine, running_engine

BUDGET_KIB = 16
FLOWS, ALERTS = 3000, 600
#: A character that JSON has to write in twelve bytes.
WIDE = "\U0001d518"
#: What a page would have to ask one after another without it.
PARTS = (
    ("dpi.status", "status"),
    ("dpi.status", "health"),
    ("dpi.status", "history"),
    ("dpi.status", "flows"),
    ("dpi.lan", "protocols"),
    ("dpi.correlator", "timeline"),
    ("dpi.correlator", "scorecard"),
)


def _flow(number: int) -> bytes:
    now = int(time.time() * 1000)
    flow = {
        "digest": f"{number:040x}",
        "first_seen_at": now,
        "last_seen_at": now,
        "detected_application": number % 90,
        "detected_application_name": f"netify.{WIDE * 50}{number % 90}",
        "detected_protocol": number % 70,
        "detected_protocol_name": f"{WIDE * 50}{number % 70}",
        "host_server_name": WIDE * 60,
        "ip_protocol": 6,
        "ip_version": 4,
        "local_ip": f"192.168.1.{number % 250}",
        "local_mac": f"02:00:5e:00:01:{number % 250:02x}",
        "local_origin": True,
        "local_port": 1024 + number,
        "other_ip": f"198.51.{(number >> 8) & 255}.{number & 255}",
        "other_mac": "02:00:5e:00:ff:01",
        "other_port": 443,
        "other_type": "remote",
    }
    interface = ("tap0", "br-lan")[number % 2]
    return frame({"established": False, "flow": flow, "interface": interface, "internal": True, "type": "flow"})


def _stats(number: int) -> bytes:
    flow = {
        "digest": f"{number:040x}",
        "last_seen_at": int(time.time() * 1000),
        "local_bytes": 10**9,
        "other_bytes": 10**12,
        "total_bytes": 10**12 + 10**9,
        "local_packets": 10**6,
        "other_packets": 10**9,
        "total_packets": 10**9 + 10**6,
    }
    interface = ("tap0", "br-lan")[number % 2]
    return frame({"established": False, "flow": flow, "interface": interface, "internal": True, "type": "flow_stats"})


def _alert(number: int) -> bytes:
    event = {
        "n": number,
        "id": f"bench-{number:06d}",
        "at": time.time(),
        "event": ("waf_alert", "waf_block", "scanner", "brute_force")[number % 4],
        "client_ip": f"2001:db8:{number % 300:x}:ffff:ffff:ffff:ffff:{1000 + number % 9000}",
        "client_port": 0,
        "host": WIDE * 255,
        "path": "/" + WIDE * 500,
        "method": "GET",
        "threat_score": 40 + number % 60,
        "categories": ["path_traversal", "sqli", "xss"],
        "blocked": False,
        "rule": f"rule-{number}-" + "x" * 50,
        "rules": [],
    }
    return events(event)


def _day_of_series(flash: Path, ram: Path) -> None:
    """A state whose time series is full, of a link that was always busy."""
    state = State(str(ram), str(flash), 900)
    figures = [0] * len(COLUMNS)
    series = Series(state.db, lambda: tuple(figures))
    end = int(time.time()) // STEP_S * STEP_S
    state.db.execute("BEGIN")
    for at in range(end - KEEP_S, end + 1, STEP_S):
        figures = [figure + grown for figure, grown in zip(figures, (10**10, 10**5, 10**10, 10**5, 10**5), strict=True)]
        series.sample(at)
    state.db.execute("COMMIT")
    state.close()


@contextmanager
def busy_engine() -> Iterator[RunningEngine]:
    """An engine with `FLOWS` flows, `ALERTS` records, a day of series and many problems, all with hostile names."""
    with tempfile.TemporaryDirectory(prefix="dpi-bench-") as name:
        place = Path(name)
        _day_of_series(place / "flash", place / "ram")
        agents, analysers = Listener(place / "a" / "agent.sock"), Listener(place / "b" / "analyser.sock")
        missing = "".join(f"\tlist interface 'no-such-if-{number}'\n" for number in range(8))
        uci = (
            f"config global 'settings'\n\toption state_dir '{place}/flash'\n"
            f"config mitm 'mitm'\n\toption buffer_dir '{place}/b'\n"
            f"config tap 'tap'\n\toption netifyd_socket '{place}/a/agent.sock'\n"
            f"config lan 'lan'\n\toption netifyd_socket '{place}/a/agent.sock'\n"
            f"\tlist interface 'br-lan'\n{missing}"
            + "".join(f"config nonsense 'n{number}'\n\toption {'o' * 60} '{'v' * 200}'\n" for number in range(20))
        )
        with running_engine(uci) as engine:
            agent, analyser = agents.accept(), analysers.accept()
            with agent, analyser:
                agent.sendall(HELLO)
                for number in range(FLOWS):
                    agent.sendall(_flow(number) + _stats(number))
                for number in range(1, ALERTS + 1):
                    analyser.sendall(_alert(number))
                _wait_until_full(engine)
                yield engine
        agents.close()
        analysers.close()


def _wait_until_full(engine: RunningEngine) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        flows = sum(engine.call(obj, "flows", limit=1)["total"] for obj in ("dpi.status", "dpi.lan"))
        if flows >= FLOWS and engine.call("dpi.correlator", "stats")["threats"] >= ALERTS:
            return
        time.sleep(0.2)
    raise RuntimeError("the engine did not take in all flows and alerts within two minutes")


@contextmanager
def _gateway(engine: RunningEngine) -> Iterator[str]:
    """The address of a gateway whose plugins talk to this engine; the password is 'bench'."""
    password = engine.directory / "password"
    password.write_text("bench")
    acl = ROOT / "luci-app-dpi-dual" / "root" / "usr" / "share" / "rpcd" / "acl.d"
    command = [sys.executable, "-m", "lab.gateway", "--port", "0", "--socket", str(engine.directory / "ubus.sock")]
    command += ["--acl", str(acl), "--password-file", str(password)]
    process = subprocess.Popen(command, cwd=ROOT, env=engine.environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield "http://" + process.stdout.readline().split()[2] + "/ubus"
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def _post(url: str, session: str, obj: str, method: str, **params: object) -> tuple[int, Any]:
    """Bytes of the response, and what the call answered."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": [session, obj, method, params]}
    request = urllib.request.Request(url, json.dumps(call).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        body = response.read()
    status, *answer = json.loads(body)["result"]
    if status or "error" in answer[0]:
        raise RuntimeError(f"{obj} {method}: status {status}, {answer}")
    return len(body), answer[0]


def measure() -> list[Row]:
    with busy_engine() as engine, _gateway(engine) as url:
        _, login = _post(url, "0" * 32, "session", "login", username="root", password="bench")
        session = login["ubus_rpc_session"]
        first = max(_post(url, session, "dpi.status", "overview", range=span)[0] for span in ("10m", "24h"))
        answer = _post(url, session, "dpi.status", "overview", range="24h")[1]
        newest = answer["series"]["points"][-1][0]
        following = _post(url, session, "dpi.status", "overview", range="24h", since=newest)[0]
        separate = sum(_post(url, session, obj, method)[0] for obj, method in PARTS)
    full = len(answer["series"]["points"]) > 90 and answer["threats"] and answer["problems"]
    if not full:
        raise RuntimeError("the answer has not all its parts, so its weight says nothing")
    return [
        Row(
            "Overview poll",
            first / 1024,
            "KiB",
            separate / 1024,
            f"≤ {BUDGET_KIB}",
            first <= BUDGET_KIB * 1024,
            1,
            "its parts asked one by one",
        ),
        Row(
            "Overview poll, the next",
            following / 1024,
            "KiB",
            first / 1024,
            "≤ the first",
            following <= first,
            1,
            "the first",
        ),
    ]
