"""ubus events: through python3-ubus where it is, through the command where not, and never a word twice."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpi_dual.correlation import bus as module
from dpi_dual.correlation.bus import Bus, find_ubus

BUS = Path("/var/run/ubus/ubus.sock")
real = pytest.mark.skipif(
    shutil.which("ubus") is None or not BUS.exists(), reason=f"no ubus command, or no ubusd at {BUS}"
)
bound = pytest.mark.skipif(importlib.util.find_spec("ubus") is None, reason="python3-ubus is not installed")


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """A command that notes what it was told to send."""
    path = tmp_path / "ubus"
    path.write_text(f'#!/bin/sh\nprintf \'%s|%s|%s\\n\' "$1" "$2" "$3" >>{tmp_path}/sent\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def listener() -> Iterator[subprocess.Popen[str]]:
    """`ubus listen`, which has begun to."""
    with subprocess.Popen(["ubus", "listen", "dpi.*"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            while True:  # an event that is sent before it listens is not seen
                subprocess.run(["ubus", "send", "dpi.ready"], check=True, timeout=30)
                if _line(process, 0.2):
                    break
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str], patience_s: float) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], patience_s)
    return process.stdout.readline() if ready else ""


def _python(text: str) -> list[str]:
    return [sys.executable, "-I", "-c", text]


def test_without_the_binding_the_command_sends(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMMAND", _python("import sys; sys.exit(3)"))

    async def work() -> None:
        bus = Bus(str(command))
        assert await bus.send("dpi.threat", '{"n":1}') and await bus.send("dpi.threat", '{"n":2}')
        assert bus.bound == 0 and await bus.rest() == 0

    asyncio.run(work())
    sent = command.with_name("sent").read_text().splitlines()
    assert sent == ['send|dpi.threat|{"n":1}', 'send|dpi.threat|{"n":2}']


@pytest.mark.parametrize("boot", ["import sys; sys.exit(4)", "raise SystemExit", "import time; time.sleep(60)"])
def test_a_process_that_fails_is_no_loss(command: Path, monkeypatch: pytest.MonkeyPatch, boot: str) -> None:
    monkeypatch.setattr(module, "_COMMAND", _python(boot))
    monkeypatch.setattr(module, "TIMEOUT_S", 3.0)

    async def work() -> None:
        assert await Bus(str(command)).send("dpi.threat", '{"n":1}')

    asyncio.run(work())
    assert command.with_name("sent").read_text().count("\n") == 1


def test_one_process_serves_many_events_and_ends_on_request(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = command.with_name("lines")
    boot = f"import sys\nfor line in sys.stdin:\n open({str(note)!r}, 'a').write(line); print(1, flush=True)"
    monkeypatch.setattr(module, "_COMMAND", _python(boot))

    async def work() -> None:
        bus = Bus(str(command))
        for number in range(20):
            assert await bus.send("dpi.threat", json.dumps({"n": number, "text": "ü\n"}))
        assert bus.bound == 20 and await bus.rest() == 0

    asyncio.run(work())
    given = [json.loads(line) for line in note.read_text().splitlines()]
    assert given == [["dpi.threat", {"n": number, "text": "ü\n"}] for number in range(20)]
    assert not command.with_name("sent").exists()


@real
@bound
def test_the_binding_sends_to_a_real_bus(listener: subprocess.Popen[str]) -> None:
    async def work() -> None:
        bus = Bus(find_ubus())
        assert await bus.send("dpi.threat", '{"ip":"203.0.113.7","threat_score":80,"reason":"\\u202e\'; $(x)"}')
        assert bus.bound == 1
        await bus.rest()

    asyncio.run(work())
    event = {}
    while "dpi.threat" not in event:
        event = json.loads(_line(listener, 60))
    assert event["dpi.threat"] == {"ip": "203.0.113.7", "threat_score": 80, "reason": "\u202e'; $(x)"}


@real
def test_the_command_sends_to_a_real_bus(listener: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMMAND", _python("import sys; sys.exit(3)"))
    assert asyncio.run(Bus(find_ubus()).send("dpi.ban", '{"target":"203.0.113.7"}'))
    event = {}
    while "dpi.ban" not in event:
        event = json.loads(_line(listener, 60))


def test_the_process_says_when_there_is_no_binding() -> None:
    command = [module._COMMAND[0], "-S", *module._COMMAND[1:]]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60, check=False).returncode == module._NOT_HERE
