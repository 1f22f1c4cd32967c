"""The process that speaks MQTT, so that the engine loads neither paho-mqtt nor OpenSSL.

Standard input: one line with the settings, then one `[number, topic, payload]` a line. Standard output: `["up"]`,
`["down", why]`, and `["ack", number]` when the broker has a message (QoS 1). It ends when its standard input does, so
also when the engine was killed.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

#: Exit status: paho-mqtt is not installed.
NOT_HERE = 3
#: Messages that the broker has not acknowledged.
IN_FLIGHT = 50
KEEPALIVE_S = 30
#: Between two attempts, at most.
RECONNECT_S = 30
#: At the end: for the last messages to arrive.
LAST_S = 3.0


class Publisher:
    """One connection that paho keeps up; `main` feeds it."""

    def __init__(self, mqtt: Any, settings: dict[str, Any]) -> None:
        #: paho's number of a message → ours; 0: one of our own. And those acknowledged before we knew paho's number.
        self._numbers: dict[int, int] = {}
        self._early: set[int] = set()
        self._lock = threading.Lock()
        self._room = threading.Semaphore(IN_FLIGHT)
        self._status = f"{settings['topic']}/{settings['sensor']}/status"
        # paho-mqtt 1 has no such argument, 2 requires it.
        version = (mqtt.CallbackAPIVersion.VERSION2,) if hasattr(mqtt, "CallbackAPIVersion") else ()
        self._client = mqtt.Client(*version, client_id=f"dpi-dual-{settings['sensor']}"[:64], clean_session=True)
        if settings["user"]:
            self._client.username_pw_set(settings["user"], settings["password"] or None)
        if settings["tls"]:
            self._client.tls_set()
        self._client.will_set(self._status, '{"state": "offline"}', qos=1, retain=True)
        self._client.reconnect_delay_set(1, RECONNECT_S)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._unreached
        self._client.on_disconnect = self._lost
        self._client.on_publish = self._published
        self._client.connect_async(settings["host"], settings["port"], KEEPALIVE_S)
        self._client.loop_start()

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, *more: Any) -> None:
        refused = getattr(reason, "is_failure", reason != 0)
        if refused:
            say("down", f"the broker refused: {reason}")
            return
        say("up")
        online = client.publish(self._status, '{"state": "online"}', qos=1, retain=True)
        with self._lock:
            self._numbers[online.mid] = 0

    def _unreached(self, client: Any, data: Any) -> None:
        # paho-mqtt keeps the reason to itself.
        say("down", "it cannot be reached, or its certificate is not to be trusted")

    def _lost(self, client: Any, data: Any, *more: Any) -> None:
        say("down", "the connection was lost")

    def _published(self, client: Any, data: Any, mid: int, *more: Any) -> None:
        # paho calls this with its own lock held, which its `publish` takes as well: ours is never held around that.
        with self._lock:
            number = self._numbers.pop(mid, None)
            if number is None:
                self._early.add(mid)
        if number:
            self._done(number)

    def _done(self, number: int) -> None:
        say("ack", number)
        self._room.release()

    def publish(self, number: int, topic: str, payload: str) -> None:
        """Waits while too much is under way."""
        self._room.acquire()
        sent = self._client.publish(topic, payload, qos=1)
        with self._lock:
            early = sent.mid in self._early
            self._early.discard(sent.mid)
            if not early:
                self._numbers[sent.mid] = number
        if early:
            self._done(number)

    def close(self) -> None:
        """Says goodbye, if there is a broker to hear it."""
        if self._client.is_connected():
            self._client.publish(self._status, '{"state": "offline"}', qos=1, retain=True).wait_for_publish(LAST_S)
        self._client.disconnect()
        self._client.loop_stop()


_saying = threading.Lock()


def say(*words: Any) -> None:
    """One line to the engine."""
    with _saying:
        print(json.dumps(words), flush=True)


def main() -> int:
    """Publishes until the end of standard input."""
    try:
        from paho.mqtt import client as mqtt
    except ImportError:
        return NOT_HERE
    settings = json.loads(sys.stdin.buffer.readline() or b"null")
    if settings is None:
        return 0
    publisher = Publisher(mqtt, settings)
    for line in sys.stdin.buffer:
        number, topic, payload = json.loads(line)
        publisher.publish(number, topic, payload)
    publisher.close()
    return 0
