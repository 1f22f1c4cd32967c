"""The Streamlit panel against the running lab: it draws what `ubus` says, and says what went wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.waiting import eventually
from tests.integration.running_lab import ROOT, RunningLab, running_lab

AppTest = pytest.importorskip("streamlit.testing.v1", reason="streamlit is not installed here").AppTest

from dpi_panel.router import LoginError, Router, RouterError  # noqa: E402

pytestmark = pytest.mark.root

APP = ROOT / "panels" / "streamlit" / "app.py"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with running_lab(RunningLab, tmp_path_factory.mktemp("lab")) as running:
        eventually("a protocol", lambda: running.call("dpi.status", "flows", limit=1)["protocols"])
        yield running


def logged_in(lab: RunningLab) -> Router:
    router = Router(lab.record["url"])
    router.login(lab.record["user"], lab.record["password"])
    return router


def login(lab: RunningLab, password: str) -> Any:
    page = AppTest.from_file(str(APP), default_timeout=PATIENCE_S).run()
    page.text_input[0].set_value(lab.record["url"])
    page.text_input[1].set_value(lab.record["user"])
    page.text_input[2].set_value(password)
    return page.button[0].click().run()


def test_the_page_shows_what_ubus_says(lab: RunningLab) -> None:
    page = login(lab, lab.record["password"])
    assert not page.exception
    said = lab.call("dpi.status", "status")
    assert [title.value for title in page.subheader] == ["MITM stream", "TAP stream", "LAN flows", "Correlation"]
    metrics = {metric.label: metric.value for metric in page.metric}
    assert metrics["Active clients"] == str(said["lan_passive"]["active_clients"]) != "0"
    assert metrics["Received on the tap"] != "0 B"
    protocols = next(table.value for table in page.dataframe if "Protocol" in table.value)
    flows = lab.call("dpi.status", "flows", limit=1)["protocols"]
    assert set(protocols["Protocol"]) <= set(flows)
    shown = dict(zip(protocols["Protocol"], protocols["Flows"], strict=True))
    assert shown and all(0 < count <= flows[name] for name, count in shown.items())


def test_threats_are_told_and_hostile_text_stays_text(lab: RunningLab) -> None:
    lure = "![x](http://192.0.2.1/pixel.png) <script>alert(1)</script> [a](javascript:alert(1))"
    lab.call("dpi.correlator", "correlate", ip="192.0.2.77", event_type="dpi_threat", reason=lure, score=90)
    page = login(lab, lab.record["password"])
    assert not page.exception
    threats = next(table.value for table in page.dataframe if "Why" in table.value)
    assert lure in set(threats["Why"])
    read_as_markup = [
        element.value for kind in ("markdown", "caption", "error", "warning") for element in page.get(kind)
    ]
    assert not [text for text in read_as_markup if "192.0.2.1" in text or "script" in text]


def test_a_wrong_password_is_refused_in_words(lab: RunningLab) -> None:
    page = login(lab, "wrong")
    assert not page.exception
    assert [error.value for error in page.error] == ["Not logged in."]
    assert "this login may not ask that" in page.text[0].value
    assert page.text_input  # asked for again
    assert "dpi_router" not in page.session_state


def test_an_ended_session_asks_for_the_login_again(lab: RunningLab) -> None:
    page = login(lab, lab.record["password"])
    page.session_state["dpi_router"].session = "1" * 32
    page.run()
    assert not page.exception
    assert page.text_input and "dpi_router" not in page.session_state


def test_calls_that_fail_say_why(lab: RunningLab) -> None:
    router = logged_in(lab)
    with pytest.raises(RouterError, match="does not know 'limt'"):
        router.call("dpi.status", "flows", limt=1)
    with pytest.raises(RouterError, match="has no such object"):
        Router(router.url, router.session).call("dpi.nothing", "status")
    with pytest.raises(LoginError):
        Router(router.url).call("dpi.status", "status")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(RouterError, match="cannot be reached"):
        Router(f"http://127.0.0.1:{port}").call("dpi.status", "status")
    with pytest.raises(RouterError, match="answers 404"):
        Router(f"{router.url}/nowhere").call("dpi.status", "status")


def test_streamlit_serves_it(lab: RunningLab, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(APP),
        "--server.headless=true",
        "--server.address=127.0.0.1",
    ]
    command += [f"--server.port={port}", "--browser.gatherUsageStats=false", "--server.fileWatcherType=none"]
    with (tmp_path / "log").open("wb") as log:
        environment = {**os.environ, "HOME": str(tmp_path), "DPI_PANEL_URL": lab.record["url"]}
        served = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:

            def healthy() -> bool:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
                        return bool(answer.read() == b"ok")
                except OSError:
                    return False

            eventually("streamlit to answer", healthy)
        finally:
            served.terminate()
            served.wait(30)
    assert "Traceback" not in (tmp_path / "log").read_text()
