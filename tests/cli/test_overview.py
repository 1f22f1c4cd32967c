"""The overview as a person sees it: how each stream stands, bars."""

from __future__ import annotations

from dpi_dual.cli.overview import bars, show_status
from tests.cli import answers
from tests.cli.answers import view


def test_status_of_a_running_suite() -> None:
    answer = {
        "enabled": True,
        "mode": "tap-only",
        "version": "1.0",
        "started_at": answers.NOW - 7300,
        "rss_bytes": 31_000_000,
        "problems": 2,
        "tap_stream": {"running": True, "interface": "tap0", "interface_up": True, "flows_1min": 1, "rx_bytes": 10**9},
        "lan_passive": {"enabled": True, "running": True, "interface": "br-lan", "active_clients": 3},
    }
    assert list(show_status(answer, view())) == [
        "DPI Dual-Stream 1.0  ·  mode tap-only  ·  up 2 h  ·  31.0 MB of memory",
        "",
        "MITM stream  off       0 in the buffer, 0 threats, 0 blocked",
        "TAP stream   running   tap0 up, 1 flow in the last minute, 1.0 GB seen",
        "LAN          running   br-lan, 3 clients, 0 destinations, 0 protocols",
        "Correlation  off       0 correlated threats",
        "",
        "2 problems: see 'dpi-dualctl health'",
    ]


def test_bars() -> None:
    assert bars([0, 5, 10], 10) == "▁▄█"
    assert bars([1, 9, 1, 1], 2) == "█▁"
    assert bars([], 10) == ""
    assert bars([0, 0], 10) == "▁▁"
