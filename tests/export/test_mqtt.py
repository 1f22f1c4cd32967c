"""MQTT without a broker: the sensor's name as a topic, and a bounded queue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.export.exports import sensor_id
from dpi_dual.export.mqtt import MAX_BYTES, QUEUED, Mqtt
from dpi_dual.settings import Export


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
