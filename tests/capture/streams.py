"""Agent streams for tests: recorded ones, and small ones of hand-made messages; and what to do with them."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dpi_dual.capture.agent import AgentClient
from dpi_dual.capture.flows import FlowTable
from dpi_dual.model import Flow

FIXTURES = Path(__file__).with_name("fixtures")


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Ledger:
    """A flow sink that writes down what it is told, and whether the order makes sense."""

    def __init__(self) -> None:
        self.started: list[Flow] = []
        self.ended: list[Flow] = []
        self.sums: dict[Flow, list[int]] = {}

    def flow_started(self, flow: Flow) -> None:
        assert flow not in self.sums, "started twice"
        assert not any(sums_of(flow))
        self.started.append(flow)
        self.sums[flow] = [0] * 6

    def flow_counted(self, flow: Flow, *differences: int) -> None:
        assert not flow.end_reason
        assert all(type(difference) is int and difference >= 0 for difference in differences), differences
        self.sums[flow] = [own + more for own, more in zip(self.sums[flow], differences, strict=True)]
        assert self.sums[flow] == sums_of(flow)

    def flow_ended(self, flow: Flow) -> None:
        assert flow in self.sums
        assert flow.ended_at
        assert flow.end_reason
        assert flow not in self.ended
        self.ended.append(flow)


def sums_of(flow: Flow) -> list[int]:
    """A flow's own sums, in the order in which sinks are told of differences."""
    return [
        flow.local_bytes,
        flow.other_bytes,
        flow.undirected_bytes,
        flow.local_packets,
        flow.other_packets,
        flow.undirected_packets,
    ]


class Desk:
    """An agent client whose every interface has a flow table, fed by hand."""

    def __init__(self, max_flows: int = 20_000, watched: Iterable[str] | None = None) -> None:
        self.clock = Clock()
        self.ledger = Ledger()
        self.tables: dict[str, FlowTable] = {}
        self.max_flows = max_flows
        self.watched = None if watched is None else set(watched)
        self.client = AgentClient("lan", "/nowhere", self.route, monotonic=self.clock)
        self.client.meet()

    def route(self, interface: str) -> FlowTable | None:
        if self.watched is not None and interface not in self.watched:
            return None
        if interface not in self.tables:
            self.tables[interface] = FlowTable(
                interface, [self.ledger], max_flows=self.max_flows, monotonic=self.clock, clock=self.clock
            )
        return self.tables[interface]

    def feed(self, pieces: Iterable[bytes]) -> Desk:
        for piece in pieces:
            self.client.ingest(piece)
        return self

    def tell(self, *messages: dict[str, Any]) -> Desk:
        """Messages of a netifyd 4."""
        return self.feed([framed(message) for message in messages])

    def flows(self, interface: str = "br-lan") -> list[Flow]:
        """Live and finished, in the order in which they began."""
        return sorted(self.tables[interface].all(), key=lambda flow: flow.serial) if interface in self.tables else []

    def facts(self) -> dict[str, Any]:
        """All that must not depend on how the stream was cut."""
        skipped = {"heard_at", "kind", "local_peer", "other_peer", "carry"}
        return {
            "flows": {
                name: [
                    {field: getattr(flow, field) for field in flow.__dataclass_fields__ if field not in skipped}
                    for flow in self.flows(name)
                ]
                for name in self.tables
            },
            "unattributed": {name: dict(table.unattributed) for name, table in self.tables.items()},
            "counters": self.client.counters(),
        }


def framed(message: dict[str, Any]) -> bytes:
    """As netifyd 4 frames it."""
    body = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    return b'{"length": %d}\n%s' % (len(body), body)


def framed_5(message: dict[str, Any]) -> bytes:
    """As the legacy socket of netifyd 5 does."""
    return framed(message).replace(b'"length": ', b'"length":', 1)


def bare(message: dict[str, Any]) -> bytes:
    """As netifyd 5 streams it: nothing before, after or between."""
    return json.dumps(message, separators=(",", ":")).encode()


def digits(message: dict[str, Any]) -> bytes:
    """As nDPId does."""
    body = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    return b"%05d%s" % (len(body), body)


def messages(name: str) -> list[dict[str, Any]]:
    """The hand-made messages of a fixture."""
    return [json.loads(line) for line in (FIXTURES / f"{name}.jsonl").read_text().splitlines()]


STREAMS = {
    "netifyd-3": framed,
    "netifyd-4.4.0": framed,
    "netifyd-4.4.7": framed,
    "netifyd-5": framed_5,
    "netifyd-5 bare": bare,
    "ndpid-1.7": digits,
}


def stream(name: str) -> bytes:
    """A hand-made stream in its generation's framing."""
    return b"".join(map(STREAMS[name], messages(name.removesuffix(" bare"))))


def recorded(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def recorded_pieces(path: Path) -> Iterator[bytes]:
    """A recording in the pieces in which its client received it."""
    data = recorded(path)
    name = path.name.removesuffix(".gz").removesuffix(".bin")
    end = 0
    for line in path.with_name(f"{name}.chunks").read_text().splitlines():
        if line.startswith("#"):
            continue
        _, offset, length = line.split()
        assert int(offset) == end
        end += int(length)
        yield data[int(offset) : end]
    assert end == len(data)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def cut_anyhow(data: bytes, seed: int) -> list[bytes]:
    """Pieces of random sizes, most of them small."""
    chance = random.Random(seed)
    pieces, start = [], 0
    while start < len(data):
        size = chance.choice((1, 2, 5, 17, 60, 300, 1500, 9000))
        pieces.append(data[start : start + size])
        start += size
    return pieces
