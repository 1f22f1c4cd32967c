"""A live flow as the accounting keeps it."""

from collections.abc import Callable

from dpi_dual.lan.clients import Client
from dpi_dual.lan.protocols import ProtocolRow
from dpi_dual.lan.tracked import End, Tracked
from dpi_dual.model import Flow


def test_growth_is_told_once(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(local_bytes=5, local_packets=1)
    tracked = Tracked(flow, ProtocolRow("TLS", "Unknown", 0.0), 1)
    assert tracked.grow() == (5, 0, 0, 1)
    flow.other_bytes, flow.undirected_bytes, flow.other_packets, flow.undirected_packets = 7, 2, 2, 1
    assert tracked.grow() == (0, 7, 2, 3)
    assert tracked.grow() == (0, 0, 0, 0)


def test_it_is_its_first_clients_end(make_flow: Callable[..., Flow]) -> None:
    tracked = Tracked(make_flow(), ProtocolRow("TLS", "Unknown", 0.0), 1)
    assert tracked.ends() == ()
    tracked.client = Client("02:00:00:00:00:0a", "br-lan", 0.0)
    assert tracked.ends() == (tracked,)
    tracked.second = End()
    assert tracked.ends() == (tracked, tracked.second)
