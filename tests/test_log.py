"""A line of the log is one line, whatever was in it."""

from __future__ import annotations

import logging

from dpi_dual.log import OneLine


def test_wire_text_begins_no_line_of_its_own() -> None:
    forged = "x\nERROR dpi_dual: all is lost\r\x1b[2J\u202e\u2028"
    record = logging.LogRecord("dpi_dual.x", logging.WARNING, "", 1, "said %s", (forged,), None)
    line = OneLine("%(levelname)s %(name)s: %(message)s").format(record)
    assert line == r"WARNING dpi_dual.x: said x\nERROR dpi_dual: all is lost\r\x1b[2J\u202e\u2028"


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("why")
    except ValueError as error:
        found = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "", 1, "failed", (), found)
    assert OneLine("%(message)s").format(record).startswith("failed\nTraceback")
