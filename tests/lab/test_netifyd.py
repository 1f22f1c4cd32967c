"""The stand-in for netifyd: its messages against recorded ones, its flow table against any packet, its socket."""

from __future__ import annotations

import json
import random
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.netifyd import server, wire
from lab.netifyd.addresses import Inside, Interface
from lab.netifyd.capture import Capture
from lab.netifyd.flows import MAX_FLOWS, Flow, FlowTable
from lab.netifyd.hints import DnsHints
from lab.netifyd.ndpi import Engine
from lab.netns import Namespace, veth

CLIENT, SERVER, ROUTER = "192.168.1.100", "198.51.100.20", "192.168.1.1"
CLIENT6, SERVER6 = "2001:db8:1::64", "2001:db8:5100::20"
MACS = bytes.fromhex("02005e000101 02005e000164")
LAN = Interface("02:00:5e:00:01:01", (ROUTER,), (ip_network("192.168.1.0/24"), ip_network("2001:db8:1::/64")), up=True)

#: Every key of the real agent's messages that a collector may rely on (netifyd 4.4.7).
FLOW_KEYS = {
    *("category", "detected_application", "detected_application_name", "detected_protocol", "detected_protocol_name"),
    *("detection_guessed", "detection_updated", "dhc_hit", "digest", "first_seen_at", "first_update_at", "ip_nat"),
    *("ip_protocol", "ip_version", "last_seen_at", "local_ip", "local_mac", "local_origin", "local_port"),
    *("other_ip", "other_mac", "other_port", "other_type", "risks", "soft_dissector", "vlan_id"),
}
COUNTER_KEYS = {
    *("detection_packets", "digest", "last_seen_at", "local_bytes", "local_packets"),
    *("other_bytes", "other_packets", "total_bytes", "total_packets"),
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def found() -> list[Flow]:
    return []


@pytest.fixture
def table(engine: Engine, found: list[Flow]) -> Iterator[FlowTable]:
    made = FlowTable("br-lan", True, engine, Inside({"br-lan": LAN}), DnsHints(), found.append)
    yield made
    for flow in list(made):
        flow.end_detection()


def frame(source: str, destination: str, protocol: int, transport: bytes) -> bytes:
    """An Ethernet frame."""
    a, b = ip_address(source), ip_address(destination)
    if a.version == 4:
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(transport), 1, 0x4000, 64, protocol, 0)
        return MACS + b"\x08\x00" + header + a.packed + b.packed + transport
    header = struct.pack(">IHBB", 0x60000000, len(transport), protocol, 64)
    return MACS + b"\x86\xdd" + header + a.packed + b.packed + transport


def tcp(ports: tuple[int, int], flags: int, payload: bytes = b"", sequence: int = 1) -> bytes:
    return struct.pack(">HHIIBBHHH", *ports, sequence, 1, 0x50, flags, 65535, 0, 0) + payload


def udp(ports: tuple[int, int], payload: bytes) -> bytes:
    return struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload


def dns_question(name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">xHH", 1, 1)


def dns_answer(name: str, address: str) -> bytes:
    record = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + ip_address(address).packed
    return struct.pack(">HHHHHH", 7, 0x8180, 1, 1, 0, 0) + dns_question(name)[12:] + record


def client_hello(name: str) -> bytes:
    """The least TLS client hello with a server name (RFC 8446, RFC 6066)."""
    host = name.encode()
    extension = struct.pack(">HHHBH", 0, len(host) + 5, len(host) + 3, 0, len(host)) + host
    body = b"\x03\x03" + bytes(32) + b"\0" + struct.pack(">HHH", 4, 0x1301, 0xC02F) + b"\x01\0"
    body += struct.pack(">H", len(extension)) + extension
    handshake = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + struct.pack(">H", len(handshake)) + handshake


def feed(table: FlowTable, *frames: bytes, now_ms: int = 1_000) -> None:
    for number, one in enumerate(frames):
        table.packet(one, 0, len(one), len(one), now_ms + number)


