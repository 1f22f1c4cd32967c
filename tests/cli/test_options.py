"""Options follow the schema."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pytest

import dpi_dual
from dpi_dual.cli import correlator, dualctl
from dpi_dual.cli.command import Command
from dpi_dual.cli.options import nearest, parameters, parser_of, schema

COMMANDS = {" ".join(command.words): command for command in dualctl.PROGRAM.commands()}


def given(command: str, *argv: str) -> dict[str, object]:
    parser = parser_of("dpi-dualctl", COMMANDS[command])
    return parameters(COMMANDS[command], parser.parse_args(argv))


def test_the_schema_is_the_shipped_one() -> None:
    shipped = Path(dpi_dual.__file__).parent / "schema" / "ubus.json"
    assert schema() == json.loads(shipped.read_bytes())["objects"]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_every_parameter_is_an_option_with_its_description(command: Command) -> None:
    text = parser_of("dpi-dualctl", command).format_help()
    for name, rules in schema()[command.object][command.method]["params"]["properties"].items():
        option = name.upper() if name in command.positional.split() else "--" + name.replace("_", "-")
        assert option in text
        assert " ".join(rules["description"].split()[:2]) in " ".join(text.split())
    assert "examples:" in text
    assert "exit codes:" in text


def test_only_what_was_given_is_sent() -> None:
    assert given("clients") == {}
    assert given("clients", "--limit", "5", "--sort", "rate") == {"limit": 5, "sort": "rate"}
    assert given("client", "nas") == {"client": "nas"}


@pytest.mark.parametrize(
    ("command", "argv", "complaint"),
    [
        ("clients", ["--limit", "0"], "0 is not between 1 and 500"),
        ("clients", ["--limit", "many"], "'many' is not a whole number"),
        ("clients", ["--limit", "9" * 5000], "is not between 1 and 500"),
        ("clients", ["--sort", "size"], "invalid choice: 'size'"),
        ("clients", ["--search", "x" * 65], "at most 64 are taken"),
        ("clients", ["--serach", "x"], "did you mean --search?"),
        ("clients", ["\x1b[2J"], "\\x1b[2J is not known here"),
        ("clients", ["--watch", "0"], "is not a number of seconds"),
        ("client", [], "client"),
        ("stop", ["--watch"], "--watch is not known here"),
    ],
)
def test_a_wrong_command_line_is_refused_by_name(
    command: str, argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        given(command, *argv)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert f"See 'dpi-dualctl {command} --help'" in said
    assert "\x1b" not in said


def test_nearest() -> None:
    assert nearest("flwos", ["flows", "lan"]) == "flows"
    assert nearest("zzz", ["flows", "lan"]) == ""
    assert nearest("stat", ["start", "status", "stop"]) == "status"


PROGRAMS = {"dpi-dualctl": dualctl.PROGRAM, "dpi-correlator": correlator.PROGRAM}
EXAMPLES = sorted(
    {
        (program, example)
        for program, known in PROGRAMS.items()
        for command in known.commands()
        for example, _ in command.examples
    }
)


@pytest.mark.parametrize(("program", "example"), EXAMPLES)
def test_every_example_of_the_help_is_a_right_command_line(program: str, example: str) -> None:
    words = shlex.split(example)
    words = words[: next((at for at, word in enumerate(words) if word[0] in "|&>"), None)]
    meant = [command for command in PROGRAMS[program].commands() if [*command.words] == words[: len(command.words)]]
    command = max(meant, key=lambda command: len(command.words))
    parameters(command, parser_of(program, command).parse_args(words[len(command.words) :]))


def test_what_may_be_left_out_may_also_be_named() -> None:
    wanted = {"ip": "198.51.100.7", "duration": "1d"}
    assert given("ban", "198.51.100.7", "1d") == given("ban", "198.51.100.7", "--duration", "1d") == wanted


def test_moments_as_people_write_them() -> None:
    now = time.time()
    assert given("timeline", "--since", "1795345272.5") == {"since": 1795345272.5}
    ago = given("timeline", "--since", "2h")["since"]
    assert isinstance(ago, float) and 7100 < now - ago < 7300
    assert given("timeline", "--until", "2026-03-15T14:30:00+01:00") == {"until": 1773581400.0}


@pytest.mark.parametrize("text", ["yesterday", "nan", "-5", "1e400", "h", ""])
def test_what_is_no_moment_is_told(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        given("timeline", f"--since={text}")
    assert "is not a time such as 30m, 4h, 7d" in capsys.readouterr().err


def test_a_word_too_many_is_told_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        given("ban", "203.0.113.9", "1h", "port", "scan")
    assert "scan is one word too many; what has blanks in it wants quotes" in capsys.readouterr().err
