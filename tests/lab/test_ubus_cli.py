"""`lab/bin/ubus` prints and exits as OpenWrt's `ubus` does; the expected text was read off the original."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from .conftest import ROOT, Gateway

UBUS = ROOT / "lab" / "bin" / "ubus"

PLUGIN = """#!/usr/bin/python3 -IS
import sys, time
if sys.argv[1] == "list":
    print('{"flows":{"limit":0,"before":"","live":true,"a":[],"t":{}},"status":{},"nothing":{},"wrong":{},"wait":{}}')
elif sys.argv[2] == "status":
    print('{"enabled":true,"score":0.5,"list":[1,{"n":null}],"empty":{},"text":"\\\\u00e9\\\\n"}')
elif sys.argv[2] == "wait":
    time.sleep(5)
elif sys.argv[2] == "wrong":
    print("[1]")
"""


@pytest.fixture
def gateway(run_gateway: Callable[..., Gateway]) -> Gateway:
    return run_gateway({"dpi.status": PLUGIN, "dpi.lan": PLUGIN, "other": PLUGIN})


def test_list(gateway: Gateway) -> None:
    assert gateway.ubus("list").stdout == "dpi.lan\ndpi.status\nother\nsession\n"
    assert gateway.ubus("list", "dpi*").stdout == "dpi.lan\ndpi.status\n"
    assert gateway.ubus("list", "other").stdout == "other\n"
    assert gateway.ubus("-S", "-v", "list", "other").stdout == "other\n"
    nothing = gateway.ubus("list", "zz*")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (4, "", "Command failed: Not found\n")


def test_verbose_list_shows_the_signature(gateway: Gateway) -> None:
    lines = gateway.ubus("-v", "list", "dpi.status").stdout.splitlines()
    assert re.fullmatch(r"'dpi\.status' @[0-9a-f]{8}", lines[0])
    assert lines[1:] == [
        '\t"flows":{"limit":"Integer","before":"String","live":"Boolean","a":"Array","t":"Table"}',
        '\t"status":{}',
        '\t"nothing":{}',
        '\t"wrong":{}',
        '\t"wait":{}',
    ]


def test_call_prints_json_with_tabs_or_on_one_line(gateway: Gateway) -> None:
    shown = gateway.ubus("call", "dpi.status", "status")
    assert shown.returncode == 0
    assert shown.stdout == (
        '{\n\t"enabled": true,\n\t"score": 0.500000,\n\t"list": [\n\t\t1,\n\t\t{\n\t\t\t"n": null\n\t\t}\n\t],\n'
        '\t"empty": {\n\t\t\n\t},\n\t"text": "é\\n"\n}\n'
    )
    simple = gateway.ubus("-S", "call", "dpi.status", "status")
    assert simple.stdout == '{"enabled":true,"score":0.500000,"list":[1,{"n":null}],"empty":{},"text":"é\\n"}\n'


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("call", "nobody", "x"), 4, "Command failed: Not found\n"),
        (("call", "dpi.status", "x"), -3, "Command failed: ubus call dpi.status x (Method not found)\n"),
        (("call", "dpi.status", "nothing"), -5, "Command failed: ubus call dpi.status nothing (No response)\n"),
        (
            ("call", "dpi.status", "status", "{bad"),
            -12,
            "Command failed: ubus call dpi.status status {bad (Parsing message data failed)\n",
        ),
        (("send", "x", "[1]"), 12, "Command failed: Parsing message data failed\n"),
        (
            ("-t", "1", "call", "dpi.status", "wait"),
            -7,
            "Command failed: ubus call dpi.status wait (Request timed out)\n",
        ),
        (("-t", "1", "wait_for", "other", "nobody"), 7, "Command failed: Request timed out\n"),
        (("-t", "1", "subscribe", "nobody"), -1, "Error while registering for event 'nobody': Not found\n"),
        (("subscribe",), -1, "You need to specify an object to subscribe to\n"),
        (("-S", "call", "dpi.status", "x"), 3, ""),
        (("-S", "call", "nobody", "x"), 4, ""),
    ],
)
def test_failures(gateway: Gateway, arguments: tuple[str, ...], status: int, complaint: str) -> None:
    failed = gateway.ubus(*arguments)
    assert (failed.returncode, failed.stdout, failed.stderr) == (status & 0xFF, "", complaint)


def test_status_two_away_from_a_terminal_also_shows_the_usage(gateway: Gateway) -> None:
    # -2 is the original's own code for wrong usage
    failed = gateway.ubus("call", "dpi.status", "wrong")
    assert failed.returncode == 254
    assert failed.stderr.startswith("Command failed: ubus call dpi.status wrong (Invalid argument)\nUsage: ubus ")


def test_at_a_terminal_the_exit_code_is_the_status(gateway: Gateway) -> None:
    master, slave = pty.openpty()
    with subprocess.Popen([UBUS, "-s", gateway.socket, "call", "dpi.status", "x"], stderr=slave) as process:
        os.close(slave)
        assert process.wait(timeout=30) == 3
        assert os.read(master, 4096).replace(b"\r\n", b"\n") == b"Command failed: Method not found\n"
    os.close(master)


@pytest.mark.parametrize(
    ("arguments", "status"), [((), 1), (("-z",), 1), (("frob",), 254), (("call", "x"), 254), (("send",), 254)]
)
def test_wrong_usage(gateway: Gateway, arguments: tuple[str, ...], status: int) -> None:
    failed = gateway.ubus(*arguments)
    assert failed.returncode == status
    assert "Usage: ubus [<options>] <command> [arguments...]" in failed.stderr


def test_events_reach_those_who_listen(gateway: Gateway) -> None:
    command = [UBUS, "-s", gateway.socket, "-t", "20", "listen", "dpi.*", "exact"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        # until it is registered nothing arrives: send again and again, then look at the order
        first = b""
        while not first:
            assert gateway.ubus("send", "dpi.ready").returncode == 0
            os.set_blocking(listener.stdout.fileno(), False)
            try:
                first = os.read(listener.stdout.fileno(), 4096)
            except BlockingIOError:
                continue
        os.set_blocking(listener.stdout.fileno(), True)
        assert first.startswith(b'{ "dpi.ready": {} }\n')
        gateway.ubus("send", "exactly", '{"n":1}')
        gateway.ubus("send", "exact", '{"n":2, "y":[1.5]}')
        gateway.ubus("send", "other", '{"n":3}')
        gateway.ubus("send", "dpi.threat", '{"ip":"203.0.113.9"}')
        lines = []
        for line in listener.stdout:
            if '"dpi.ready"' not in line:
                lines.append(line)
            if len(lines) == 2:
                break
        assert lines == ['{ "exact": {"n":2,"y":[1.500000]} }\n', '{ "dpi.threat": {"ip":"203.0.113.9"} }\n']
        listener.terminate()


def test_listening_ends_after_its_timeout(gateway: Gateway) -> None:
    assert gateway.ubus("-t", "1", "listen").returncode == 0
    assert gateway.ubus("-t", "1", "subscribe", "other").returncode == 0
    assert gateway.ubus("wait_for", "other", "session").returncode == 0


def test_session_list_prints_one_object_a_session(gateway: Gateway) -> None:
    gateway.login()
    lines = gateway.ubus("-S", "call", "session", "list").stdout.splitlines()
    assert [json.loads(line)["data"] for line in lines] == [{}, {"username": "root"}]


def test_without_a_lab_it_says_what_to_do(tmp_path: object) -> None:
    failed = subprocess.run(
        [sys.executable, UBUS, "-s", f"{tmp_path}/none", "list"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert failed.returncode == 255
    assert failed.stderr.startswith("Failed to connect to ubus\n")
    assert "make run" in failed.stderr


def test_a_closed_pipe_is_no_error_message(gateway: Gateway) -> None:
    command = f"'{UBUS}' -s '{gateway.socket}' -v list | true"
    piped = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert piped.stderr == ""
