"""A WAF alert on its way out: from a real analyser through a real engine into the EVE file and to the broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpi_dual.mitm import policy as policies
from dpi_dual.mitm.seal import new_key
from lab.engine import running_engine
from lab.waiting import eventually
from tests.mitm.feeder import Feeder, attack, settings_for

from .conftest import subscribed


def test_an_alert_leaves_as_alert_and_http_event(tmp_path: Path, make_broker: Callable[..., Any]) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed")
    broker = make_broker()
    buffer_dir = tmp_path / "buffer"
    buffer_dir.mkdir(0o750)
    uci = (
        f"config mitm 'mitm'\n\toption buffer_dir '{buffer_dir}'\n\toption waf_engine 'builtin'\n"
        f"config export 'export'\n\toption sensor_id 'one'\n\toption eve '1'\n\toption mqtt '1'\n"
        f"\toption mqtt_host '127.0.0.1'\n\toption mqtt_port '{broker.port}'\n\toption mqtt_tls '0'\n"
    )
    feeder = Feeder(buffer_dir, policies.of_settings(settings_for(buffer_dir)), new_key())
    try:
        with subscribed(broker.port) as subscriber, running_engine(uci) as engine:
            eventually(
                "the analyser is connected", lambda: engine.call("dpi.status", "status")["mitm_stream"]["running"]
            )
            feeder.send(attack(1))
            path = engine.directory / "stats" / "eve.json"
            eventually("two events are written", lambda: path.exists() and path.read_bytes().count(b"\n") >= 2)
            events = {event["event_type"]: event for event in map(json.loads, path.read_bytes().splitlines())}
            told = subscriber.wait("dpi-dual/one/alert")
    finally:
        feeder.close()
    assert set(events) == {"alert", "http"}
    assert events["alert"]["alert"]["category"] == "Web Application Attack"
    assert "sqli" in events["alert"]["alert"]["metadata"]["categories"]
    assert events["http"]["http"]["hostname"] == "shop.example.org"
    assert events["alert"]["src_ip"] == "198.51.100.7"
    assert told == events["alert"]
    assert "password" not in json.dumps(events), "values of parameters stay in the buffer"
