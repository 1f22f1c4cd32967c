"""Hostile names in labels stay inside them: one line a value, whatever an agent calls a protocol."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.export import influx, prometheus
from dpi_dual.export.exports import sensor_id
from dpi_dual.export.figures import Family
from dpi_dual.export.mqtt import MAX_BYTES, QUEUED, Mqtt
from dpi_dual.settings import Export

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NUMBERS = st.one_of(st.integers(0, 1 << 60), st.floats(0, 1e15))


def family(name: str, value: float) -> Family:
    return Family("dpi_dual_protocol_flows", "gauge", "Flows.", [({"stream": "tap", "protocol": name}, value)])


@given(NAMES, NUMBERS)
def test_prometheus_labels_can_be_read_back(name: str, value: float) -> None:
    text = prometheus.text([family(name, value), Family("dpi_dual_none", "gauge", "Nothing.", [])])
    head, kind, line, rest = text.split("\n")
    assert (head, kind, rest) == (
        "# HELP dpi_dual_protocol_flows Flows.",
        "# TYPE dpi_dual_protocol_flows gauge",
        "",
    )
    found = re.fullmatch(
        r'dpi_dual_protocol_flows\{stream="tap",protocol="((?:[^"\\]|\\["\\n])*)"\} (\S+)', line, re.DOTALL
    )
    assert found
    escapes = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}
    assert re.sub(r"\\.", lambda hit: escapes[hit[0]], found[1]) == name
    assert abs(float(found[2]) - value) <= 1e-6 * max(1.0, value)


@given(NAMES, NUMBERS, st.floats(0, 4e9))
def test_influx_lines_keep_their_shape(name: str, value: float, at: float) -> None:
    text = influx.lines([family(name, value)], "router", at)
    assert text.endswith("\n")
    assert text.count("\n") == 1
    line = text[:-1]
    measurement, *tags = re.split(r"(?<!\\),", re.split(r"(?<!\\) ", line)[0])
    assert measurement == "dpi_dual_protocol_flows"
    assert [tag.partition("=")[0] for tag in tags] == (["protocol"] if name else []) + ["sensor", "stream"]
    assert re.search(r" value=[0-9.e+-]+ [0-9]+$", line)


@given(st.text(max_size=100))
def test_a_sensor_s_name_is_one_level_of_a_topic(name: str) -> None:
    settings = Export(name, False, "", "", False, "", 16, True, "h", 1883, False, "", "dpi-dual")
    sensor = sensor_id(settings)
    assert 0 < len(sensor) <= 64
    assert not set("/#+ \n\x00,=") & set(sensor)


def test_the_queue_of_messages_is_bounded_and_the_oldest_goes() -> None:
    mqtt = Mqtt({"topic": "t", "sensor": "s", "host": "h", "port": 1})
    for number in range(QUEUED + 25):
        mqtt.publish("threat", {"n": number})
    mqtt.publish("threat", {"text": "x" * MAX_BYTES})
    assert mqtt.waiting() == QUEUED
    assert mqtt.counters()["mqtt_dropped"] == 26
    assert mqtt._waiting[0][2] == '{"n":25}'
    assert mqtt._waiting[0][1] == "t/s/threat"
