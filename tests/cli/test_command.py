"""Every command: its answer whole, within the room, harmless; its exit code what it says."""

from __future__ import annotations

from typing import Any

import pytest

from dpi_dual.cli import collectors, correlator, dualctl
from dpi_dual.cli.command import DOWN, OK, PROBLEM, REFUSED, Command, judge
from dpi_dual.cli.health import judge_health
from dpi_dual.cli.mirror import judge_complete
from dpi_dual.cli.terminal import columns
from dpi_dual.rpc import legacy
from tests.cli import answers
from tests.cli.answers import view

COMMANDS = [*dualctl.PROGRAM.commands()]
COMMANDS += [
    command
    for command in correlator.PROGRAM.commands()
    if command.json_only is None and command.words not in [known.words for known in COMMANDS]
]


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