def https(client: str, host: str, name: str, port: int = 40_000) -> list[bytes]:
    there, back = (port, 443), (443, port)
    return [
        frame(client, host, 6, tcp(there, 0x02)),
        frame(host, client, 6, tcp(back, 0x12)),
        frame(client, host, 6, tcp(there, 0x18, client_hello(name), sequence=2)),
    ]


@pytest.mark.parametrize(("client", "host"), [(CLIENT, SERVER), (CLIENT6, SERVER6)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("name", "application"), [("www.youtube.com", "netify.youtube"), ("web.whatsapp.com", "netify.whatsapp")]
)
def test_tls_is_known_by_its_server_name(
    table: FlowTable, found: list[Flow], client: str, host: str, name: str, application: str
) -> None:
    feed(table, *https(client, host, name))
    (flow,) = found
    body = wire.flow_message(flow)["flow"]
    assert (body["detected_protocol_name"], body["detected_application_name"]) == ("HTTP/S", application)
    assert (body["local_ip"], body["other_ip"], body["other_type"]) == (client, host, "remote")
    assert (body["local_origin"], body["local_port"], body["other_port"]) == (True, 40_000, 443)
    assert body["ssl"]["client_sni"] == body["host_server_name"] == name
    assert not body["detection_guessed"] and not body["detection_updated"]


def test_bytes_are_frames_each_way_and_told_as_differences(table: FlowTable) -> None:
    frames = https(CLIENT, SERVER, "www.example.com")
    feed(table, *frames)
    (flow,) = table
    first = wire.stats_message(flow)["flow"]
    assert first["local_bytes"] == len(frames[0]) + len(frames[2]) and first["other_bytes"] == len(frames[1])
    assert (first["local_packets"], first["other_packets"]) == (2, 1)
    flow.tell()
    feed(table, frames[1])
    second = wire.stats_message(flow)["flow"]
    assert (second["local_bytes"], second["other_bytes"]) == (0, len(frames[1]))
    assert second["total_bytes"] == sum(map(len, frames)) + len(frames[1])


def test_a_dns_flow_between_local_hosts_is_told_from_the_lower_address(table: FlowTable, found: list[Flow]) -> None:
    feed(table, frame(CLIENT, ROUTER, 17, udp((50_000, 53), dns_question("www.youtube.com"))))
    body = wire.flow_message(found[0])["flow"]
    assert (body["local_ip"], body["other_ip"], body["other_type"]) == (ROUTER, CLIENT, "local")
    assert body["local_origin"] is False
    assert (body["detected_protocol_name"], body["detected_application_name"]) == ("DNS", "netify.youtube")


def test_names_learnt_from_dns_are_hints(table: FlowTable, found: list[Flow]) -> None:
    feed(table, frame(ROUTER, CLIENT, 17, udp((53, 50_000), dns_answer("shell.example.net", SERVER))))
    there, back = (41_000, 22), (22, 41_000)
    feed(
        table,
        frame(CLIENT, SERVER, 6, tcp(there, 0x02)),
        frame(SERVER, CLIENT, 6, tcp(back, 0x12)),
        frame(CLIENT, SERVER, 6, tcp(there, 0x18, b"SSH-2.0-dropbear\r\n")),
        frame(SERVER, CLIENT, 6, tcp(back, 0x18, b"SSH-2.0-OpenSSH_9.2\r\n")),
    )
    body = wire.flow_message(found[-1])["flow"]
    assert body["detected_protocol_name"] == "SSH" and body["ssh"]["client"] == "SSH-2.0-dropbear"
    assert body["dhc_hit"] and body["dns_host_name"] == body["host_server_name"] == "shell.example.net"


@pytest.mark.parametrize(
    ("destination", "protocol", "payload", "name", "other_type"),
    [
        (SERVER, 1, b"\x08\0\0\0" + bytes(60), "ICMP", "remote"),
        (SERVER6, 58, b"\x80\0\0\0" + bytes(60), "ICMPv6", "remote"),
        ("ff02::16", 0, b"\x3a\0\x05\x02\0\0\x01\0" + b"\x8f\0" + bytes(22), "ICMPv6", "multicast"),
        ("192.168.1.255", 17, udp((137, 137), bytes(50)), "", "broadcast"),
    ],
    ids=["ICMP", "ICMPv6", "behind an IPv6 extension header", "broadcast"],
)
def test_without_ports(
    table: FlowTable, destination: str, protocol: int, payload: bytes, name: str, other_type: str
) -> None:
    feed(table, frame(CLIENT if "." in destination else CLIENT6, destination, protocol, payload))
    (flow,) = table
    body = wire.flow_message(flow)["flow"]
    assert body["other_type"] == other_type
    if name:
        assert body["detected_protocol_name"] == name and body["other_port"] == 0


def test_the_same_five_tuple_again_is_another_flow_with_the_same_digest(table: FlowTable) -> None:
    feed(table, *https(CLIENT, SERVER, "www.example.com"), frame(CLIENT, SERVER, 6, tcp((40_000, 443), 0x11)))
    (first,) = table
    assert first.closed
    feed(table, *https(CLIENT, SERVER, "www.wikipedia.org"), now_ms=9_000)
    (second,) = table
    assert table.evicted == [first] and second is not first
    assert second.digest == first.digest and second.first_seen_ms == 9_000
    first.end_detection()


def test_both_directions_and_every_interface_give_one_digest(engine: Engine) -> None:
    digests = set()
    for name, order in (("br-lan", 1), ("tap0", -1)):
        made = FlowTable(name, True, engine, Inside({"br-lan": LAN}), DnsHints(), lambda _: None)
        feed(made, *https(CLIENT, SERVER, "www.example.com")[:2][::order])
        (flow,) = made
        digests.add(flow.digest)
        flow.end_detection()
    assert len(digests) == 1


def test_a_flow_that_nobody_recognises_is_guessed(table: FlowTable, found: list[Flow]) -> None:
    feed(table, frame(CLIENT, SERVER, 6, tcp((40_000, 81), 0x02)))
    (flow,) = table
    assert not found
    flow.give_up()
    body = wire.flow_message(flow)["flow"]
    assert body["detected_protocol_name"] == "Unknown" or body["detection_guessed"]
    assert flow.detection is None


def test_a_full_table_ends_what_is_idle_longest(table: FlowTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.netifyd.flows.MAX_FLOWS", 32)
    assert MAX_FLOWS > 32
    for port in range(40):
        feed(table, frame(CLIENT, SERVER, 6, tcp((1_000 + port, 80), 0x02)), now_ms=port)
    assert len(table) <= 32
    assert [flow.ports[0] for flow in table.evicted] == list(range(1_000, 1_000 + len(table.evicted)))
    for flow in table.evicted:
        flow.end_detection()


@given(st.binary(max_size=200), st.integers(0, 60))
@settings(max_examples=300, deadline=None)
def test_no_packet_is_too_broken(engine: Engine, noise: bytes, place: int) -> None:
    """Noise, and noise in the middle of good packets: counted, never raised."""
    made = FlowTable("br-lan", True, engine, Inside({}), DnsHints(), lambda flow: None)
    whole = [
        *https(CLIENT, SERVER, "www.example.com"),
        frame(ROUTER, CLIENT, 17, udp((53, 5_000), dns_answer("www.example.com", SERVER))),
        frame(CLIENT6, "ff02::16", 0, b"\x3a\0\x05\x02\0\0\x01\0" + b"\x8f\0" + bytes(22)),
    ]
    packets = [noise, *(one[:place] + noise + one[place + len(noise) :] for one in whole), *(f[:place] for f in whole)]
    for one in packets:
        padded = one + bytes(16)  # what lies behind the packet in the ring
        made.packet(padded, 0, len(one), max(len(one), 14), 1)
    assert made.counts["raw"] == len(packets)
    for flow in (*made, *made.evicted):
        json.loads(wire.frame(wire.flow_message(flow)).split(b"\n", 1)[1])
        flow.end_detection()


@given(st.binary(max_size=100))
def test_hints_survive_any_message(message: bytes) -> None:
    DnsHints().learn(message)
    DnsHints().learn(dns_answer("www.example.com", SERVER)[:12] + message)


def read_frames(stream: bytes) -> list[tuple[int, dict[str, Any]]]:
    frames, position = [], 0
    while position < len(stream):
        header, _, _ = stream[position:].partition(b"\n")
        length = json.loads(header)["length"]
        start = position + len(header) + 1
        frames.append((length, json.loads(stream[start : start + length])))
        position = start + length
    return frames


def sample_messages(table: FlowTable) -> list[dict[str, Any]]:
    feed(table, *https(CLIENT, SERVER, "www.youtube.com"))
    (flow,) = table
    flow_messages = [wire.flow_message(flow), wire.stats_message(flow), wire.purge_message(flow, "closed")]
    return [wire.hello(), wire.definitions(), *flow_messages]


def test_frames_have_the_agents_form(table: FlowTable) -> None:
    for message in sample_messages(table):
        framed = wire.frame(message)
        header, body = framed.split(b"\n", 1)
        assert header == b'{"length": %d}' % len(body)
        assert body.endswith(b"\n") and b"\n" not in body[:-1]
        assert body[:-1] == json.dumps(message, sort_keys=True, separators=(",", ":")).encode()


def test_messages_have_the_agents_keys(table: FlowTable) -> None:
    _, _, flow, stats, purge = sample_messages(table)
    assert set(flow["flow"]) >= FLOW_KEYS
    assert set(stats["flow"]) == set(purge["flow"]) == COUNTER_KEYS
    assert set(flow) == set(stats) == {"type", "established", "interface", "internal", "flow"}
    assert set(purge) == set(stats) | {"reason"}


def test_messages_have_the_shape_of_recorded_ones(table: FlowTable, recordings: Path) -> None:
    stream = (recordings / "netifyd-4.4.7" / "brlan-default.bin").read_bytes()
    recorded: dict[str, dict[str, Any]] = {}
    for _, message in read_frames(stream):
        if message["type"] != "flow" or "ssl" in message["flow"]:
            recorded.setdefault(message["type"], message)

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items()}
        return type(value)

    ours = {message["type"]: message for message in sample_messages(table)}
    for kind in ("agent_hello", "flow_stats", "flow_purge"):
        assert shape(ours[kind]) == shape(recorded[kind])
    optional = {"dns_host_name"}
    ours["flow"]["flow"]["risks"] = recorded["flow"]["flow"]["risks"]
    flow, theirs = shape(ours["flow"]), shape(recorded["flow"])
    for body in (flow["flow"], theirs["flow"]):
        body["ssl"] = {key: body["ssl"][key] for key in ("cipher_suite", "client_sni", "version")}
        for key in optional:
            body.pop(key, None)
    assert flow == theirs
    real = {entry["id"]: entry["tag"] for entry in recorded["definitions"]["protocols"]}
    assert all(real.get(entry["id"]) == entry["tag"] for entry in ours["definitions"]["protocols"])


class Room:
    """An agent socket and its event loop, turned by hand."""

    def __init__(self, path: Path) -> None:
        self.poll = select.epoll()
        self.socket = server.AgentSocket(path, self.poll)

    def turn(self) -> None:
        for descriptor, events in self.poll.poll(0.01):
            if not self.socket.handle(descriptor, events):
                self.socket.accept(descriptor)

    def join(self) -> socket.socket:
        reader = socket.socket(socket.AF_UNIX)
        reader.connect(str(self.socket.path))
        reader.settimeout(5)
        self.turn()
        return reader


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path / "netifyd.sock")
    yield made
    made.socket.close()
    made.poll.close()


