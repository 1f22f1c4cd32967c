"""Two routers, one CrowdSec LAPI, one broker: a ban of one is seen by the other, each speaks under its own name."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from lab import crowdsec as lab
from lab.crowdsec import running_crowdsec
from lab.engine import RunningEngine, running_engine
from lab.waiting import eventually

from .conftest import subscribed

pytestmark = pytest.mark.skipif(bool(lab.missing()), reason=lab.missing())

PASSWORD = "only-for-this-test-0123456789"
BANNED = "198.51.100.66"


def bans(engine: RunningEngine) -> list[str]:
    return [row["target"] for row in engine.call("dpi.correlator", "bans").get("bans", [])]


def test_two_routers_are_a_fleet(make_broker: Callable[..., Any]) -> None:
    broker = make_broker()
    engines: dict[str, RunningEngine] = {}
    with ExitStack() as stack:
        api = stack.enter_context(running_crowdsec())
        subscriber = stack.enter_context(subscribed(broker.port))
        for name in ("north", "south"):
            api.add_machine(name, PASSWORD)
            key = api.add_bouncer(name)
            uci = (
                f"config crowdsec 'crowdsec'\n\toption url '{api.url}'\n\toption machine_id '{name}'\n"
                f"config export 'export'\n\toption sensor_id '{name}'\n\toption mqtt '1'\n"
                f"\toption mqtt_host '127.0.0.1'\n\toption mqtt_port '{broker.port}'\n\toption mqtt_tls '0'\n"
            )
            engine = engines[name] = stack.enter_context(running_engine(uci))
            secrets = engine.directory / "config" / "dpi-dual-secrets"
            secrets.touch(0o600)
            secrets.write_text(
                f"config crowdsec 'crowdsec'\n\toption password '{PASSWORD}'\n\toption bouncer_key '{key}'\n"
            )
            engine.process.send_signal(signal.SIGHUP)
        for name, engine in engines.items():
            eventually(
                f"CrowdSec is connected to {name}",
                lambda engine=engine: engine.call("dpi.correlator", "stats")["crowdsec"]["state"] == "connected",
            )
            assert subscriber.wait(f"dpi-dual/{name}/status") == {"state": "online"}
        north, south = engines["north"], engines["south"]

        answer = north.call("dpi.correlator", "ban", ip=BANNED, duration="1h", reason="a fleet's word")
        assert answer["ok"], answer
        eventually("the other router sees the ban", lambda: BANNED in bans(south))
        context = lambda: south.call("dpi.correlator", "context", ip=BANNED)["crowdsec"]  # noqa: E731
        eventually("and knows it without asking", lambda: context()["banned"])
        ban = subscriber.wait("dpi-dual/north/ban")
        assert (ban["ip"], ban["host"]) == (BANNED, "north")

        for name, engine in engines.items():
            done = engine.call("dpi.correlator", "correlate", ip="198.51.100.9", event_type="scanner", reason=name)
            assert done["ok"], done
        for name in engines:
            threat = subscriber.wait(f"dpi-dual/{name}/threat", lambda content: content["ip"] == "198.51.100.9")
            assert (threat["host"], threat["reason"]) == (name, name)

        assert south.call("dpi.correlator", "unban", ip=BANNED)["removed"] == 1
        eventually("what one lifts is lifted for all", lambda: BANNED not in bans(north))
