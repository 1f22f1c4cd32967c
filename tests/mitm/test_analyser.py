"""The analyser as a process with the engine's link: alerts arrive once, nothing is lost, nothing is stored in plain."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

import pytest

from dpi_dual.errors import QueryError
from tests.mitm.feeder import Engine, Feeder, attack, record, settings_for

Start = Callable[..., Feeder]

Make = Callable[..., Engine]


def test_an_attack_becomes_one_alert_and_an_ordinary_request_none(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder()
        async with engine() as one:
            await one.until(lambda: one.link.connected)
            addon.send(record(1), attack(2), record(3))
            addon.tell({"t": "counters", "requests": 3, "blocked": 0})
            await one.until(lambda: one.told and one.link.buffer()["entries"] == 3)
            await one.until(lambda: one.link.buffer()["requests_total"] == 3)
            (alert,) = one.told
            assert alert["id"] == f"{2:016x}"
            assert (alert["client_ip"], alert["client_port"]) == ("198.51.100.7", 40000)
            assert alert["path"] == "/item"
            assert "sqli" in alert["categories"]
            assert alert["rules"][0]["place"] == "ARGS:id"
            assert "users" not in json.dumps(alert)
            assert one.link.alerts()["alerts"] == [alert]
            await one.until(lambda: one.files.get("waf-alerts.json") == [alert])
            assert one.files["dpi-buffer.json"].keys() >= {"entries", "threat_distribution", "top_hosts"}
            assert one.link.status()["running"] is True
            assert one.link.problems() == []

    asyncio.run(go())


def test_alerts_wait_for_an_absent_engine_and_survive_the_analyser(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder()
        addon.send(*(attack(number) for number in range(1, 41)))
        addon.tell({"t": "policy"})  # not understood, hence the last thing that is read before the kill
        async with engine() as one:
            await one.until(lambda: len(one.told) == 40)
            addon.kill()
            await one.until(lambda: not one.link.connected)
            addon.start()
            addon.send(attack(41))
            await one.until(lambda: len(one.told) == 41)
        # An engine that comes back with its database is told nothing twice.
        async with engine(one.db) as again:
            addon.send(attack(42))
            await again.until(lambda: len(again.told) == 1)
            assert again.link.alerts()["total"] == 42

    asyncio.run(go())


def test_unacknowledged_alerts_are_told_again_after_a_crash_and_only_once(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder()
        addon.send(*(attack(number) for number in range(1, 21)))
        path = addon.directory / "analyser.sock"
        # An engine that takes alerts and dies before it acknowledges them.
        with socket.socket(socket.AF_UNIX) as deaf:
            until = time.monotonic() + 60
            # The file is there a moment before anybody listens.
            while deaf.connect_ex(str(path)):
                assert time.monotonic() < until
                await asyncio.sleep(0.02)
            deaf.settimeout(60)
            seen = b""
            while f"{20:016x}".encode() not in seen:
                more = deaf.recv(65536)
                assert more, "the analyser hung up"
                seen += more
        addon.kill()
        addon.start()
        async with engine() as one:
            await one.until(lambda: len(one.told) >= 20)
            addon.send(attack(21))
            await one.until(lambda: len(one.told) == 21)
            assert len({alert["id"] for alert in one.told}) == 21

    asyncio.run(go())


def test_nothing_readable_is_in_the_directory_and_no_secret_is_stored(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder()
        secretive = attack(
            1,
            method="POST",
            headers=(
                ("host", "shop.example.org"),
                ("content-type", "application/x-www-form-urlencoded"),
                ("cookie", "sid=COOKIEVALUE"),
                ("authorization", "Basic AUTHVALUE"),
                ("x-own", "OWNVALUE"),
            ),
            body=b"user=alice&password=PASSVALUE&note=MARKERTEXT",
        )
        async with engine(redact_headers=("X-Own",)) as one:
            await one.until((addon.directory / "policy.json").exists)
            addon.send(secretive)
            await one.until(lambda: one.told)
            request = await one.link.request(f"{1:016x}")
            assert "MARKERTEXT" in request["body"]
            text = json.dumps(request)
            for secret in ("COOKIEVALUE", "AUTHVALUE", "OWNVALUE", "PASSVALUE"):
                assert secret not in text
            with pytest.raises(QueryError, match="not in the buffer"):
                await one.link.request("0000")
        stored = b"".join(path.read_bytes() for path in addon.directory.iterdir() if path.is_file())
        assert (addon.directory / "analysis.jsonl").stat().st_size > 100
        assert all(path.stat().st_mode & 0o077 == 0 for path in addon.directory.iterdir())
        for text in (b'shop.example.org"', b"users", b"MARKERTEXT", b"VALUE", b"198.51.100.7"):
            assert text not in stored

    asyncio.run(go())


def test_what_a_client_does_over_time(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder(async_analysis=False)
        async with engine(async_analysis=False) as one:
            for number in range(1, 26):
                addon.send(record(number, client_ip="203.0.113.1", target=f"/admin{number}.php"))
                addon.respond(number, 404)
            for number in range(101, 113):
                addon.send(record(number, client_ip="203.0.113.2", method="POST", target="/login"))
                addon.respond(number, 401)
            addon.send(*(record(number, client_ip="2001:db8::9") for number in range(1000, 1450)))
            await one.until(lambda: {alert["event"] for alert in one.told} >= {"scanner", "brute_force", "rate_limit"})
            by_event = {alert["event"]: alert["client_ip"] for alert in one.told}
            assert by_event == {
                "scanner": "203.0.113.1",
                "brute_force": "203.0.113.2",
                "rate_limit": "2001:db8::9",
            }
            assert addon.receive("limit")[0]["ip"] == "2001:db8::9"
            requests = await one.link.context("203.0.113.2")
            assert [row["status"] for row in requests] == [401] * 12

    asyncio.run(go())


def test_a_reload_keeps_the_buffer_and_reaches_the_addon(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder()
        async with engine() as one:
            addon.send(*(record(number) for number in range(1, 31)))
            await one.until(lambda: one.link.buffer()["entries"] == 30)
            one.link.reconfigure(settings_for(addon.directory, buffer_size=20, block_threats=True))
            policy = addon.receive("policy")[0]["policy"]
            while policy["mitm"]["buffer_size"] != 20:
                policy = addon.receive("policy")[0]["policy"]
            assert policy["mitm"]["block_threats"] is True
            addon.send(record(31))
            await one.until(lambda: one.link.buffer()["entries"] == 20)
            off = settings_for(addon.directory)
            one.link.reconfigure(replace(off, settings=replace(off.settings, mode="tap-only")))
            assert addon.receive("policy")[0]["policy"]["mitm"]["enabled"] is False
            assert one.link.status()["running"] is False

    asyncio.run(go())


def test_the_ring_survives_a_restart_of_the_analyser(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder()
        async with engine() as one:
            addon.send(*(record(number) for number in range(1, 6)), attack(6))
            addon.respond(3, 200)
            await one.until(lambda: one.link.buffer()["entries"] == 6 and one.told)
            addon.kill()
            addon.start()
            await one.until(lambda: not one.link.connected)
            await one.until(lambda: one.link.connected and one.link.buffer()["entries"] == 6)
            rows = await one.link.context("198.51.100.7")
            assert [row["id"] for row in rows] == [f"{number:016x}" for number in range(6, 0, -1)]
            assert rows[0]["alert"] is True
            assert rows[3]["status"] == 200
            # What was counted before stays counted.
            assert one.link.buffer()["threats_detected"] == 1

    asyncio.run(go())


def test_another_key_reads_nothing_of_before(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder()
        async with engine() as one:
            addon.send(record(1))
            await one.until(lambda: one.link.buffer()["entries"] == 1)
            addon.close()
            feeder().send(record(2))
            await one.until(lambda: one.link.connected and one.link.counters().get("mitm_ring_lost_key") == 1)
            assert [row["id"] for row in await one.link.context("198.51.100.7")] == [f"{2:016x}"]

    asyncio.run(go())


def test_replay_judges_again(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder(waf_engine="builtin")
        async with engine(waf_engine="builtin") as one:
            addon.send(record(1, target="/page?note=frobnicate"), attack(2))
            await one.until(lambda: one.told and one.link.buffer()["entries"] == 2)
            answer = await one.link.replay(id=f"{2:016x}")
            assert (answer["requests"], answer["paranoia"]) == (1, 3)
            rule = {"id": "own-1", "pattern": "frobni", "category": "php", "place": "args"}
            answer = await one.link.replay(rules=[rule])
            assert answer["newly_alerting"] == 1
            (changed,) = answer["changed"]
            assert changed["id"] == f"{1:016x}"
            assert changed["appeared"] == ["own-1 ARGS:note"]
            answer = await one.link.replay(exclusions=[{"rule": "*", "param": "id"}])
            assert answer["no_longer_alerting"] == 1
            assert one.link.buffer()["threats_detected"] == 1

            for wrong in ([{"id": "x", "pattern": "("}], [{"id": "x"}], [{"nonsense": "x"}], ["text"]):
                with pytest.raises(QueryError) as refused:
                    await one.link.replay(rules=wrong)
                assert refused.value.code == "bad_candidate"
            with pytest.raises(QueryError, match="needs an id"):
                await one.link.replay()

    asyncio.run(go())


def test_a_decision_of_crowdsec_looks_back_at_what_the_address_asked_for(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder(waf_engine="builtin")
        async with engine(waf_engine="builtin") as one:
            asked = attack(2)
            addon.send(record(1), asked)
            await one.until(lambda: one.told and one.link.buffer()["entries"] == 2)
            one.link.look_back(asked.client_ip)
            await one.until(lambda: one.link.buffer()["replays"])
            (found,) = one.link.buffer()["replays"]
            assert found["ip"] == asked.client_ip
            assert found["requests"] >= 1
            assert one.link.counters()["mitm_replays_on_decision"] == 1
            assert json.dumps(found)
        async with engine(waf_engine="builtin", replay_on_alert=False) as other:
            await other.until(lambda: other.link.connected)
            other.link.look_back(asked.client_ip)
            await asyncio.sleep(0.2)
            assert other.link.buffer()["replays"] == []

    asyncio.run(go())


def test_a_slow_candidate_pattern_is_refused_and_the_analyser_lives(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder(waf_engine="builtin")
        async with engine(waf_engine="builtin") as one:
            addon.send(record(1, target="/page?note=" + "a" * 60))
            await one.until(lambda: one.link.buffer()["entries"] == 1)
            with pytest.raises(QueryError, match="took more than"):
                await one.link.replay(rules=[{"id": "slow", "pattern": "(a|a|b)*(a|a)*c"}])
            assert len(await one.link.context("198.51.100.7")) == 1

    asyncio.run(go())


def test_a_request_that_is_too_slow_for_the_deep_tier_stops_nothing(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder(waf_engine="auto")
        body = b"a=" + b"'or " * 12_000
        headers = (("host", "x"), ("content-type", "application/x-www-form-urlencoded"))
        async with engine(waf_engine="auto") as one:
            addon.send(record(1, method="POST", headers=headers, body=body, quick=None), record(2))
            addon.send(attack(9))
            await one.until(lambda: [alert for alert in one.told if alert["id"] == f"{9:016x}"])
            await one.until(lambda: one.link.buffer()["waiting"] == 0)
            await one.until(lambda: one.link.counters().get("mitm_deep_too_slow", 0) == 1)
            assert len(await one.link.context("198.51.100.7")) == 3

    asyncio.run(go())


def test_a_request_wildly_unlike_the_rest_is_told_and_never_blocks(feeder: Start, engine: Make) -> None:
    async def go() -> None:
        addon = feeder()
        async with engine() as one:
            await one.until(lambda: one.link.connected)
            words = ("tea", "red+shoes", "garden+chair", "usb+cable", "lamp")
            for number in range(1, 201):
                addon.send(record(number, target=f"/search?q={words[number % len(words)]}"))
                addon.respond(number, 200)
            await one.until(lambda: one.link.buffer()["entries"] == 200 and one.link.buffer()["waiting"] == 0)
            if importlib.util.find_spec("river"):
                await one.until(lambda: one.link.buffer()["anomaly_model"] == "river")
            else:
                assert one.link.buffer()["anomaly_model"] == "statistic"
            assert one.told == []
            odd = "([{" * 200 + "~^" * 100
            addon.send(*(record(number, target=f"/search?q={quote(odd)}") for number in (201, 202)))
            await one.until(lambda: one.told)
            await one.until(lambda: one.link.counters()["mitm_anomalies_repeated"] == 1)
            (alert,) = one.told
            assert (alert["id"], alert["categories"], alert["blocked"]) == (f"{201:016x}-anomaly", ["anomaly"], False)
            mitm = one.link._settings.mitm
            assert mitm.alert_threshold <= alert["threat_score"] < mitm.block_threshold
            assert alert["event"] == "waf_alert"
            (row,) = await one.link.context("198.51.100.7", limit=1)
            assert row["anomaly_score"] >= alert["threat_score"]
            assert row["alert"] is False, "an anomaly alone makes nobody guilty"

    asyncio.run(go())
