"""Events become records: joined, merged, weighed, told, once each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dpi_dual.correlation import answers
from dpi_dual.correlation.crowdsec import Decision
from dpi_dual.errors import QueryError
from tests.correlation.conftest import Make
from tests.correlation.scene import ATTACKER, NOW, PHONE, PHONE_IP, WAN, Scene, run

AUTO_BAN = "config correlation 'correlation'\n\toption auto_ban '1'\n\toption auto_ban_threshold '50'\n"


def test_a_block_finds_the_flow_with_its_very_port(scene: Scene) -> None:
    scene.flow(key="other", other_port=50_001)
    wanted = scene.flow(key="wanted", other_port=50_000)
    scene.flow(key="udp", other_port=50_000, ip_protocol=17)
    scene.alert(client_port=50_000)
    (record,) = scene.records()
    (flow,) = record["context"]["dpi_flows"]
    assert (flow["other_port"], flow["transport"]) == (50_000, "tcp")
    assert record["community_id"] == flow["community_id"] != ""
    assert wanted.other_ip == record["ip"]
    assert [alert["id"] for alert in record["context"]["waf_alerts"]] == ["alert-1"]


def test_a_flow_that_is_told_of_later_is_joined_too(scene: Scene) -> None:
    scene.alert(client_port=50_000)
    assert scene.records()[0]["community_id"] == ""
    scene.time += 2
    scene.flow(other_port=50_001)
    scene.flow(key="late")
    (record,) = scene.records()
    assert record["community_id"]
    assert [flow["other_port"] for flow in record["context"]["dpi_flows"]] == [50_000]
    assert scene.one.store.totals()["joined"] == 1


def test_without_a_port_the_address_and_the_window_decide(scene: Scene) -> None:
    scene.flow(key="old", first_seen_at=NOW - 500, last_seen_at=NOW - 400)
    scene.flow(key="in")
    scene.flow(scene.lan.table, key="copy")
    scene.flow(key="out", other_port=443, local_port=40_000, local_origin=True)
    scene.alert()
    (record,) = scene.records()
    assert sorted(flow["other_port"] for flow in record["context"]["dpi_flows"]) == [443, 50_000]
    assert record["community_id"] == ""


def test_events_of_one_cause_are_one_record_with_a_count(scene: Scene) -> None:
    for number in range(3):
        scene.alert(number=number, threat_score=60 + number)
        scene.time += 30
    scene.alert(number=7, rule="xss-1")
    scene.time += 61
    scene.alert(number=8)
    found = [(record["rule"], record["count"], record["threat_score"]) for record in scene.records()]
    assert found == [("sqli-1", 3, 62), ("xss-1", 1, 80), ("sqli-1", 1, 80)]
    assert scene.score() == 100


def test_an_event_counts_once_however_often_it_is_told(make: Make) -> None:
    first = make()
    for _ in range(3):
        first.alert()
    assert first.records()[0]["count"] == 1
    assert first.score() == 25
    first.state.checkpoint()
    again = make()  # the same database, as after a kill
    again.alert()
    assert again.score() == 25
    assert again.one.counters()["correlation_repeated"] == 1


def test_a_lan_client_is_known_by_its_mac_notified_and_never_banned(make: Make) -> None:
    scene = make(AUTO_BAN)
    for number in range(5):
        scene.alert(PHONE_IP, number)
    (record,) = scene.records()
    assert (record["kind"], record["actor"], record["mac"]) == ("client", PHONE, PHONE)
    assert record["crowdsec_status"] == "none"
    assert scene.score(PHONE) == 100
    (notification,) = scene.one.store.notifications()
    assert notification["ip"] == PHONE_IP
    with pytest.raises(QueryError, match="client of the LAN"):
        run(lambda: _ban(scene, PHONE_IP))
    scene.alert("2001:db8:1::64", 9)
    assert {entry["actor"] for entry in scene.records()} == {PHONE}


async def _ban(scene: Scene, ip: str) -> None:
    await scene.one.bans.ban(ip, "", "")


@pytest.mark.parametrize("ip", ["192.168.1.1", WAN, "203.0.113.1", "203.0.113.0/24", "127.0.0.1", "2001:db8:1::/48"])
def test_what_is_ours_is_never_banned(scene: Scene, ip: str) -> None:
    with pytest.raises(QueryError) as error:
        run(lambda: _ban(scene, ip))
    assert error.value.code == "never_banned"


def test_a_v6_attacker_is_his_64(scene: Scene) -> None:
    scene.alert("2001:db8:ffff::1", 1)
    scene.alert("2001:db8:ffff::2", 2)
    (record,) = scene.records()
    assert (record["actor"], record["count"]) == ("2001:db8:ffff::/64", 2)
    scene.alert("::ffff:198.51.100.7", 3)
    assert scene.score(ATTACKER) == 25


def test_a_score_by_hand_is_the_record_s_and_reputation_moves_by_weight(scene: Scene) -> None:
    async def work() -> None:
        answer = await answers.correlate(scene.one, ATTACKER, "waf_alert", "suspicious_request", 75)
        assert answer["threat"]["threat_score"] == 75
        assert (answer["threat"]["reputation_before"], answer["threat"]["reputation_score"]) == (0, 15)
        other = await answers.correlate(scene.one, ATTACKER, "my_own_word", score=0)
        assert (other["threat"]["threat_score"], other["threat"]["reputation_score"]) == (0, 25)

    run(work)


def test_muted_events_are_recorded_and_alarm_nobody(scene: Scene) -> None:
    scene.alert()
    said = answers.acknowledge(scene.one, id=1, mute=True, duration="1h")
    assert (said["rule"], said["source"]) == ("sqli-1", ATTACKER)
    told = len(scene.one.store.notifications())
    scene.alert(number=2)
    scene.alert(number=3, rule="xss-1")
    states = [(record["rule"], record["state"], record["count"]) for record in scene.records()]
    assert states == [("sqli-1", "muted", 2), ("xss-1", "new", 1)]
    assert scene.score() == 50
    assert len(scene.one.store.notifications()) == told
    scene.time += 3601
    scene.alert(number=4)
    assert scene.records()[-1]["state"] == "new"


def test_a_mute_of_a_network_or_a_rule_and_its_end(scene: Scene) -> None:
    answers.acknowledge(scene.one, ip="198.51.100.0/24", mute=True)
    answers.acknowledge(scene.one, rule="scanner", mute=True)
    scene.alert()
    scene.alert("192.0.2.9", 2, event="scanner")
    scene.alert("192.0.2.9", 3)
    assert [record["state"] for record in scene.records()] == ["muted", "muted", "new"]
    answers.acknowledge(scene.one, ip="198.51.100.0/24", remove=True)
    with pytest.raises(QueryError, match="no such mute"):
        answers.acknowledge(scene.one, ip="198.51.100.0/24", remove=True)
    scene.time += 100
    scene.alert(number=4)
    assert scene.records()[-1]["state"] == "new"


def test_notifications_are_for_grave_events_and_not_one_each(make: Make) -> None:
    scene = make("config correlation 'correlation'\n\tlist webhook 'http://127.0.0.1:9/x'\n")
    scene.alert(threat_score=69)
    assert scene.one.store.notifications() == []
    for number in range(2, 150):
        scene.alert(f"192.0.2.{number}", number)
    assert len(scene.one.store.notifications()) == 30
    assert scene.one.counters()["correlation_notifications_suppressed"] == 118
    scene.time += 3600
    for number in range(200, 325):
        scene.time += 2
        scene.alert(f"198.51.{number - 200}.1", number)
    assert len(scene.one.store.notifications()) == 100
    scene.configure("config correlation 'correlation'\n\toption notifications '0'\n")
    scene.alert("192.0.2.250", 900)
    assert scene.one.store.notifications()[-1]["ip"] != "192.0.2.250"


def _decision(**more: Any) -> Decision:
    given = {
        "value": ATTACKER,
        "scope": "Ip",
        "type": "ban",
        "scenario": "crowdsecurity/ssh-bf",
        "origin": "crowdsec",
        "until_at": NOW + 3600,
    }
    return Decision(**{**given, **more})


def test_a_decision_of_crowdsec_is_an_event_but_ours_and_lists_are_not(scene: Scene) -> None:
    for decision in (
        _decision(origin="CAPI"),
        _decision(origin="lists:tor"),
        _decision(origin="dpi-dual"),
        _decision(scenario="dpi-dual/scanner"),
        _decision(type="captcha"),
        _decision(value="198.51.100.0/24"),
        _decision(value="rubbish"),
    ):
        scene.one.on_decision("new", decision)
    assert scene.records() == []
    for _ in range(2):
        scene.one.on_decision("new", _decision())
    (record,) = scene.records()
    assert (record["event_type"], record["count"], scene.score()) == ("crowdsec_ban", 1, 30)


def test_while_switched_off_nothing_is_taken(scene: Scene) -> None:
    scene.one.running = False
    scene.alert()
    assert scene.records() == []
    with pytest.raises(QueryError, match="switched off"):
        run(lambda: _correlate(scene))


async def _correlate(scene: Scene) -> None:
    await answers.correlate(scene.one, ATTACKER, "scanner")


def test_files_have_the_keys_that_others_read(scene: Scene) -> None:
    scene.flow()
    scene.alert(client_port=50_000, path='/"\n\u2028\x00')
    run(lambda: scene.one.files.write(scene.settings, scene.time))
    stats = scene.place / "ram"
    (line,) = (stats / "correlated-threats.json").read_text().splitlines()
    record = json.loads(line)
    assert {
        "ip",
        "timestamp",
        "event_type",
        "reason",
        "threat_score",
        "reputation_score",
        "crowdsec_status",
        "context",
    } <= set(record)
    assert set(record["context"]) == {"mitm_requests", "dpi_flows", "waf_alerts"}
    reputations = json.loads((stats / "ip-reputation.json").read_text())
    assert set(reputations[ATTACKER]) == {"score", "events", "last_event", "updated"}
    (notification,) = map(json.loads, (stats / "notifications.json").read_text().splitlines())
    assert {"timestamp", "type", "severity", "ip", "event", "reason", "score"} <= set(notification)
    assert (stats / "ip-reputation.json").stat().st_mode & 0o777 == 0o640


def test_a_database_that_fails_is_said_and_goes_on(scene: Scene) -> None:
    scene.state.db.execute("DROP TABLE correlation_seen")
    scene.alert()
    assert [problem.code for problem in scene.one.problems()] == ["correlation_not_stored"]
    assert scene.records() == []
    assert scene.score() == 0
