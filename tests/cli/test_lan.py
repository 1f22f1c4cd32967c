"""Clients of the LAN and their past as a person sees them."""

from __future__ import annotations

from dpi_dual.cli.lan import show_client, show_history
from tests.cli.answers import NOW, view


def test_one_client_lists_all_its_addresses() -> None:
    client = {
        "ip": "10.0.0.2",
        "ips": ["10.0.0.2", "fd00::2"],
        "mac": "02:00:00:00:00:02",
        "hostname": "nas",
        "bytes_in": 1,
    }
    lines = list(
        show_client({"client": client, "applications": [{"application": "dns", "bytes": 7, "flows": 1}]}, view())
    )
    assert lines[0] == "nas"
    assert "  address     fd00::2" in lines
    assert "  dns              1    7 B   100%" in lines


def test_history_says_whose_the_bytes_are() -> None:
    step = {"seconds": 86400, "bytes": 4000, "bytes_in": 3000, "bytes_out": 1000, "flows": 9}
    answer = {
        "period": "month",
        "points": [{"start_at": NOW, **step}],
        "clients": [
            {"client": "02:00:00:00:00:01", "hostname": "laptop", "bytes": 3000, "bytes_in": 2500, "flows": 7},
            {"client": "02:00:00:00:00:02", "hostname": "", "bytes": 1000, "bytes_in": 500, "flows": 2},
        ],
        "applications": [{"application": "youtube", "bytes": 4000, "bytes_in": 3000, "bytes_out": 1000, "flows": 9}],
    }
    lines = [line.split() for line in show_history(answer, view(80))]
    assert ["laptop", "2.5", "kB", "0", "B", "3.0", "kB", "75%", "7"] in lines
    assert ["02:00:00:00:00:02", "500", "B", "0", "B", "1.0", "kB", "25%", "2"] in lines
    assert ["youtube", "3.0", "kB", "1.0", "kB", "4.0", "kB", "100%", "9"] in lines


def test_a_client_s_flows_have_it_on_the_left_though_the_agent_took_the_router_s_side() -> None:
    asked = {"local_ip": "10.0.0.1", "local_port": 53, "other_ip": "10.0.0.2", "other_port": 40000, "other_bytes": 7,
             "local_bytes": 9, "local_origin": False, "protocol": "DNS", "hostname": "www.example.com"}  # fmt: skip
    answer = {"client": {"ip": "10.0.0.2", "ips": ["10.0.0.2"]}, "flows": [asked]}
    (line,) = [line.split() for line in show_client(answer, view(0)) if "DNS" in line]
    assert line[line.index("10.0.0.2:40000") :][:5] == ["10.0.0.2:40000", "→", "10.0.0.1:53", "DNS", "www.example.com"]
    assert line[line.index("www.example.com") + 1 :][:4] == ["7", "B", "9", "B"]
