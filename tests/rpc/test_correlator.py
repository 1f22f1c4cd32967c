"""`dpi.correlator` of a real engine: hostile parameters refused by name, settings written and in force at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dpi_dual import config
from dpi_dual.rpc.signatures import methods
from lab.engine import RunningEngine, running_engine
from lab.waiting import eventually
from tests.correlation.test_actors import HOSTILE

OBJECT = "dpi.correlator"
#: Methods that take an address, and what else they need.
ADDRESSED: dict[str, dict[str, Any]] = {
    "correlate": {"event_type": "scanner"},
    "ban": {},
    "unban": {},
    "whitelist_add": {},
    "whitelist_remove": {},
    "reset_reputation": {},
    "reputation": {},
    "context": {},
    "timeline": {},
    "acknowledge": {},
}


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as running:
        yield running


def ask(engine: RunningEngine, method: str, **params: Any) -> dict[str, Any]:
    return engine.call(OBJECT, method, **params)


@pytest.mark.parametrize("method", ADDRESSED)
@pytest.mark.parametrize("text", [text for text in HOSTILE if text], ids=range(len(HOSTILE) - 1))
def test_hostile_addresses_are_refused_by_name(engine: RunningEngine, method: str, text: str) -> None:
    answer = ask(engine, method, ip=text, **ADDRESSED[method])
    assert answer["code"] == ("bad_address" if len(text) <= 64 else "bad_parameter"), answer
    assert len(answer["error"]) < 400


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("correlate", {"ip": "198.51.100.7", "event_type": "x'; DROP TABLE t; --"}, "bad_type"),
        ("correlate", {"ip": "198.51.100.7", "event_type": "$(reboot)"}, "bad_type"),
        ("correlate", {"ip": "198.51.100.7", "event_type": "scanner", "score": 101}, "bad_parameter"),
        ("correlate", {"ip": "198.51.100.7", "event_type": "scanner", "score": "75"}, "bad_parameter"),
        ("correlate", {"ip": "198.51.100.7", "event_type": "scanner", "score": True}, "bad_parameter"),
        ("correlate", {"ip": ["198.51.100.7"], "event_type": "scanner"}, "bad_parameter"),
        ("correlate", {"ip": "198.51.100.7"}, "bad_parameter"),
        ("timeline", {"before": "t'; DROP"}, "bad_page"),
        ("timeline", {"type": "a%"}, "bad_type"),
        ("timeline", {"state": "open"}, "bad_parameter"),
        ("timeline", {"since": "yesterday"}, "bad_parameter"),
        ("reputation", {"before": "-1"}, "bad_page"),
        ("bans", {"before": "x"}, "bad_page"),
        ("ban", {"ip": "198.51.100.7", "duration": "4h; reboot"}, "bad_duration"),
        ("ban", {"ip": "198.51.100.7", "duration": "0s"}, "bad_duration"),
        ("ban", {"ip": "10.0.0.0/8"}, "bad_address"),
        ("whitelist_add", {"ip": "0.0.0.0/0"}, "bad_address"),
        ("set_tuning", {}, "bad_parameter"),
        ("set_tuning", {"window": 0}, "bad_parameter"),
        ("set_auto_ban", {"enabled": True, "duration": "soon"}, "bad_parameter"),
        ("acknowledge", {}, "bad_parameter"),
        ("acknowledge", {"id": 4711}, "not_found"),
        ("acknowledge", {"rule": "x", "mute": True, "duration": "soon"}, "bad_duration"),
        ("context", {"id": 4711}, "not_found"),
        ("context", {}, "bad_parameter"),
        ("search", {"query": " "}, "bad_parameter"),
    ],
)
def test_hostile_parameters(engine: RunningEngine, method: str, params: dict[str, Any], code: str) -> None:
    answer = ask(engine, method, **params)
    assert answer["code"] == code, answer
    assert len(answer["error"]) < 400


@pytest.mark.parametrize("text", ["'; DROP TABLE correlation_threats; --", "%_\\", '"', "\x00\u202e", "ü" * 60])
def test_search_takes_any_text_as_text(engine: RunningEngine, text: str) -> None:
    ask(engine, "correlate", ip="198.51.100.8", event_type="scanner", reason=f"saw {text} there")
    found = ask(engine, "search", query=text.strip("\x00\u202e") or "saw")
    assert found["total"] >= 1
    assert ask(engine, "search", query="no such thing")["total"] == 0


def test_ten_megabytes_are_refused_and_the_engine_goes_on(engine: RunningEngine) -> None:
    assert ask(engine, "correlate", ip="1" * 10_000_000, event_type="scanner")["code"] == "too_long"
    assert ask(engine, "stats")["running"]


def test_a_page_of_the_timeline_brings_the_figures_along(engine: RunningEngine) -> None:
    threat = ask(engine, "correlate", ip="192.0.0.99", event_type="scanner", score=95)["threat"]
    page = ask(engine, "timeline", ip="192.0.0.99", limit=1, figures=True)
    stats = ask(engine, "stats")
    assert page["threats"][0]["id"] == threat["id"]
    assert page["figures"]["by_state"] == stats["by_state"]
    assert page["figures"]["level"] == "critical"
    assert len(page["figures"]["trend"]) in (24, 25)
    assert sum(point["events"] for point in page["figures"]["trend"]) == stats["events"]
    assert "figures" not in ask(engine, "timeline", limit=1)


def test_an_address_and_one_of_its_threats_in_one_answer(engine: RunningEngine) -> None:
    threat = ask(engine, "correlate", ip="192.0.0.98", event_type="scanner", reason="sqlmap")["threat"]
    ask(engine, "acknowledge", id=threat["id"], mute=True, duration="1h")
    both = ask(engine, "context", ip="192.0.0.98", id=threat["id"])
    assert both["record"]["id"] == threat["id"] and both["reputation"]["actor"] == "192.0.0.98"
    assert [(mute["rule"], mute["source"]) for mute in both["mutes"]] == [("sqlmap", "192.0.0.98")]
    ask(engine, "acknowledge", id=threat["id"], remove=True)
    assert ask(engine, "context", ip="192.0.0.98")["mutes"] == []


def test_a_context_says_which_entry_of_the_whitelist_covers_the_address(engine: RunningEngine) -> None:
    assert ask(engine, "context", ip="192.0.0.97")["reputation"]["whitelisted"] == ""
    assert "ok" in ask(engine, "whitelist_add", ip="192.0.0.96/30")
    assert ask(engine, "context", ip="192.0.0.97")["reputation"]["whitelisted"] == "192.0.0.96/30"
    assert "ok" in ask(engine, "whitelist_remove", ip="192.0.0.96/30")
    assert ask(engine, "context", ip="192.0.0.97")["reputation"]["whitelisted"] == ""


def test_timeline_pages_and_filters(engine: RunningEngine) -> None:
    for number in range(7):
        ask(engine, "correlate", ip=f"192.0.0.{200 + number}", event_type=f"kind_{number % 2}", score=10 * number)
    whole = ask(engine, "timeline", ip="192.0.0.192/26")
    assert whole["total"] == 7
    seen: list[int] = []
    page: dict[str, Any] = {"next": ""}
    while "next" in page:
        page = ask(engine, "timeline", ip="192.0.0.192/26", limit=2, before=page["next"])
        seen += [record["id"] for record in page["threats"]]
    assert seen == [record["id"] for record in whole["threats"]]
    for params, count in (
        ({"type": "kind_1"}, 3),
        ({"min_score": 50}, 2),
        ({"state": "muted"}, 0),
        ({"since": time.time() + 60}, 0),
        ({"until": time.time() + 60, "since": 1}, 7),
    ):
        assert ask(engine, "timeline", ip="192.0.0.192/26", **params)["total"] == count, params
    assert ask(engine, "timeline", ip="192.0.0.203")["total"] == 1


def test_a_whitelisted_address_is_written_and_in_force_at_once(engine: RunningEngine) -> None:
    assert ask(engine, "whitelist_add", ip="198.51.100.64/26")["whitelist"] == ["198.51.100.64/26"]
    assert ask(engine, "ban", ip="198.51.100.70")["code"] == "never_banned"
    assert "whitelist has 198.51.100.64/26" in ask(engine, "reputation", ip="198.51.100.70")["never_banned"]
    assert config.load(str(engine.directory / "config")).whitelist.ip == ("198.51.100.64/26",)
    engine.process.send_signal(signal.SIGHUP)
    assert ask(engine, "whitelist_remove", ip="198.51.100.64/26")["whitelist"] == []
    assert ask(engine, "whitelist_remove", ip="198.51.100.64/26")["code"] == "not_found"
    assert ask(engine, "ban", ip="198.51.100.70")["code"] == "crowdsec_not_set_up"


def test_tuning_is_in_force_at_once_and_kept(engine: RunningEngine) -> None:
    assert ask(engine, "set_tuning", sensitivity="custom", scanner=77)["weights"]["scanner"] == 77
    ask(engine, "correlate", ip="192.0.2.77", event_type="scanner")
    # The lab's own network may be a documentation network: what counts is the points.
    assert ask(engine, "reputation", ip="192.0.2.77")["score"] == 77
    assert ask(engine, "set_auto_ban", enabled=True, threshold=90, duration="1d")["auto_ban_duration"] == "1d"
    settings = config.load(str(engine.directory / "config"))
    assert (settings.scoring.scanner, settings.correlation.auto_ban_threshold) == (77, 90)
    assert ask(engine, "set_tuning", sensitivity="medium")["weights"]["scanner"] == 35


def test_while_switched_off_records_are_still_shown(engine: RunningEngine) -> None:
    file = engine.directory / "config" / "dpi-dual"
    text = file.read_text()
    file.write_text(text + "config correlation 'correlation'\n\toption enabled '0'\n")
    engine.process.send_signal(signal.SIGHUP)
    eventually("it is switched off", lambda: not ask(engine, "stats")["running"])
    assert ask(engine, "correlate", ip="198.51.100.7", event_type="scanner")["code"] == "correlation_off"
    assert ask(engine, "timeline")["total"] > 0
    file.write_text(text)
    engine.process.send_signal(signal.SIGHUP)
    eventually("it is switched on", lambda: ask(engine, "stats")["running"])
    assert ask(engine, "correlate", ip="198.51.100.7", event_type="scanner")["ok"]


def test_every_method_is_asked_here_or_takes_nothing() -> None:
    with_address = {name for name, method in methods()[OBJECT].items() if "ip" in method.params["properties"]}
    assert with_address == set(ADDRESSED)
