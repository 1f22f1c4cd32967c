"""One client of the LAN as a person sees it."""

from __future__ import annotations

from dpi_dual.cli.lan import show_client
from tests.cli.answers import view


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
