"""Reading what the peers found, and saying which of them are not there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import peer_programs
from bench.peer_programs import PROGRAMS, missing, nlbwmon_bytes, nlbwmon_flows, ntopng_bytes


def test_a_peer_that_is_not_installed_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_programs.shutil, "which", lambda name: None if name == "ntopng" else f"/usr/bin/{name}")
    assert missing("ntopng").startswith("ntopng: not installed, from packages.ntop.org or its source")
    assert [missing(name) for name in PROGRAMS if name != "ntopng"] == [""] * (len(PROGRAMS) - 1)


def test_two_programs_that_lack_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_programs.shutil, "which", lambda _: None)
    assert missing("nlbwmon").startswith("nlbwmon and nlbw: not installed, ")


def test_nlbwmon_counts_ip_and_the_wire_has_ethernet() -> None:
    said = json.dumps(
        {
            "columns": ["mac", "conns", "rx_bytes", "rx_pkts", "tx_bytes", "tx_pkts"],
            "data": [["02:00:5e:00:01:64", 3, 1000, 4, 200, 2]],
        }
    )
    assert nlbwmon_flows(said) == 3
    assert nlbwmon_bytes(said) == {"02:00:5e:00:01:64": 1200 + 6 * 14}


def test_ntopng_s_hosts_of_a_device_are_added_up_and_those_beyond_the_router_left_out() -> None:
    def host(mac: str, local: bool, count: int) -> dict[str, Any]:
        return {"host": {"mac": {"address": mac}, "localhost": local}, "bytes": {"total": count}}

    laptop = "02:00:5E:00:01:64"
    hosts = [host(laptop, True, 100), host(laptop, True, 20), host("02:00:5E:00:01:01", False, 7)]
    assert ntopng_bytes(hosts) == {laptop.lower(): 120}
