"""Every method of the schema, asked of a real engine that a DPI agent has fed: the answers are what the schema says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dpi_dual.engine.control import ANSWER_BYTES
from dpi_dual.rpc.plugin import SERVICE_ACTIONS, SERVICE_OBJECTS
from dpi_dual.rpc.signatures import methods, schema
from lab.engine import RunningEngine, running_engine
from lab.waiting import eventually
from tests.cli.agent import FLOWS, Agent

SCHEMA = schema()
ASKED = [
    (obj, name)
    for obj, entries in methods().items()
    for name, method in entries.items()
    if not (method.target[0] in SERVICE_OBJECTS and method.target[1] in SERVICE_ACTIONS)
]
STRANGER = {"ip": "198.51.100.7"}
NEEDED: dict[str, dict[str, Any]] = {
    "client": {"client": FLOWS[0][0]},
    "replay": {"ip": "192.0.2.1"},
    "correlate": {**STRANGER, "event_type": "scanner", "reason": "by hand", "score": 75},
    "search": {"query": "198.51.100.7"},
    "set_tuning": {"sensitivity": "medium"},
    "set_auto_ban": {"enabled": False},
    "replay_request": {"req_hash": "4711"},
    **dict.fromkeys(("get_ip_context", "get_ip_reputation", "search_correlations", "correlate_ip", "ban_ip"), STRANGER),
    **dict.fromkeys(
        ("context", "ban", "unban", "whitelist_add", "whitelist_remove", "reset_reputation", "acknowledge"), STRANGER
    ),
}
#: What answers only with another program beside the engine, and the code it gives without.
WITHOUT = {
    "replay": "mitm_down",
    "ban": "crowdsec_not_set_up",
    "unban": "crowdsec_not_set_up",
    "bans": "crowdsec_not_set_up",
    "replay_request": "mitm_down",
    "ban_ip": "crowdsec_not_set_up",
    "metrics": "prometheus_off",
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    """An engine that knows the agent's flows on the LAN interface `lo`."""
    socket = tmp_path_factory.mktemp("agent") / "netifyd.sock"
    on_lo = f"config lan 'lan'\n\toption interface 'lo'\n\toption netifyd_socket '{socket}'\n"
    with Agent(socket), running_engine(on_lo) as running:
        eventually("the engine has taken in the agent's flows", lambda: _knows_all(running))
        yield running


def _knows_all(engine: RunningEngine) -> bool:
    flows = engine.call("dpi.lan", "flows")["flows"]
    return len([flow for flow in flows if flow["total_bytes"]]) == len(FLOWS)


def _check(obj: str, name: str, answer: dict[str, Any]) -> None:
    target, verb = methods()[obj][name].target
    returns = SCHEMA["objects"][target][verb]["returns"]
    Draft202012Validator({**returns, "$defs": SCHEMA["$defs"]}).validate(answer)


@pytest.mark.parametrize(("obj", "name"), ASKED)
def test_the_answer_is_what_the_schema_says(engine: RunningEngine, obj: str, name: str) -> None:
    answer = engine.call(obj, name, **NEEDED.get(name, {}))
    if name in ("mirror_start", "mirror_stop") and answer.get("code") == "not_permitted":
        pytest.skip("needs root to change the mirror")
    if name in WITHOUT:
        assert answer["code"] == WITHOUT[name], answer
        return
    assert "error" not in answer, answer
    _check(obj, name, answer)


@pytest.mark.parametrize(("obj", "name"), [(obj, name) for obj, name in ASKED if obj != "dpi"])
def test_wrong_parameters_are_refused_by_name(engine: RunningEngine, obj: str, name: str) -> None:
    answer = engine.call(obj, name, nonsense=1)
    assert answer["code"] == "bad_parameter"
    assert "'nonsense'" in answer["error"]


@pytest.mark.parametrize(
    ("obj", "name", "params", "code"),
    [
        ("dpi.lan", "client", {"client": "nobody"}, "not_found"),
        ("dpi.lan", "clients", {"before": "rubbish"}, "bad_page"),
        ("dpi.lan", "flows", {"ip": "300.1.1.1"}, "bad_address"),
        ("dpi.status", "flows", {"before": "\x00'; DROP TABLE"}, "bad_page"),
        ("dpi.lan", "history", {"client": "nobody"}, "not_found"),
    ],
)
def test_questions_without_an_answer(
    engine: RunningEngine, obj: str, name: str, params: dict[str, Any], code: str
) -> None:
    answer = engine.call(obj, name, **params)
    assert answer["code"] == code, answer
    assert len(answer["error"]) > 10


@pytest.mark.parametrize(("name", "key"), [("clients", "clients"), ("flows", "flows"), ("protocols", "protocols")])
def test_pages_give_each_row_once(engine: RunningEngine, name: str, key: str) -> None:
    whole = engine.call("dpi.lan", name)
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 1}
    for _ in range(whole["total"] + 1):
        page = engine.call("dpi.lan", name, **params)
        seen += [
            json.dumps([row.get("mac"), row.get("local_port"), row.get("protocol"), row.get("application")])
            for row in page[key]
        ]
        if "next" not in page:
            break
        params["before"] = page["next"]
    assert len(seen) == len(set(seen)) == whole["total"]


def test_client_by_mac_address_or_ip_is_the_same(engine: RunningEngine) -> None:
    mac, ip = FLOWS[0][0], FLOWS[0][1]
    by_mac, by_ip = (engine.call("dpi.lan", "client", client=text)["client"] for text in (mac.upper(), ip))
    assert by_mac["mac"] == by_ip["mac"] == mac
    assert by_mac["bytes_out"] == FLOWS[0][7]
    assert by_mac["bytes_in"] == FLOWS[0][8]


@pytest.mark.parametrize("name", ["clients", "client", "destinations", "protocols", "history"])
def test_the_figures_come_along_when_asked_for(engine: RunningEngine, name: str) -> None:
    answer = engine.call("dpi.lan", name, figures=True, **NEEDED.get(name, {}))
    _check("dpi.lan", name, answer)
    status = engine.call("dpi.lan", "status")
    assert answer["figures"].keys() == status.keys()
    assert answer["figures"]["source"] == status["source"]
    assert "figures" not in engine.call("dpi.lan", name, **NEEDED.get(name, {}))


def test_wire_text_arrives_harmless(engine: RunningEngine) -> None:
    text = json.dumps(engine.call("dpi.lan", "flows"), ensure_ascii=False)
    assert "evil.example" in text
    assert "\\u001b" not in text
    assert len(text) < ANSWER_BYTES


def test_the_agent_is_named_in_version_and_health(engine: RunningEngine) -> None:
    agents = engine.call("dpi.status", "version")["agents"]
    assert [agent["agent_version"] for agent in agents.values() if agent["connected"]] == ["4.4.7"]
    health = engine.call("dpi.status", "health")
    assert any(name.endswith("flow_messages") and count for name, count in health["counters"].items())
