"""Lists as CSV: complete, with a header, and harmless to the spreadsheet that opens them."""

from __future__ import annotations

import csv

import pytest

from dpi_dual.cli import correlator, dualctl
from dpi_dual.cli.command import Command
from dpi_dual.cli.csv_lines import csv_lines, key_of
from dpi_dual.cli.options import parser_of
from tests.cli import answers

LISTS = {
    f"{program.name} {' '.join(command.words)}": command
    for program in (dualctl.PROGRAM, correlator.PROGRAM)
    for command in program.commands()
    if key_of(command)
}


def test_the_lists_that_owners_take_away_are_among_them() -> None:
    wanted = {
        "clients",
        "destinations",
        "flows",
        "lan flows",
        "lan history",
        "alerts",
        "threats",
        "bans",
        "applications",
    }
    assert {f"dpi-dualctl {name}" for name in wanted} <= set(LISTS)
    assert "dpi-dualctl status" not in LISTS


@pytest.mark.parametrize("command", LISTS.values(), ids=list(LISTS))
def test_every_list_has_its_header_with_and_without_rows(command: Command) -> None:
    assert "--csv" in parser_of("dpi-dualctl", command).format_help()
    (header,) = csv.reader(csv_lines(command, {}))
    assert len(header) >= 3 and len(set(header)) == len(header)
    answer = answers.answer(command.object, command.method, '\x1b[2J=1,"\n')
    first, *rows = csv.reader(csv_lines(command, answer), strict=True)
    assert first[: len(header)] == header
    assert len(rows) == len(answer[key_of(command)])
    assert all(len(row) == len(first) and all(cell.isprintable() for cell in row) for row in rows)


@pytest.mark.parametrize("name", ["=1+1", "  =1", "+1", "-1", "@SUM(1)", "|calc", "\uff1d1"])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(name: str) -> None:
    command = LISTS["dpi-dualctl clients"]
    rows = list(csv.DictReader(csv_lines(command, {"clients": [{"hostname": name, "ips": [name], "bytes": -1}]})))
    assert rows[0]["hostname"] == rows[0]["ips"] == "'" + name
    assert rows[0]["bytes"] == "-1"
