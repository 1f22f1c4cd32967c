"""Rows of flows as the ubus answers show them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

import dpi_dual
from dpi_dual.capture.flow_rows import row
from dpi_dual.model import Flow
from tests.capture.streams import STREAMS, Desk, stream

SCHEMA = json.loads(Path(dpi_dual.__file__).with_name("schema").joinpath("ubus.json").read_text())


def test_rows_are_what_the_schema_promises() -> None:
    for name in STREAMS:
        for flow in Desk().feed([stream(name)]).flows():
            jsonschema.validate(row(flow), {**SCHEMA["$defs"]["flow"], "$defs": SCHEMA["$defs"]})


def test_a_row() -> None:
    flow = Flow(
        "lan", "br-lan", "k", 1.5, 2.5, ip_version=6, ip_protocol=58, local_ip="2001:db8::1", other_ip="ff02::1"
    )
    flow.local_bytes, flow.other_bytes, flow.undirected_bytes = 1, 2, 4
    shown = row(flow)
    assert (shown["state"], shown["bytes"], shown["transport"]) == ("live", 7, "icmpv6")
    assert shown["community_id"].startswith("1:")
    flow.ended_at, flow.end_reason = 9.0, "closed"
    assert (row(flow)["state"], row(flow)["ended_at"]) == ("finished", 9.0)
