"""InfluxDB's lines keep their shape, whatever is in them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.export import influx
from dpi_dual.export.figures import Family

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)

NUMBERS = st.one_of(st.integers(0, 1 << 60), st.floats(0, 1e15))


def family(name: str, value: float) -> Family:
    return Family("dpi_dual_protocol_flows", "gauge", "Flows.", [({"stream": "tap", "protocol": name}, value)])


@given(NAMES, NUMBERS, st.floats(0, 4e9))
def test_influx_lines_keep_their_shape(name: str, value: float, at: float) -> None:
    text = influx.lines([family(name, value)], "router", at)
    assert text.endswith("\n")
    assert text.count("\n") == 1
    line = text[:-1]
    measurement, *tags = re.split(r"(?<!\\),", re.split(r"(?<!\\) ", line)[0])
    assert measurement == "dpi_dual_protocol_flows"
    assert [tag.partition("=")[0] for tag in tags] == (["protocol"] if name else []) + ["sensor", "stream"]
    assert re.search(r" value=[0-9.e+-]+ [0-9]+$", line)
