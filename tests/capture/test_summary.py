"""Figures of a flow table."""

from __future__ import annotations

import json
from pathlib import Path

from dpi_dual.capture.summary import TOP_HOSTNAMES, TOP_NAMES, TOP_TALKERS, summarise
from tests.capture.streams import Desk, recorded, stream
from tests.capture.test_netifyd import flow, stats


def test_figures_of_a_fixture() -> None:
    desk = Desk().feed([stream("netifyd-4.4.7")])
    figures = summarise(desk.tables["br-lan"], 12.5)
    assert figures["summarised_at"] == 12.5
    assert (figures["flows_kept"], figures["flows_live"], figures["flows_1min"]) == (5, 0, 5)
    assert figures["bytes"] == 11150 + 150 + 2000 + 360 + 1200
    assert figures["local_bytes"] + figures["other_bytes"] == figures["bytes"]
    assert figures["protocols"] == {"TLS": 2, "DNS": 1, "HTTP": 1, "ICMPv6": 1}
    assert list(figures["protocol_bytes"]) == ["TLS", "HTTP", "ICMPv6", "DNS"]
    assert figures["applications"] == {"Unknown": 4, "youtube": 1}
    assert figures["application_bytes"]["youtube"] == 11150
    assert figures["ip_versions"] == {"4": 4, "6": 1}
    assert figures["risks"] == {"netify:46": 2, "netify:10": 1}
    assert figures["hostnames"] == {"video.example.net": 2, "www.example.com": 1, "chat.example.org": 1}
    assert figures["unattributed"] == {"bytes": 0, "packets": 0, "messages": 0}
    local = [talker for talker in figures["top_talkers"] if talker["side"] == "local"]
    remote = [talker for talker in figures["top_talkers"] if talker["side"] == "remote"]
    assert (local[0]["ip"], local[0]["bytes"], local[0]["mac"]) == ("192.0.2.10", 14500, "02:00:00:00:00:0a")
    assert remote[0] == {
        "ip": "203.0.113.80",
        "side": "remote",
        "bytes": 14350,
        "flows": 3,
        "mac": "",
        "hostname": "chat.example.org",
    }
    json.dumps(figures)


def test_categories_of_an_agent_that_names_them() -> None:
    desk = Desk().feed([stream("ndpid-1.7")])
    assert summarise(desk.tables["br-lan"], 0.0)["categories"] == {"Chat": 1, "Network": 1, "RemoteAccess": 1}


def test_every_part_is_bounded() -> None:
    desk = Desk()
    for number in range(400):
        more = {
            "digest": f"d{number}",
            "detected_protocol_name": f"p{number}",
            "host_server_name": f"h{number}.example",
        }
        more |= {
            "other_ip": f"198.51.{number // 200}.{number % 200}",
            "local_ip": f"10.0.{number // 200}.{number % 200}",
        }
        counted = stats(0, 1000 + number, 10, 20)
        desk.tell(
            flow(0, **more, detected_application_name=f"netify.a{number}", risks={"risks": [number + 1]}),
            {**counted, "flow": counted["flow"] | {"digest": f"d{number}"}},
        )
    figures = summarise(desk.tables["br-lan"], 0.0)
    assert len(figures["protocols"]) == len(figures["application_bytes"]) == TOP_NAMES + 1
    assert sum(figures["protocols"].values()) == sum(figures["applications"].values()) == 400
    assert sum(figures["protocol_bytes"].values()) == figures["bytes"]
    assert len(figures["top_talkers"]) == 2 * TOP_TALKERS
    assert figures["top_talkers"][0]["bytes"] == 1399
    assert len(figures["hostnames"]) == TOP_HOSTNAMES
    assert len(figures["risks"]) == TOP_NAMES
    assert len(json.dumps(figures)) < 16 * 1024


def test_figures_of_a_recording(recordings: Path) -> None:
    desk = Desk().feed([recorded(recordings / "netifyd-4.4.7/brlan-default.bin")])
    figures = summarise(desk.tables["br-lan"], 0.0)
    assert figures["bytes"] == 7_222_955
    assert {"DNS", "HTTP", "TLS", "SSH", "ICMP", "ICMPv6"} <= set(figures["protocols"])
    assert figures["top_talkers"][0]["ip"] == "192.168.1.100"
