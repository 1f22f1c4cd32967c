"""The TAP stream: what it publishes, and that figures of an interface come from the kernel."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from dpi_dual import config
from dpi_dual.capture.flow_log import FlowLog
from dpi_dual.capture.flows import TrackedFlow
from dpi_dual.capture.tap import TapStream, interface_figures


def _stream(tmp_path: Path, published: list[tuple[str, dict[str, Any]]]) -> TapStream:
    settings = replace(config.defaults().tap, interface="lo")
    return TapStream(
        settings, lambda name, content: published.append((name, content)), FlowLog(str(tmp_path / "flows"), 300)
    )


def test_the_kernel_is_asked_about_the_interface() -> None:
    figures = interface_figures("lo")
    assert figures["interface_up"] in (True, False)
    assert interface_figures("no-such-interface") == {
        "interface_up": False,
        "rx_bytes": 0,
        "tx_bytes": 0,
        "rx_packets": 0,
        "tx_packets": 0,
    }


def test_an_interface_name_is_not_a_path() -> None:
    assert interface_figures("../../../etc")["interface_up"] is False


def test_flows_show_in_the_published_summary_and_in_the_counted_bytes(tmp_path: Path) -> None:
    published: list[tuple[str, dict[str, Any]]] = []
    stream = _stream(tmp_path, published)
    source = stream.table.source("tap", "lo")
    flow = TrackedFlow("tap", "lo", "d1", 1.0, 1.0, 4, 6, "10.0.0.2", 40000, other_ip="198.51.100.1", protocol="TLS")
    stream.table.start(source, flow, stream.table.monotonic())
    stream.table.advance(flow, 1500, 3, 500, 1000, 1, 2)

    async def once() -> None:
        task = asyncio.ensure_future(stream.run())
        while not published:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(once())
    name, content = published[0]
    assert name == "dpi-flows.json"
    assert content["protocols"] == {"TLS": 1}
    assert content["flows_1min"] == 1
    assert content["top_talkers"]
    assert (stream.table.counted_bytes, stream.table.started) == (1500, 1)
    assert stream.counters()["tap_flows_started"] == 1
    assert stream.status(running=True)["flows_live"] == 1


def test_a_reload_keeps_the_flows(tmp_path: Path) -> None:
    stream = _stream(tmp_path, [])
    source = stream.table.source("tap", "lo")
    stream.table.start(source, TrackedFlow("tap", "lo", "d1", 1.0, 1.0), stream.table.monotonic())
    stream.reconfigure(replace(config.defaults().tap, flow_retention=17))
    assert len(stream.table) == 1
    assert stream.table.retention_s == 17