def test_all_readers_are_told_the_same(room: Room) -> None:
    assert room.socket.path.stat().st_mode & 0o777 == 0o660
    with room.join() as one, room.join() as two:
        room.socket.send(b"news")
        assert one.recv(100) == two.recv(100) == b"news"
        with room.join() as late:
            room.socket.send(b"more")
            assert late.recv(100) == b"more"


@pytest.mark.parametrize("speaks", [True, False], ids=["speaking", "leaving"])
def test_a_reader_that_speaks_or_leaves_is_let_go(room: Room, speaks: bool) -> None:
    with room.join() as reader, room.join() as other:
        if speaks:
            reader.send(b"?")
        else:
            reader.shutdown(socket.SHUT_RDWR)
        room.turn()
        assert len(room.socket) == 1
        room.socket.send(b"news")
        assert other.recv(100) == b"news"
        if speaks:
            with pytest.raises(ConnectionResetError):
                reader.recv(100)


def test_a_stalled_reader_is_dropped_and_the_others_get_everything(room: Room) -> None:
    with room.join() as stalled, room.join() as good:
        sent = received = 0
        block = bytes(100_000)
        while room.socket.dropped_readers == 0:
            room.socket.send(block)
            sent += len(block)
            while received < sent:
                received += len(good.recv(1 << 20))
                room.turn()
        assert len(room.socket) == 1
        assert sent <= 2 * server.MAX_BACKLOG
        assert stalled.recv(100)


