"""The init script under real procd, with real ubusd, rpcd and uci."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.waiting import eventually
from tests.integration.openwrt.router import Router, router

pytestmark = pytest.mark.root

NETWORK = """
config interface 'lan'
	option device 'br-lan'

config interface 'wan'
	option device 'wan0'
"""
NETIFYD = """
config netifyd
	option enabled '0'
	option autoconfig '1'
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with router(tmp_path_factory.mktemp("service")) as made:
        made.sh("ip link add br-lan type bridge; ip link set br-lan up; ip address add 192.168.1.1/24 dev br-lan")
        made.sh("ip link add wan0 type veth peer name far0; ip link set wan0 up; ip link set far0 up")
        made.write("/etc/config/network", NETWORK)
        made.write("/etc/config/netifyd", NETIFYD)
        made.sh("cd /etc/uci-defaults && . ./60-dpi-dual")
        made.sh("reload_config")
        yield made


@pytest.fixture
def running(box: Router) -> Router:
    box.uci("set dpi-dual.settings.enabled=1")
    box.run("/etc/init.d/dpi-dual", "start")
    _answers(box)
    return box


def _answers(box: Router) -> None:
    eventually("the engine answers", lambda: box.call("dpi.status", "version").get("engine") == "running")


def _loads(box: Router) -> int:
    return box.log().count("settings loaded anew")


def test_start_registers_one_instance_as_procd_wants_it(running: Router) -> None:
    engine = running.instance()
    assert engine["running"] is True
    assert engine["command"] == ["/usr/sbin/dpi-duald"]
    assert engine["respawn"] == {"threshold": 3600, "timeout": 5, "retry": 0}
    assert engine["term_timeout"] >= 10
    assert "nofile" in engine["limits"]
    assert not running.instance("mitmdump")


def test_the_wan_is_mirrored_and_the_log_has_the_engine_s_words(running: Router) -> None:
    eventually("the mirror is complete", lambda: running.call("dpi.status", "mirror").get("complete"))
    assert "dpi-duald" in running.log()


def test_every_option_is_registered_for_validation(running: Router) -> None:
    told = running.run("ubus", "call", "service", "validate", '{"package": "dpi-dual"}')
    for option in ("flow_retention", "checkpoint_interval", "auto_ban_duration", "trusted_proxy"):
        assert option in told


def test_status_tells_procd_s_state_and_what_the_streams_do(running: Router) -> None:
    said = running.run("/etc/init.d/dpi-dual", "status")
    assert said.startswith("running\n")
    assert "TAP stream" in said


def test_a_committed_change_reaches_the_engine_without_a_restart(running: Router) -> None:
    before, loads = running.instance()["pid"], _loads(running)
    running.uci("set dpi-dual.lan.client_retention=abc")
    running.run("reload_config")
    eventually("the settings are loaded anew", lambda: _loads(running) > loads)
    text = "dpi-dual.lan.client_retention: 'abc' is not a number of seconds; using 3600"
    problems = running.call("dpi.status", "health")["problems"]
    assert text in [problem["message"] for problem in problems]
    assert running.instance()["pid"] == before
    assert "client_retention=abc validates as range(10,2592000): it does not" in running.log()
    running.uci("set dpi-dual.lan.client_retention=3600")


def test_reload_re_reads_and_an_interface_that_comes_up_does_too(running: Router) -> None:
    before, loads = running.instance()["pid"], _loads(running)
    running.run("/etc/init.d/dpi-dual", "reload")
    eventually("the settings are loaded anew", lambda: _loads(running) > loads)
    for network in ("wan", "lan"):
        loads = _loads(running)
        event = f'{{"type": "interface.update", "data": {{"interface": "{network}"}}}}'
        running.run("ubus", "call", "service", "event", event)
        eventually(f"{network} coming up is a reload", lambda loads=loads: _loads(running) > loads)
    assert running.instance()["pid"] == before


def test_a_source_that_vanishes_and_returns_is_mirrored_again(running: Router) -> None:
    eventually("the mirror is complete", lambda: running.call("dpi.status", "mirror").get("complete"))
    running.sh("ip link delete wan0")
    eventually("the source is missed", lambda: not running.call("dpi.status", "mirror").get("complete"))
    running.sh("ip link add wan0 type veth peer name far0; ip link set wan0 up; ip link set far0 up")
    eventually("the mirror is complete again", lambda: running.call("dpi.status", "mirror").get("complete"))


