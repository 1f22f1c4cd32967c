"""Health as a person sees it: what is wrong and what to do."""

from __future__ import annotations

from dpi_dual.cli.health import show_health
from tests.cli import answers
from tests.cli.answers import view


def test_health_says_what_to_do() -> None:
    answer = {
        "ok": False,
        "problems": [
            {
                "code": "a",
                "severity": "error",
                "message": "No agent answers at /run/n.sock.",
                "hint": "Install netifyd.",
            }
        ],
        "parts": {"tap": {"state": "waiting", "restarts": 3, "since_at": answers.NOW - 5, "error": "OSError: gone"}},
        "agents": [
            {
                "name": "lan",
                "connected": True,
                "kind": "netifyd",
                "agent_version": "4.4.7",
                "address": "/run/n.sock",
                "last_message_at": answers.NOW - 3,
            }
        ],
        "counters": {"frames_dropped": 12, "resyncs": 0},
        "engine": "running",
    }
    assert list(show_health(answer, view())) == [
        "Not well: 1 problem.",
        "",
        "error    No agent answers at /run/n.sock.",
        "         → Install netifyd.",
        "",
        "Parts",
        "  tap              waiting    since 5 s ago, started again 3 times, last error:",
        "                              OSError: gone",
        "",
        "DPI agents",
        "  lan              connected  netifyd 4.4.7, /run/n.sock, last heard 3 s ago",
        "",
        "Counted since the start (drops and oddities)",
        "12  frames dropped",
    ]