@pytest.mark.root
class TestCapture:
    """On a real interface, in the test's own namespaces."""

    @pytest.fixture
    def host(self, make_host: Callable[[str], Namespace]) -> Namespace:
        host, peer = make_host("watcher"), make_host("peer")
        veth(host, "tap0", peer, "eth0")
        return host

    def test_interfaces_that_come_late_vanish_and_return(self, host: Namespace, tmp_path: Path) -> None:
        path = tmp_path / "netifyd.sock"
        arguments = ["--socket", str(path), "--external", "tap0", "--internal", "lan0", "--tick", "0.4"]
        agent = host.popen(*_python("-m", "lab.netifyd", *arguments))
        with _connect(path) as stream:
            assert _interface_states(stream, {"tap0": 1, "lan0": 0})
            host.ip("link", "delete", "tap0")
            assert _interface_states(stream, {"tap0": 0, "lan0": 0})
            host.ip("link", "add", "tap0", "type", "veth", "peer", "name", "lan0")
            host.ip_batch("link set tap0 up", "link set lan0 up")
            assert _interface_states(stream, {"tap0": 1, "lan0": 1})
            agent.terminate()
            assert agent.wait(timeout=5) == 0
            assert not path.exists()

    def test_each_packet_is_seen_once_with_its_whole_length(self, host: Namespace) -> None:
        script = (
            "import random, socket, time\n"
            "from lab.netifyd.capture import Capture\n"
            "capture = Capture('tap0')\n"
            "out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); out.bind(('tap0', 0))\n"
            "sizes = [random.Random(1).randrange(60, 1514) for _ in range(3000)]\n"
            "seen = []\n"
            "for size in sizes:\n"
            "    out.send(bytes(12) + b'\\x88\\xb5' + bytes(size - 14))\n"  # a local experimental EtherType
            "    seen += [p[2] for p in capture.packets() if capture.ring[p[0] + 12 : p[0] + 14] == b'\\x88\\xb5']\n"
            "assert seen == sizes, (len(seen), len(sizes))\n"
            "assert capture.count_drops() == 0\n"
            "capture.check()\n"
            "capture.close()\n"
        )
        host.run(*_python("-c", script))

    def test_a_missing_interface_is_an_error(self) -> None:
        with pytest.raises(OSError, match="interface"):
            Capture(f"none{random.randrange(10**6)}")


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


class _Stream:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._connection.close()

    def message(self) -> dict[str, Any]:
        length = json.loads(self._file.readline())["length"]
        message: dict[str, Any] = json.loads(self._file.read(length))
        return message


def _connect(path: Path) -> _Stream:
    deadline = time.monotonic() + 10
    while True:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        try:
            connection.connect(str(path))
            return _Stream(connection)
        except OSError:
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _interface_states(stream: _Stream, wanted: dict[str, int]) -> bool:
    """Reads until the agent reports these interfaces so; a time-out of the socket ends a vain wait."""
    while True:
        message = stream.message()
        interfaces = message.get("interfaces") or {}
        if {name: interface["state"] for name, interface in interfaces.items()} == wanted:
            return True