def test_killed_it_comes_back(running: Router) -> None:
    before = running.instance()["pid"]
    running.run("kill", "-9", str(before))
    eventually("procd has started another", lambda: running.instance().get("pid", before) not in (before, None))
    _answers(running)


def test_a_reload_right_after_a_start_ends_nothing(box: Router) -> None:
    box.run("/etc/init.d/dpi-dual", "stop")
    box.sh("/etc/init.d/dpi-dual start; /etc/init.d/dpi-dual reload; /etc/init.d/dpi-dual reload")
    started = box.instance()["pid"]
    _answers(box)
    assert box.instance()["pid"] == started


def test_restart_is_another_process_at_once(running: Router) -> None:
    before = running.instance()["pid"]
    running.run("/etc/init.d/dpi-dual", "restart")
    assert running.instance()["pid"] != before
    _answers(running)


def test_switched_off_nothing_runs_and_switched_on_it_does(running: Router) -> None:
    running.uci("set dpi-dual.settings.enabled=0")
    running.run("reload_config")
    eventually("the engine is gone", lambda: not running.instance())
    eventually("the log says why", lambda: "dpi-dual.settings.enabled is 0" in running.log())
    running.uci("set dpi-dual.settings.enabled=1")
    running.run("reload_config")
    _answers(running)


def test_stopped_it_stays_stopped_whatever_changes(running: Router) -> None:
    running.run("ubus", "call", "rc", "init", '{"name": "dpi-dual", "action": "stop"}')
    eventually("procd knows it no longer", lambda: not running.call("service", "list", name="dpi-dual"))
    eventually("the capture interface is gone", lambda: not running.sh("ip -o link show tap0", check=False))
    running.uci("set dpi-dual.tap.flow_retention=301")
    running.run("reload_config")
    running.run("/etc/init.d/dpi-dual", "reload")
    assert not running.call("service", "list", name="dpi-dual")


@pytest.mark.parametrize("action", ["start", "restart", "stop"])
def test_start_and_stop_through_ubus_say_what_really_happened(running: Router, action: str) -> None:
    answer = running.call("dpi.status", action)
    assert (answer["ok"], answer["running"]) == (True, action != "stop")


def test_mirror_by_hand(running: Router) -> None:
    running.run("/etc/init.d/dpi-dual", "mirror", "stop")
    assert "not mirrored" in running.run("/etc/init.d/dpi-dual", "mirror", check=False)
    running.run("/etc/init.d/dpi-dual", "mirror", "start")
    eventually("the mirror is complete", lambda: running.call("dpi.status", "mirror").get("complete"))


def test_managed_mitmdump_follows_its_address(running: Router) -> None:
    running.sh("printf '#!/bin/sh\\nexec sleep 1000\\n' >/usr/bin/mitmdump; chmod 755 /usr/bin/mitmdump")
    running.uci("set dpi-dual.mitm.manage=1", "set dpi-dual.mitm.listen=[::1]:8099")
    engine = running.instance()["pid"]
    running.run("/etc/init.d/dpi-dual", "reload")
    first = eventually("mitmdump runs", lambda: running.instance("mitmdump"))
    command = " ".join(first["command"])
    assert "--listen-host ::1 --listen-port 8099" in command
    assert "-s /srv/mitmproxy/addons/dpi_buffer.py" in command
    running.uci("set dpi-dual.mitm.listen=127.0.0.1:8088")
    running.run("/etc/init.d/dpi-dual", "reload")
    eventually(
        "mitmdump listens elsewhere",
        lambda: (
            "8088" in running.instance("mitmdump").get("command", [])
            and running.instance("mitmdump").get("pid", first["pid"]) != first["pid"]
        ),
    )
    running.uci("set dpi-dual.mitm.manage=0")
    running.run("/etc/init.d/dpi-dual", "reload")
    eventually("mitmdump is gone", lambda: not running.instance("mitmdump"))
    assert running.instance()["pid"] == engine
