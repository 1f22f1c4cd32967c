"""Prometheus' text: labels can be read back, whatever is in them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.export import prometheus
from dpi_dual.export.figures import Family

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)

NUMBERS = st.one_of(st.integers(0, 1 << 60), st.floats(0, 1e15))


def family(name: str, value: float) -> Family:
    return Family("dpi_dual_protocol_flows", "gauge", "Flows.", [({"stream": "tap", "protocol": name}, value)])


@given(NAMES, NUMBERS)
def test_prometheus_labels_can_be_read_back(name: str, value: float) -> None:
    text = prometheus.text([family(name, value), Family("dpi_dual_none", "gauge", "Nothing.", [])])
    head, kind, line, rest = text.split("\n")
    assert (head, kind, rest) == (
        "# HELP dpi_dual_protocol_flows Flows.",
        "# TYPE dpi_dual_protocol_flows gauge",
        "",
    )
    found = re.fullmatch(
        r'dpi_dual_protocol_flows\{stream="tap",protocol="((?:[^"\\]|\\["\\n])*)"\} (\S+)', line, re.DOTALL
    )
    assert found
    escapes = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}
    assert re.sub(r"\\.", lambda hit: escapes[hit[0]], found[1]) == name
    assert abs(float(found[2]) - value) <= 1e-6 * max(1.0, value)
