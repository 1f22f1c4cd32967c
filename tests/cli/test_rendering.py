"""Every command's answer as a person sees it: whole, within the room, harmless."""

from __future__ import annotations

from typing import Any

import pytest

from dpi_dual.cli import collectors, correlator, dualctl
from dpi_dual.cli.command import DOWN, OK, PROBLEM, REFUSED, Command, View, judge
from dpi_dual.cli.flows import endpoint, kind, show_flows
from dpi_dual.cli.health import judge_health, show_health
from dpi_dual.cli.lan import show_client
from dpi_dual.cli.mirror import judge_complete
from dpi_dual.cli.overview import bars, show_status
from dpi_dual.cli.terminal import Style, columns
from dpi_dual.rpc import legacy
from tests.cli import answers

COMMANDS = [*dualctl.PROGRAM.commands()]
COMMANDS += [
    command
    for command in correlator.PROGRAM.commands()
    if command.json_only is None and command.words not in [known.words for known in COMMANDS]
]
PLAIN = Style(False)


def view(room: int = 80, **params: Any) -> View:
    return View(room, PLAIN, answers.NOW, "dpi-dualctl flows", params)


def named(command: Command) -> str:
    return " ".join(command.words)


def test_every_method_has_a_command() -> None:
    reached = {(command.object, command.method) for command in COMMANDS}
    reached.add(("dpi.status", "replay"))  # `replay` has options of its own: see test_replay.py
    # `overview` is all of one page in one answer, `metrics` is for Prometheus.
    reached |= {("dpi.status", "overview"), ("dpi.status", "metrics")}
    # The predecessor's object says nothing that the others do not: it is for programs that were written for it.
    objects = {name: methods for name, methods in answers.OBJECTS.items() if name != legacy.OBJECT}
    assert reached == {(obj, method) for obj, methods in objects.items() for method in methods}


@pytest.mark.parametrize(
    "program", [dualctl.PROGRAM, collectors.FLOW, collectors.LAN, correlator.PROGRAM], ids=lambda program: program.name
)
def test_no_two_commands_share_their_words(program: Any) -> None:
    names = program.names()
    assert len(names) == len(set(names))


@pytest.mark.parametrize("room", [40, 80, 132])
@pytest.mark.parametrize("command", COMMANDS, ids=named)
def test_hostile_answers_stay_within_the_room(command: Command, room: int) -> None:
    answer = answers.answer(command.object, command.method, answers.HOSTILE)
    lines = list(command.show(answer, view(room)))
    assert any(lines)
    for line in lines:
        assert line.isprintable() or not line
        # The hint at the next page must be copied whole.
        if room >= 80 and "--before" not in line:
            assert columns(line) <= room, line


@pytest.mark.parametrize("command", COMMANDS, ids=named)
def test_a_bare_answer_is_no_accident(command: Command) -> None:
    assert list(command.show({}, view()))


@pytest.mark.parametrize("command", COMMANDS, ids=named)
def test_without_a_limit_nothing_is_cut(command: Command) -> None:
    answer = answers.answer(command.object, command.method)
    assert not any("…" in line for line in command.show(answer, view(0)) if "dpi-dualctl" not in line)


FLOW = {
    "first_seen_at": answers.NOW - 100,
    "last_seen_at": answers.NOW - 12,
    "local_ip": "192.168.1.20",
    "local_port": 51234,
    "other_ip": "2001:db8::7",
    "other_port": 443,
    "hostname": "",
    "local_origin": True,
    "protocol": "QUIC",
    "application": "youtube",
    "total_bytes": 1_234_567,
    "local_bytes": 34_567,
    "other_bytes": 1_200_000,
    "total_packets": 1200,
    "state": "live",
}


def test_a_name_that_is_asked_for_does_not_stand_in_the_stranger_s_place() -> None:
    inbound = {**FLOW, "local_origin": False, "hostname": "shop.example.org", "other_name": ""}
    lines = show_flows({"flows": [inbound], "total": 1}, view(0))
    title, row = (line for line in lines if line.startswith(("Seen", "12 s")))
    assert row[title.index("Remote") :].startswith("[2001:db8::7]:443")
    assert row[title.index("Asks for") :].startswith("shop.example.org")


def test_flows() -> None:
    answer = {
        "tap_interface": "tap0",
        "flows_1min": 42,
        "rx_bytes": 5_300_000,
        "rx_packets": 6400,
        "protocols": {"DNS": 3, "TLS": 30},
        "flows": [FLOW, {**FLOW, "state": "finished", "local_origin": False, "other_name": "cdn.example.net"}],
        "total": 200,
        "next": "17.4",
    }
    assert list(show_flows(answer, view(76))) == [
        "tap0: 42 flows in the last minute, 5.3 MB in 6,400 packets",
        "Protocols     TLS 30, DNS 3",
        "",
        "Seen    Local                  Remote               What           Total",
        "12 s    192.168.1.20:51234  →  [2001:db8::7]:443    youtube/QUIC  1.2 MB",
        "12 s †  192.168.1.20:51234  ←  cdn.example.net:443  youtube/QUIC  1.2 MB",
        "† finished",
        "",
        "2 of 200; the next page:",
        "  dpi-dualctl flows --before 17.4",
    ]


def test_no_flows_says_what_to_look_at() -> None:
    assert "dpi-dualctl mirror" in list(show_flows({"flows": []}, view()))[-1]
    assert list(show_flows({"flows": []}, view(protocol="SSH")))[-1] == "Nothing fits."


@pytest.mark.parametrize(
    ("address", "port", "text"),
    [
        ("10.0.0.1", 53, "10.0.0.1:53"),
        ("fe80::1", 53, "[fe80::1]:53"),
        ("fe80::1", 0, "fe80::1"),
        ("a.b", 443, "a.b:443"),
    ],
)
def test_endpoints(address: str, port: int, text: str) -> None:
    assert endpoint(address, port) == text


def test_what_a_flow_is() -> None:
    assert kind({"protocol": "TLS", "application": "Unknown"}) == "TLS"
    assert kind({"protocol": "DNS", "application": "dns"}) == "DNS"
    assert kind({"protocol": "TLS", "application": "whatsapp", "guessed": True}) == "whatsapp/TLS?"


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


def test_bars() -> None:
    assert bars([0, 5, 10], 10) == "▁▄█"
    assert bars([1, 9, 1, 1], 2) == "█▁"
    assert bars([], 10) == ""
    assert bars([0, 0], 10) == "▁▁"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({}, OK),
        ({"engine": "running"}, OK),
        ({"engine": "down"}, DOWN),
        ({"error": "x", "code": "engine_down"}, DOWN),
        ({"error": "x", "code": "timeout"}, DOWN),
        ({"error": "x", "code": "bad_parameter"}, REFUSED),
    ],
)
def test_exit_codes(answer: dict[str, Any], code: int) -> None:
    assert judge(answer) == code


def test_exit_codes_that_a_script_asks_for() -> None:
    assert judge_health({"ok": True, "engine": "running"}) == OK
    assert judge_health({"ok": False, "engine": "running"}) == PROBLEM
    assert judge_health({"ok": False, "engine": "down"}) == DOWN
    assert judge_complete({"complete": False}) == PROBLEM
    assert judge_complete({"complete": True, "engine": "down"}) == OK
