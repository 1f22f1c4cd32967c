"""`luci.dpi-dual`: the old methods, parameters and every key of the answers, of a real engine and without one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dpi_dual.rpc import legacy
from dpi_dual.rpc.signatures import methods, of_object
from lab.engine import RunningEngine, running_engine

OBJECT = legacy.OBJECT
PLUGIN = Path(__file__).resolve().parents[2] / "rpcd" / OBJECT
METHODS = [
    "status",
    "get_flows",
    "get_buffer",
    "get_threats",
    "get_correlation",
    "get_correlation_stats",
    "get_ip_context",
    "get_ip_reputation",
    "get_timeline",
    "get_mirror_status",
    "search_correlations",
    "start",
    "stop",
    "restart",
    "replay_request",
    "correlate_ip",
    "ban_ip",
    "set_auto_ban",
    "get_tuning",
    "set_tuning",
    "whitelist_add",
    "whitelist_remove",
    "whitelist_list",
    "reset_reputation",
    "get_lan_status",
    "get_lan_clients",
    "get_lan_destinations",
    "get_lan_protocols",
]
#: What each answer consists of; those that begin with the keys of a file may hold more.
KEYS = {
    "get_threats": {"total", "alerts"},
    "get_correlation": {"total", "correlated"},
    "get_correlation_stats": {"total_correlations", "high_threat_count", "banned_ips", "unique_ips", "updated"},
    "get_ip_context": {"ip", "reputation_score", "crowdsec_status", "context"},
    "get_ip_reputation": {"ip", "reputation_score"},
    "get_timeline": {"total", "limit", "entries"},
    "get_mirror_status": {"tap_found", "tap_up", "ingress_configured"},
    "search_correlations": {"results"},
    "get_tuning": {
        "sensitivity",
        "sensitivity_multiplier",
        "auto_ban_threshold",
        "auto_ban_duration",
        "notifications",
        "notification_threshold",
        "reputation_decay",
        "decay_interval",
        "scoring",
    },
    "whitelist_list": {"whitelist"},
    "get_lan_clients": {"timestamp", "clients"},
    "get_lan_destinations": {"timestamp", "destinations"},
    "get_lan_protocols": {"timestamp", "protocols"},
}
FILE_KEYS = {
    "get_flows": "timestamp flows_1min tap_interface rx_bytes tx_bytes rx_packets tx_packets protocols applications"
    " top_talkers mode",
    "get_buffer": "timestamp entries max_size requests_total threats_detected blocked_count high_threat_in_buffer"
    " threat_distribution top_hosts analysis_enabled replay_enabled",
    "get_lan_status": "timestamp mode interface active_clients unique_destinations detected_protocols rx_bytes tx_bytes"
    " rx_packets tx_packets rx_rate_bps tx_rate_bps enabled collector_running",
    "status": "enabled mode correlation_enabled mitm_stream tap_stream correlation lan_passive",
}
ADDRESS = "198.51.100.41"
ADDRESSED = ("get_ip_context", "get_ip_reputation", "search_correlations")


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as running:
        for score in (20, 75, 90):
            done = running.call(OBJECT, "correlate_ip", ip=ADDRESS, event_type=f"type_{score}", reason=f"score {score}")
            assert done["success"], done
            running.call("dpi.correlator", "correlate", ip="198.51.100.42", event_type=f"t{score}", score=score)
        yield running


def plugin(engine: RunningEngine | dict[str, str], method: str, given: str = "{}") -> dict[str, Any]:
    """As rpcd calls it."""
    environment = engine if isinstance(engine, dict) else engine.environment
    done = subprocess.run(
        [str(PLUGIN), "call", method], input=given.encode(), capture_output=True, env=environment, check=True
    )
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def test_the_object_has_its_28_methods_in_their_order() -> None:
    assert list(methods()[OBJECT]) == METHODS == list(json.loads(of_object(OBJECT)))
    assert len(METHODS) == 28


@pytest.mark.parametrize("method", sorted(KEYS))
def test_answers_have_the_old_keys(engine: RunningEngine, method: str) -> None:
    answer = plugin(engine, method, json.dumps({"ip": ADDRESS}) if method in ADDRESSED else "{}")
    assert set(answer) == KEYS[method], answer


@pytest.mark.parametrize("method", sorted(FILE_KEYS))
def test_file_getters_have_the_keys_of_their_file(engine: RunningEngine, method: str) -> None:
    answer = plugin(engine, method)
    assert set(FILE_KEYS[method].split()) <= set(answer), answer
    if method == "get_flows":
        assert not {"flows", "total", "next"} & set(answer)


def test_lists_are_newest_last_and_as_long_as_asked(engine: RunningEngine) -> None:
    timeline = plugin(engine, "get_timeline", '{"limit": 4}')
    times = [entry["first_at"] for entry in timeline["entries"]]
    assert (len(times), timeline["limit"], times) == (4, 4, sorted(times))
    assert timeline["total"] == 6
    correlated = plugin(engine, "get_correlation")["correlated"]
    assert [entry["id"] for entry in correlated] == sorted(entry["id"] for entry in correlated)
    assert set(correlated[0]["context"]) == {"mitm_requests", "dpi_flows", "waf_alerts"}
    found = plugin(engine, "search_correlations", json.dumps({"ip": ADDRESS, "limit": 2}))["results"]
    assert [entry["ip"] for entry in found] == [ADDRESS] * 2


def test_figures_of_the_correlator(engine: RunningEngine) -> None:
    stats = plugin(engine, "get_correlation_stats")
    assert stats["total_correlations"] == plugin(engine, "get_timeline")["total"]
    assert (stats["high_threat_count"], stats["unique_ips"], stats["banned_ips"]) == (2, 2, 0)
    assert stats["updated"].startswith("20")


def test_an_address(engine: RunningEngine) -> None:
    reputation = plugin(engine, "get_ip_reputation", json.dumps({"ip": ADDRESS}))
    assert reputation["ip"] == ADDRESS
    assert reputation["reputation_score"] > 20
    context = plugin(engine, "get_ip_context", json.dumps({"ip": ADDRESS}))
    assert context["crowdsec_status"] == "clean"
    assert set(context["context"]) == {"mitm_requests", "dpi_flows", "waf_alerts"}


def test_setters_change_what_the_new_methods_show(engine: RunningEngine) -> None:
    new = "dpi.correlator"
    assert plugin(engine, "whitelist_add", '{"ip": "198.51.100.99"}')["success"]
    assert plugin(engine, "whitelist_list")["whitelist"] == engine.call(new, "whitelist")["whitelist"]
    removed = plugin(engine, "whitelist_remove", '{"ip": "198.51.100.99"}')
    assert removed["whitelist"] == []
    assert removed["message"] == "198.51.100.99 is off the whitelist"
    assert plugin(engine, "set_auto_ban", '{"enabled": true}')["auto_ban"] is True
    assert engine.call(new, "tuning")["auto_ban"] is True
    assert plugin(engine, "set_auto_ban", '{"enabled": false}')["auto_ban"] is False
    given = {"sensitivity": "custom", "auto_ban_threshold": 66, "auto_ban_duration": "2h", "scoring": {"scanner": 11}}
    assert plugin(engine, "set_tuning", json.dumps(given))["success"]
    tuning = plugin(engine, "get_tuning")
    assert tuning["scoring"]["scanner"] == 11
    assert (tuning["auto_ban_threshold"], tuning["auto_ban_duration"]) == (66, "2h")
    assert plugin(engine, "set_tuning", '{"sensitivity": "high"}')["success"]
    assert plugin(engine, "get_tuning")["sensitivity_multiplier"] == 1.3
    assert plugin(engine, "reset_reputation", '{"ip": "198.51.100.42"}')["success"]
    assert plugin(engine, "get_ip_reputation", '{"ip": "198.51.100.42"}')["reputation_score"] == 0


@pytest.mark.parametrize(
    ("method", "given", "code"),
    [
        ("ban_ip", {"ip": "198.51.100.7"}, "crowdsec_not_set_up"),
        ("ban_ip", {"ip": "-r 10.0.0.0/8"}, "bad_address"),
        ("ban_ip", {}, "bad_parameter"),
        ("ban_ip", {"ip": "198.51.100.7", "duration": "4h; reboot"}, "bad_duration"),
        ("replay_request", {"req_hash": "4711"}, "mitm_down"),
        ("replay_request", {"req_hash": ""}, "bad_parameter"),
        ("correlate_ip", {"ip": ""}, "bad_address"),
        ("correlate_ip", {"ip": "198.51.100.7", "event_type": "$(reboot)"}, "bad_type"),
        ("set_auto_ban", {"enabled": "1"}, "bad_parameter"),
        ("set_tuning", {"scoring": {"scanner": "many"}}, "bad_parameter"),
        ("set_tuning", {"scoring": {"nonsense": 5}}, "bad_parameter"),
        ("set_tuning", {"auto_ban_duration": "soon"}, "bad_parameter"),
        ("set_tuning", {}, "bad_parameter"),
        ("whitelist_add", {"ip": "0.0.0.0/0"}, "bad_address"),
        ("whitelist_remove", {"ip": "198.51.100.98"}, "not_found"),
        ("reset_reputation", {"ip": ""}, "bad_parameter"),
    ],
)
def test_setters_that_cannot_say_so(engine: RunningEngine, method: str, given: dict[str, Any], code: str) -> None:
    answer = plugin(engine, method, json.dumps(given))
    assert answer["success"] is False
    assert answer["code"] == code, answer
    assert len(answer["error"]) > 8


@pytest.mark.parametrize(
    ("method", "given", "code"),
    [
        ("get_ip_context", {"ip": ""}, "bad_parameter"),
        ("get_ip_reputation", {"ip": ""}, "bad_parameter"),
        ("get_ip_reputation", {"ip": "300.1.1.1"}, "bad_address"),
        ("get_timeline", {"limit": 0}, "bad_parameter"),
        ("get_timeline", {"limit": "50"}, "bad_parameter"),
        ("get_buffer", {"limit": 100, "more": 1}, "bad_parameter"),
        ("search_correlations", {"ip": " "}, "bad_parameter"),
    ],
)
def test_getters_that_cannot_say_so(engine: RunningEngine, method: str, given: dict[str, Any], code: str) -> None:
    answer = plugin(engine, method, json.dumps(given))
    assert answer["code"] == code, answer
    assert "success" not in answer


@pytest.fixture
def nobody(tmp_path: Path) -> dict[str, str]:
    """An environment without an engine, with what the last one left."""
    (tmp_path / "config").mkdir()
    (tmp_path / "run").mkdir()
    stats = tmp_path / "stats"
    stats.mkdir()
    (tmp_path / "config" / "dpi-dual").write_text(f"config global 'settings'\n\toption stats_dir '{stats}'\n")
    threat = {
        "timestamp": "T",
        "event_type": "scanner",
        "reason": "r",
        "reputation_score": 1,
        "crowdsec_status": "none",
        "state": "new",
        "count": 1,
    }
    lines = [
        {**threat, "id": number, "ip": f"198.51.100.{number % 2}", "threat_score": 60 + 10 * number}
        for number in (1, 2, 3)
    ]
    (stats / "correlated-threats.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (stats / "lan-clients.json").write_text('{"timestamp": "then", "clients": [{"mac": "a"}]}')
    return {
        "DPI_DUAL_CONFIG_DIR": str(tmp_path / "config"),
        "DPI_DUAL_RUN_DIR": str(tmp_path / "run"),
        "DPI_DUAL_INIT": str(tmp_path / "init"),
    }


def test_without_an_engine_the_snapshots_answer(nobody: dict[str, str]) -> None:
    assert plugin(nobody, "get_lan_clients") == {"timestamp": "then", "clients": [{"mac": "a"}], "engine": "down"}
    timeline = plugin(nobody, "get_timeline", '{"limit": 2}')
    assert [entry["id"] for entry in timeline["entries"]] == [2, 3]
    stats = plugin(nobody, "get_correlation_stats")
    assert (stats["total_correlations"], stats["high_threat_count"], stats["unique_ips"]) == (3, 3, 2)
    assert plugin(nobody, "get_flows")["mode"] == "passive_tap"
    assert plugin(nobody, "status")["engine"] == "down"
    assert plugin(nobody, "get_tuning")["sensitivity_multiplier"] == 1.0


def test_without_an_engine_setters_fail_aloud(nobody: dict[str, str]) -> None:
    answer = plugin(nobody, "ban_ip", '{"ip": "198.51.100.7"}')
    assert (answer["success"], answer["code"], answer["engine"]) == (False, "engine_down", "down")
    answer = plugin(nobody, "start")
    assert (answer["success"], answer["code"]) == (False, "no_init_script")


def test_stop_says_what_the_init_script_did(nobody: dict[str, str]) -> None:
    script = Path(nobody["DPI_DUAL_INIT"])
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    assert plugin(nobody, "stop") == {"success": True, "message": "the service is stopped"}
    assert plugin(nobody, "stop", '{"now": 1}')["code"] == "bad_parameter"
