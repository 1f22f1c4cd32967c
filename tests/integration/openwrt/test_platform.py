"""UCI, ubus events and oversized calls on real ubusd, rpcd, procd and uci."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab.waiting import eventually
from tests.integration.openwrt.router import Router, router

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with router(tmp_path_factory.mktemp("platform")) as made:
        made.sh("ip link add br-lan type bridge; ip link set br-lan up; ip address add 192.168.1.1/24 dev br-lan")
        made.uci("set dpi-dual.tap.mirror_mode=hardware")
        made.run("/etc/init.d/dpi-dual", "start")
        eventually("the engine answers", lambda: made.call("dpi.status", "version").get("engine") == "running")
        yield made


def _loads(box: Router) -> int:
    return box.log().count("settings loaded anew")


def test_what_others_have_staged_is_neither_read_nor_committed_nor_lost(box: Router) -> None:
    box.sh("sed -i '1i # my own words' /etc/config/dpi-dual")
    box.run("uci", "set", "dpi-dual.correlation.window=123")
    loads = _loads(box)
    assert box.call("dpi.correlator", "set_tuning", notification_threshold=33)["window"] == 60
    eventually("procd has the engine reload", lambda: _loads(box) > loads)
    answer = box.call("dpi.correlator", "tuning")
    assert (answer["window"], answer["notification_threshold"]) == (60, 33)
    assert box.run("uci", "changes", "dpi-dual") == "dpi-dual.correlation.window='123'\n"
    written = box.run("cat", "/etc/config/dpi-dual")
    assert written.startswith("# my own words\n") and "'123'" not in written
    box.run("uci", "commit", "dpi-dual")
    box.run("reload_config")
    eventually("the other's change is committed", lambda: box.call("dpi.correlator", "tuning")["window"] == 123)
    assert box.call("dpi.correlator", "tuning")["notification_threshold"] == 33


@pytest.mark.parametrize(
    ("method", "given", "shown", "value"),
    [
        ("whitelist_add", {"ip": "198.51.100.7"}, "dpi-dual.whitelist.ip", "198.51.100.7"),
        ("set_auto_ban", {"enabled": True, "threshold": 66}, "dpi-dual.correlation.auto_ban_threshold", "66"),
        ("set_tuning", {"waf_alert": 7}, "dpi-dual.scoring.waf_alert", "7"),
    ],
)
def test_a_setter_is_in_force_at_once_and_committed_for_uci(
    box: Router, method: str, given: dict[str, object], shown: str, value: str
) -> None:
    loads = _loads(box)
    assert "error" not in box.call("dpi.correlator", method, **given)
    assert value in box.run("uci", "get", shown)
    eventually("procd has the engine reload", lambda: _loads(box) > loads)


def test_status_says_what_procd_knows(box: Router) -> None:
    assert box.call("dpi.status", "status")["service"]["state"] == "running"
    box.run("kill", "-9", str(box.instance()["pid"]))
    eventually("procd has started another", lambda: box.call("dpi.status", "status")["engine"] == "running")
    box.run("/etc/init.d/dpi-dual", "stop")
    found = box.call("dpi.status", "status")
    assert found["engine"] == "down" and found["service"]["state"] == "stopped"
    assert "was stopped" in box.call("dpi.status", "health")["problems"][0]["message"]
    box.uci("set dpi-dual.settings.enabled=0")
    assert box.call("dpi.status", "status")["service"]["state"] == "disabled"
    box.uci("set dpi-dual.settings.enabled=1")
    box.run("/etc/init.d/dpi-dual", "start")
    eventually("the engine answers", lambda: box.call("dpi.status", "version").get("engine") == "running")


def test_a_threat_is_an_event_on_the_bus(box: Router) -> None:
    box.sh("ubus listen 'dpi.threat' >/tmp/heard 2>&1 & echo $! >/tmp/listener")

    def heard() -> list[dict[str, object]]:
        # One that comes before the listener has subscribed is not heard; another follows.
        box.call("dpi.correlator", "correlate", ip="203.0.113.77", event_type="scanner", reason="probing")
        lines = box.run("cat", "/tmp/heard").splitlines()
        return [json.loads(line)["dpi.threat"] for line in lines]

    event = eventually("ubus listen hears of it", heard)[0]
    box.sh("kill $(cat /tmp/listener)")
    assert event["ip"] == "203.0.113.77" and event["event_type"] == "scanner"


@pytest.mark.parametrize("size", [60_000, 120_000])
def test_a_call_that_is_too_large_is_refused_and_nothing_falls(box: Router, size: int) -> None:
    engine = box.instance()["pid"]
    answer = box.call("dpi.correlator", "correlate", ip="1" * size, event_type="scanner")
    assert answer["code"] in ("bad_parameter", "bad_json") and len(answer["error"]) < 300
    assert box.call("dpi.status", "version")["engine"] == "running"
    assert box.instance()["pid"] == engine
