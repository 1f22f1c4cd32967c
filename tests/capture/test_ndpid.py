"""nDPId's events become the same flows as netifyd's messages, with their own units and numbering."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpi_dual.capture.ndpid import NdpidSession, is_group, is_private
from dpi_dual.model import Flow
from tests.capture.streams import Desk, cut, cut_anyhow, digits, messages, recorded, recorded_pieces, stream, sums_of
from tests.capture.test_fields import ANYTHING

RECORDED = ["ndpid-1.7/brlan.bin.gz", "ndpid-1.7/pcap-apps.bin.gz"]
U = 1_700_000_000_000_000


def event(
    name: str,
    number: int = 1,
    counts: tuple[int, int, int, int] = (0, 0, 1, 0),
    first: int = U,
    src: str = "192.168.1.10",
    dst: str = "203.0.113.5",
    at: int = U,
    **more: Any,
) -> dict[str, Any]:
    return {
        "flow_event_name": name,
        "thread_id": 1,
        "source": "br-lan",
        "alias": "router",
        "flow_id": number,
        "flow_first_seen": first,
        "flow_src_last_pkt_time": at,
        "flow_dst_last_pkt_time": at,
        "flow_src_tot_l4_payload_len": counts[0],
        "flow_dst_tot_l4_payload_len": counts[1],
        "flow_src_packets_processed": counts[2],
        "flow_dst_packets_processed": counts[3],
        "thread_ts_usec": at,
        "l3_proto": "ip4",
        "src_ip": src,
        "dst_ip": dst,
        "src_port": 50000,
        "dst_port": 443,
        "l4_proto": "tcp",
        **more,
    }


def daemon(name: str, thread: int = 0) -> dict[str, Any]:
    return {"daemon_event_name": name, "thread_id": thread, "source": "br-lan", "alias": "router", "version": "1.7.0"}


def told(*events: dict[str, Any], desk: Desk | None = None) -> Desk:
    return (desk or Desk()).feed([digits(one) for one in events])


def directions(one: Flow) -> tuple[int, int, int]:
    return one.local_bytes, one.other_bytes, one.undirected_bytes


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_gives_the_same_flows_however_it_is_cut(recordings: Path, name: str) -> None:
    data = recorded(recordings / name)
    whole = Desk().feed(recorded_pieces(recordings / name)).facts()
    assert Desk().feed([data]).facts() == whole
    assert Desk().feed(cut(data, 1)).facts() == whole
    for seed in range(5):
        assert Desk().feed(cut_anyhow(data, seed)).facts() == whole


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_adds_up(recordings: Path, name: str) -> None:
    index = json.loads((recordings / "index.json").read_text())[name]
    last: dict[int, int] = {}
    data = recorded(recordings / name)
    start = 0
    while start < len(data):
        end = start + 5 + int(data[start : start + 5])
        message = json.loads(data[start + 5 : end])
        if message.get("flow_event_name") in ("end", "idle"):
            last[message["flow_id"]] = message["flow_src_tot_l4_payload_len"] + message["flow_dst_tot_l4_payload_len"]
        start = end
    desk = Desk().feed(recorded_pieces(recordings / name))
    (interface,) = desk.tables
    flows = desk.flows(interface)
    assert len(flows) == index["by_type"]["flow:new"] == len(last)
    assert desk.client.counters()["agent_lan_frames"] == index["frames"]
    assert all(one.end_reason in ("closed", "expired") for one in flows)
    assert sum(one.total_bytes for one in flows) == sum(last.values())
    assert all(one.undirected_bytes == 0 for one in flows)
    assert sum(one.local_bytes + one.other_bytes for one in flows) == sum(last.values())
    assert len(desk.ledger.started) == len(desk.ledger.ended) == len(flows)
    session = desk.client.session
    assert session.malformed == 0
    assert session.unknown_types == {}
    assert isinstance(session, NdpidSession)
    assert session.packet_events == sum(n for kind, n in index["by_type"].items() if kind.startswith("packet:"))
    assert session.error_events == sum(n for kind, n in index["by_type"].items() if kind.startswith("error:"))


def test_fixture() -> None:
    desk = Desk(watched=["br-lan"]).feed([stream("ndpid-1.7")])
    chat, shell, mdns, ping = desk.flows()
    assert (chat.protocol, chat.application, chat.category) == ("TLS", "whatsapp", "Chat")
    assert (chat.hostname, chat.hostname_source, chat.bytes_layer) == ("web.example.net", "sni", "l4")
    assert (chat.risks, chat.risk_namespace, chat.risk_score) == ((24, 46), "ndpi", 60)
    assert directions(chat) == (1000, 95000, 0)
    assert (chat.local_packets, chat.other_packets, chat.total_packets) == (35, 75, 110)
    assert (chat.first_seen_at, chat.last_seen_at, chat.end_reason) == (1_700_000_000.0, 1_700_000_010.0, "closed")
    # Opened from outside: the inner host is the local side.
    assert (shell.local_ip, shell.local_port, shell.other_ip, shell.other_port) == (
        "192.168.1.20",
        22,
        "198.51.100.9",
        6000,
    )
    assert (shell.local_origin, directions(shell)) == (False, (300, 400, 0))
    assert (mdns.other_type, mdns.protocol, mdns.guessed, mdns.ip_version, mdns.ip_protocol) == (
        "multicast",
        "MDNS",
        True,
        6,
        17,
    )
    assert mdns.end_reason == "expired"
    assert (ping.protocol, ping.ip_protocol, ping.local_port, directions(ping)) == ("Unknown", 1, 0, (56, 56, 0))
    session = desk.client.session
    assert (session.version, session.packet_events, session.error_events) == ("1.7.0", 1, 1)
    assert session.ignored == {"wan": 1}


def test_sinks_hear_of_a_flow_once_it_is_known_what_it_is() -> None:
    desk = told(event("new"))
    assert len(desk.tables["br-lan"]) == 1
    assert desk.ledger.started == []
    told(event("detected", counts=(10, 0, 1, 0), ndpi={"proto": "TLS"}), desk=desk)
    assert [one.protocol for one in desk.ledger.started] == ["TLS"]
    told(event("new", 2), daemon("init"), desk=desk)
    assert len(desk.ledger.started) == len(desk.ledger.ended) == 2


def test_an_event_without_detection_keeps_what_is_known() -> None:
    desk = told(event("detected", ndpi={"proto": "TLS.YouTube", "hostname": "a.example"}), event("idle"))
    (one,) = desk.flows()
    assert (one.application, one.hostname, one.end_reason) == ("youtube", "a.example", "expired")


def test_flows_from_before_our_time_are_counted_from_now_on() -> None:
    desk = told(event("update", counts=(5000, 90000, 40, 90), first=U - 600_000_000))
    (one,) = desk.flows()
    assert (one.total_bytes, directions(one)) == (95000, (0, 0, 0))
    told(event("update", counts=(5100, 90400, 41, 91), first=U - 600_000_000), desk=desk)
    assert (one.total_bytes, directions(one)) == (95500, (100, 400, 0))


def test_totals_that_fall_begin_anew() -> None:
    desk = told(
        event("detected", counts=(500, 900, 5, 9)),
        event("update", counts=(10, 20, 1, 2)),
        event("update", counts=(15, 40, 2, 3)),
    )
    (one,) = desk.flows()
    assert (one.total_bytes, directions(one)) == (55, (515, 940, 0))


def test_a_number_used_again_is_a_new_flow() -> None:
    desk = told(event("detected", counts=(500, 900, 5, 9)), event("detected", counts=(1, 2, 1, 1), first=U + 5_000_000))
    assert [(one.end_reason, directions(one)) for one in desk.flows()] == [("reused", (500, 900, 0)), ("", (1, 2, 0))]


def test_a_daemon_that_begins_again_has_no_flows() -> None:
    threads = [daemon("init", thread) for thread in range(3)]
    desk = told(*threads, event("detected"), *threads, event("detected", 2))
    assert [one.end_reason for one in desk.flows()] == ["agent-restart", ""]
    # We came late and never saw this daemon begin; the next one's flows are not touched by its later threads.
    desk = told(event("detected"), threads[0], event("detected", 2), *threads[1:])
    assert [one.end_reason for one in desk.flows()] == ["agent-restart", ""]


def test_flows_left_at_shutdown_are_over() -> None:
    desk = told(daemon("init", 0), daemon("init", 1), event("detected"), daemon("shutdown", 1))
    assert desk.flows()[0].end_reason == ""
    told(daemon("shutdown", 0), desk=desk)
    assert desk.flows()[0].end_reason == "agent-restart"


def test_another_kind_of_agent_on_the_same_socket() -> None:
    desk = told(event("detected"))
    desk.client.meet()
    desk.tell({"type": "agent_hello", "agent_version": "4.4.7"})
    assert desk.client.kind == "netifyd"
    assert desk.flows()[0].end_reason == "agent-restart"


@pytest.mark.parametrize(
    ("ip", "private", "group"),
    [
        ("10.1.2.3", True, ""),
        ("172.16.0.1", True, ""),
        ("172.32.0.1", False, ""),
        ("192.168.0.1", True, ""),
        ("169.254.1.1", True, ""),
        ("203.0.113.1", False, ""),
        ("224.0.0.251", False, "multicast"),
        ("255.255.255.255", False, "broadcast"),
        ("fd00::1", True, ""),
        ("fe80::1", True, ""),
        ("2001:db8::1", False, ""),
        ("ff02::fb", False, "multicast"),
        ("", False, ""),
    ],
)
def test_kinds_of_addresses(ip: str, private: bool, group: str) -> None:
    assert is_private(ip) is private
    assert is_group(ip) == group


KEYS = st.sampled_from(
    sorted({key for message in messages("ndpid-1.7") for key in [*message, *message.get("ndpi", {})]})
)
HOSTILE = st.dictionaries(KEYS, ANYTHING, max_size=6)


@given(st.sampled_from(messages("ndpid-1.7")), HOSTILE, HOSTILE)
@settings(max_examples=400)
def test_wrong_types_anywhere_do_no_harm(message: dict[str, Any], outer: dict[str, Any], inner: dict[str, Any]) -> None:
    desk = told(event("detected", counts=(500, 900, 5, 9)))
    spoilt = {**message, **outer}
    if isinstance(spoilt.get("ndpi"), dict):
        spoilt["ndpi"] = {**spoilt["ndpi"], **inner}
    desk.client.session.handle(spoilt)
    told(event("update", counts=(600, 1000, 6, 10)), event("end", counts=(600, 1000, 6, 10)), desk=desk)
    for table in desk.tables.values():
        for one in table.all():
            assert all(type(number) is int and number >= 0 for number in sums_of(one))
        json.dumps(table.flows(limit=500))
    json.dumps(desk.client.status())


@given(ANYTHING)
def test_any_value_can_be_a_message(value: Any) -> None:
    desk = told(event("detected"))
    session = desk.client.session
    session.handle(value)
    for key in ("flow_event_name", "daemon_event_name", "packet_event_name", "error_event_name"):
        session.handle({key: value})
    for key in event("update"):
        session.handle({**event("update"), key: value})
    session.handle({**daemon("init"), "thread_id": value, "alias": value, "source": value})


def test_a_live_flow_is_waited_for_as_long_as_ndpid_waits() -> None:
    """By default it tells of a live TCP flow every 7,440 s."""
    desk = told(event("new", 1, flow_idle_time=180_000_000), event("new", 2, flow_idle_time=7_440_000_000))
    assert [problem.code for problem in desk.client.problems()] == ["ndpid_tells_late"]
    for _ in range(12):
        desk.clock.now += 600
        desk.tables["br-lan"].expire()
        assert len(desk.tables["br-lan"]) == 2
    desk.clock.now += 600
    desk.tables["br-lan"].expire()
    assert [flow.end_reason for flow in desk.flows()] == ["idle", "idle"]
    assert told(event("new", 1, flow_idle_time=300_000_000)).client.problems() == []


def test_a_patience_is_believed_within_reason() -> None:
    for number in (-1, 1 << 60, True, "60", None):
        desk = told(event("new", 1, flow_idle_time=number))
        desk.clock.now += 86_400 + 151
        desk.tables["br-lan"].expire()
        assert len(desk.tables["br-lan"]) == 0
