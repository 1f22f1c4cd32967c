"""netifyd's messages of every generation become the same flows, however they are cut, and their bytes add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpi_dual.capture.flows import SILENT_TIMEOUT_S
from dpi_dual.capture.netifyd import NetifydSession
from dpi_dual.model import Flow, community_id
from tests.capture.streams import (
    FIXTURES,
    STREAMS,
    Desk,
    cut,
    cut_anyhow,
    framed,
    messages,
    recorded,
    recorded_pieces,
    stream,
    sums_of,
)
from tests.capture.test_fields import ANYTHING

RECORDED = [
    "netifyd-4.4.0/brlan-default-no-flowstats.bin",
    "netifyd-4.4.7/brlan-default.bin",
    "netifyd-4.4.7/brlan-wan-tap0.bin",
    "netifyd-4.4.7/pcap-apps.bin.gz",
    "netifyd-4.4.7/tcp-latejoin-1.bin",
    "netifyd-4.4.7/tcp-latejoin-2.bin",
    "netifyd-4.4.7/tuple-reuse.bin",
    "netifyd-5.0.6/legacy-socket.bin",
    "netifyd-5.0.6/stream-flows-stats.bin",
]
T = 1_700_000_000_000


def digest(number: int) -> str:
    return f"{number:02x}" * 20


def flow(number: int, first: int = T, interface: str = "br-lan", kind: str = "flow", **more: Any) -> dict[str, Any]:
    body = {
        "digest": digest(number),
        "first_seen_at": first,
        "last_seen_at": first,
        "ip_version": 4,
        "ip_protocol": 6,
        "local_ip": "192.0.2.10",
        "local_port": 40000,
        "local_mac": "02:00:00:00:00:0a",
        "other_ip": "203.0.113.80",
        "other_port": 443,
        "other_mac": "02:00:00:00:00:01",
        "other_type": "remote",
        "local_origin": True,
        "detected_protocol_name": "HTTP/S",
        "detected_application_name": "Unknown",
        **more,
    }
    return {"type": kind, "interface": interface, "established": False, "flow": body}


def stats(
    number: int,
    total: int,
    local: int = 0,
    other: int = 0,
    packets: int = 0,
    interface: str = "br-lan",
    kind: str = "flow_stats",
    last: int = T,
    **more: Any,
) -> dict[str, Any]:
    body = {
        "digest": digest(number),
        "last_seen_at": last,
        "local_bytes": local,
        "other_bytes": other,
        "local_packets": 0,
        "other_packets": 0,
        "total_bytes": total,
        "total_packets": packets,
        **more,
    }
    return {"type": kind, "interface": interface, "flow": body}


def purge(number: int, total: int, reason: str = "expired", **more: Any) -> dict[str, Any]:
    return {**stats(number, total, kind="flow_purge", **more), "reason": reason}


def status(uptime: int, **more: Any) -> dict[str, Any]:
    return {"type": "agent_status", "uptime": uptime, "timestamp": T // 1000, **more}


HELLO = {"type": "agent_hello", "agent_version": "4.4.7", "build_version": "Netify Agent/4.4.7 (test)"}


def directions(one: Flow) -> tuple[int, int, int]:
    return one.local_bytes, one.other_bytes, one.undirected_bytes


# -- streams ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STREAMS)
def test_pieces_of_a_fixture_do_not_matter(name: str) -> None:
    data = stream(name)
    whole = Desk().feed([data]).facts()
    assert Desk().feed(cut(data, 1)).facts() == whole
    for seed in range(10):
        assert Desk().feed(cut_anyhow(data, seed)).facts() == whole
    assert whole["counters"]["agent_lan_frames_bad"] == whole["counters"]["agent_lan_malformed"] == 0


@pytest.mark.parametrize("name", [name for name in STREAMS if name.startswith("netifyd")])
def test_bytes_of_a_fixture_add_up(name: str) -> None:
    purged = {}
    for message in messages(name.removesuffix(" bare")):
        if message["type"] == "flow_purge":
            purged.setdefault(message["flow"]["digest"], []).append(message["flow"]["total_bytes"])
    desk = Desk().feed([stream(name)])
    assert sum(sum(totals) for totals in purged.values()) == sum(sum(directions(one)) for one in desk.flows())
    assert [one for one in desk.flows() if not one.end_reason] == []
    assert desk.tables["br-lan"].unattributed == {"bytes": 0, "packets": 0, "messages": 0}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_gives_the_same_flows_however_it_is_cut(recordings: Path, name: str) -> None:
    data = recorded(recordings / name)
    whole = Desk().feed(recorded_pieces(recordings / name)).facts()
    assert sum(map(len, whole["flows"].values())) > 0
    assert Desk().feed([data]).facts() == whole
    assert Desk().feed(cut(data, 1)).facts() == whole
    for seed in range(5):
        assert Desk().feed(cut_anyhow(data, seed)).facts() == whole
    assert whole["counters"]["agent_lan_frames_bad"] == whole["counters"]["agent_lan_malformed"] == 0
    assert whole["counters"]["agent_lan_unknown_types"] == 0


@pytest.mark.parametrize("name", RECORDED)
def test_bytes_of_a_recording_add_up(recordings: Path, name: str) -> None:
    index = json.loads((recordings / "index.json").read_text())[name]
    desk = Desk().feed(recorded_pieces(recordings / name))
    assert desk.client.counters()["agent_lan_frames"] == index["frames"]
    if "latejoin" in name:
        return
    truth = index.get("sum_total_bytes_in_flow_purge_by_interface", {"br-lan": 7_340_556})
    assert set(desk.tables) == set(truth)
    for interface, total in truth.items():
        flows = desk.flows(interface)
        assert all(one.end_reason for one in flows)
        assert len(flows) <= index["by_type"]["flow"]
        unattributed = desk.tables[interface].unattributed["bytes"]
        assert sum(one.total_bytes for one in flows) + unattributed == total
        assert sum(sum(directions(one)) for one in flows) == total
    if "brlan-wan-tap0" in name:  # the same packets on two interfaces
        tap, lan = desk.flows("tap0"), desk.flows("br-lan")
        assert sorted(map(community_id, tap)) == sorted(map(community_id, lan))


def test_late_join_and_rejoin(recordings: Path) -> None:
    """Three flows began before us, two of them go on over a gap in which we were away."""
    desk = Desk().feed(recorded_pieces(recordings / "netifyd-4.4.7/tcp-latejoin-1.bin"))
    table = desk.tables["br-lan"]
    # 1,348,191 and 166 in their first ticks, then the difference of totals.
    assert table.unattributed == {"bytes": 1_348_191 + (2_773_633 - 1_348_191) + 166, "packets": 2252, "messages": 3}
    (chatty,) = desk.flows()
    assert directions(chatty) == (1951 + 2100, 1283 + 1350, 0)
    desk.clock.now += 11
    desk.client.meet()
    desk.feed(recorded_pieces(recordings / "netifyd-4.4.7/tcp-latejoin-2.bin"))
    assert desk.client.counters()["agent_lan_restarts"] == 0
    assert chatty.total_bytes == 14_242
    assert sum(directions(chatty)) == 14_242
    assert chatty.end_reason == ""
    assert len(desk.flows()) == 3
    assert table.unattributed["bytes"] == 3_197_026 + 166


# -- what the messages mean ---------------------------------------------------------------------------------------


def test_4_4_7() -> None:
    desk = Desk().feed([stream("netifyd-4.4.7")])
    tls, dns, http, ping, again = desk.flows()
    assert (tls.protocol, tls.application, tls.hostname, tls.hostname_source) == (
        "TLS",
        "youtube",
        "video.example.net",
        "sni",
    )
    assert directions(tls) == (1100, 10050, 0)
    assert (tls.local_packets, tls.other_packets, tls.total_packets) == (12, 13, 25)
    assert (tls.end_reason, tls.first_seen_at, tls.ended_at) == ("closed", 1_700_000_001.0, 1_700_000_031.0)
    assert (dns.protocol, dns.hostname_source, dns.other_type, dns.local_origin) == ("DNS", "dns", "local", False)
    assert (dns.risks, dns.risk_namespace, dns.risk_score) == ((46,), "netify", 10)
    assert (http.hostname, http.hostname_source, http.end_reason) == ("www.example.com", "http", "terminated")
    assert (ping.local_ip, ping.ip_version, ping.ip_protocol, ping.local_port) == ("2001:db8::10", 6, 58, 0)
    assert (again.key, again.hostname) == (tls.key, "chat.example.org")
    assert desk.ledger.started == [tls, dns, http, ping, again]
    assert len(desk.ledger.ended) == 5
    session = desk.client.session
    assert session.version == "4.4.7"
    assert session.capture_drops == {"br-lan": 5}
    assert session.unknown_types == {"something_new": 1}


def _unknown(how: str) -> Desk:
    """Recorded: a DNS query, and 300 kB over a protocol that netifyd does not know, from the agent's start to its end.

    `definitions`, which holds nothing of it, is left out.
    """
    return Desk().feed(cut(recorded(FIXTURES / f"netifyd-4.4.7-unknown-{how}.bin.gz"), 8192))


def test_netifyd_by_default_never_tells_of_a_flow_of_an_unknown_protocol() -> None:
    desk = _unknown("hidden")
    assert not [flow for flow in desk.flows() if 23457 in (flow.local_port, flow.other_port)]
    assert desk.tables["br-lan"].unattributed["bytes"] == 359_578
    assert [problem.code for problem in desk.tables["br-lan"].problems()] == []  # too few bytes to make words of


def test_with_dump_unknown_flows_it_is_told_twice_and_counted_once() -> None:
    desk = _unknown("told")
    (flow,) = [flow for flow in desk.flows() if 23457 in (flow.local_port, flow.other_port)]
    assert (flow.protocol, flow.total_bytes, sum(sums_of(flow)[:3])) == ("Unknown", 359_578, 359_578)
    assert (flow.end_reason, flow.hostname, flow.hostname_source) == ("closed", "shell.example.net", "hint")
    assert desk.tables["br-lan"].unattributed["bytes"] == 0


def test_what_the_resolver_was_asked_has_its_risks() -> None:
    (query,) = [flow for flow in _unknown("told").flows() if flow.protocol == "DNS"]
    assert (query.risks, query.risk_namespace) == ((27, 46), "netify")
    assert (query.local_ip, query.local_port, query.other_ip) == ("192.168.1.1", 53, "192.168.1.100")


def test_an_agent_in_its_first_second_has_no_uptime_yet() -> None:
    """Recorded as such: 4,294,939,931 s, then 0. That is no restart, and on a reconnect it is one at once."""
    desk = _unknown("told")
    session = desk.client.session
    assert isinstance(session, NetifydSession)
    assert (session.restarts, session.uptime_s) == (0, 50)
    desk = Desk().tell(status(1000), flow(1))
    desk.client.meet()
    desk.tell(HELLO, status(4_294_939_931), flow(2), status(0), stats(2, 500))
    assert desk.client.counters()["agent_lan_restarts"] == 1
    assert [(each.end_reason, each.total_bytes) for each in desk.flows()] == [("agent-restart", 0), ("", 500)]


def test_4_4_0_has_bytes_only_at_the_end_and_no_direction() -> None:
    desk = Desk().feed([stream("netifyd-4.4.0")])
    assert [directions(one) for one in desk.flows()] == [(0, 0, 5000), (0, 0, 7000)]
    assert [one.hostname_source for one in desk.flows()] == ["sni", "hint"]
    assert "netifyd_no_flow_stats" in [problem.code for problem in desk.client.problems()]


def test_flows_of_an_agent_without_flow_stats_are_waited_for() -> None:
    desk = Desk().tell({**HELLO, "agent_version": "4.4.0"}, flow(1))
    desk.clock.now += SILENT_TIMEOUT_S - 1
    desk.tables["br-lan"].expire()
    assert len(desk.tables["br-lan"]) == 1
    desk.tell(flow(2), stats(2, 100))
    desk.tables["br-lan"].expire()
    assert [one.end_reason for one in desk.flows()] == ["idle", ""]


def test_3() -> None:
    desk = Desk().feed([stream("netifyd-3")])
    skype, dns = desk.flows()
    assert desk.client.session.version == "3.05"
    assert (skype.protocol, skype.application, skype.hostname_source) == ("TLS", "skype", "agent")
    assert directions(skype) == (100, 400, 0)
    assert (dns.protocol, dns.application, dns.guessed, dns.end_reason) == ("DNS", "Unknown", True, "closed")


@pytest.mark.parametrize("name", ["netifyd-5", "netifyd-5 bare"])
def test_5(name: str) -> None:
    desk = Desk().feed([stream(name)])
    tls, dns = desk.flows()
    assert (tls.key, tls.application) == (digest(3), "youtube")  # the digest changed on the way
    assert directions(tls) == (600, 4900, 0)
    assert (dns.key, dns.hostname) == (digest(4), "b.example.net")
    assert directions(dns) == (60, 90, 0)
    assert desk.client.session.capture_drops == {"br-lan": 2}
    assert desk.client.session.unknown_types == {}


def test_interfaces_are_apart() -> None:
    desk = Desk().tell(flow(1), flow(1, interface="tap0"), stats(1, 100, 40, 60), stats(1, 7, interface="tap0"))
    assert [sum(directions(one)) for one in desk.flows() + desk.flows("tap0")] == [100, 7]


def test_interfaces_that_nobody_watches_are_counted() -> None:
    desk = Desk(watched=["br-lan"]).tell(flow(1, interface="wan"), stats(1, 9, interface="wan"), flow(2))
    assert list(desk.tables) == ["br-lan"]
    assert desk.client.session.ignored == {"wan": 2}
    assert [problem.severity for problem in desk.client.problems()] == ["info"]
    for number in range(1000):
        desk.tell(flow(1, interface=f"veth{number}"))
    assert len(desk.client.session.ignored) <= 65
    assert sum(desk.client.session.ignored.values()) == 1002


def test_a_message_without_interface_goes_where_its_digest_is_known() -> None:
    desk = Desk().tell(flow(1), flow(2, interface="tap0"))
    nameless = stats(1, 100, 40, 60)
    del nameless["interface"]
    desk.tell(nameless)
    assert directions(desk.flows()[0]) == (40, 60, 0)
    assert set(desk.tables) == {"br-lan", "tap0"}


def test_only_one_interface_needs_no_name() -> None:
    desk = Desk().tell(flow(1))
    nameless = flow(2)
    del nameless["interface"]
    desk.tell(nameless)
    assert [one.interface for one in desk.flows()] == ["br-lan", "br-lan"]


def test_totals_that_fall_begin_anew() -> None:
    desk = Desk().tell(flow(1), stats(1, 1000, 400, 600, packets=10), stats(1, 300, 100, 200, packets=3))
    (one,) = desk.flows()
    assert (one.total_bytes, one.total_packets) == (300, 3)
    assert directions(one) == (500, 800, 0)
    assert one.undirected_packets == 13
    assert desk.tables["br-lan"].counters()["flows_resets"] == 1


def test_packets_may_begin_anew_while_bytes_do_not() -> None:
    desk = Desk().tell(flow(1), stats(1, 300, 100, 200, packets=3), stats(1, 400, 100, 0, packets=1))
    (one,) = desk.flows()
    assert directions(one) == (200, 200, 0)
    assert one.undirected_packets == 4


def test_a_repeated_message_counts_nothing() -> None:
    desk = Desk().tell(flow(1), *[stats(1, 1000, 400, 600)] * 3)
    assert directions(desk.flows()[0]) == (400, 600, 0)


def test_bytes_of_missed_ticks_have_no_direction() -> None:
    desk = Desk().tell(flow(1), stats(1, 1000, 400, 600), stats(1, 5000, 100, 200))
    assert directions(desk.flows()[0]) == (500, 800, 3700)


def test_directions_that_do_not_fit_are_not_believed() -> None:
    desk = Desk().tell(flow(1), stats(1, 1000, 4000, 600), flow(2), stats(2, 1000, 4000, 0))
    assert [directions(one) for one in desk.flows()] == [(0, 0, 1000), (1000, 0, 0)]


def test_a_digest_used_again_without_a_purge_is_a_new_flow() -> None:
    desk = Desk().tell(flow(1), stats(1, 1000), flow(1, first=T + 60_000, host_server_name="b.example"), stats(1, 70))
    old, new = desk.flows()
    assert (old.end_reason, old.undirected_bytes) == ("reused", 1000)
    assert (new.end_reason, new.undirected_bytes, new.hostname) == ("", 70, "b.example")


def test_a_described_flow_keeps_its_counters() -> None:
    desk = Desk().tell(flow(1), stats(1, 1000), flow(1, detected_application_name="netify.x"), stats(1, 1100))
    (one,) = desk.flows()
    assert (one.application, one.undirected_bytes) == ("x", 1100)
    assert len(desk.ledger.started) == 1


def test_unannounced_digests_are_not_guessed_at() -> None:
    desk = Desk().tell(stats(1, 5000, 100, 200), stats(1, 6000, 10, 20), stats(1, 100, 60, 40))
    table = desk.tables["br-lan"]
    # This tick's 300 first, since the rest was before our time; then a difference; then a total that fell.
    assert table.unattributed["bytes"] == 300 + 1000 + 100
    desk.tell(purge(1, 150), purge(1, 9000), purge(2, 777))
    assert table.unattributed["bytes"] == 1400 + 50
    assert table.unattributed["messages"] == 6
    assert desk.flows() == []


def test_an_announcement_that_comes_late_takes_over_the_known_totals() -> None:
    desk = Desk().tell(stats(1, 5000, 100, 200), flow(1), stats(1, 5600, 100, 200))
    assert directions(desk.flows()[0]) == (100, 200, 300)
    desk.tell(stats(2, 5000, 1, 2, last=T), flow(2, first=T + 1), stats(2, 50, 20, 30))
    assert directions(desk.flows()[1]) == (20, 30, 0)


def test_flows_from_before_our_time_are_counted_from_now_on() -> None:
    desk = Desk().tell(HELLO, status(5000), flow(1, first=T - 900_000), stats(1, 1_000_000, 30, 40))
    assert directions(desk.flows()[0]) == (30, 40, 0)
    desk.tell(stats(1, 1_000_100, 60, 40))
    assert directions(desk.flows()[0]) == (90, 80, 0)
    dumped = flow(2) | {"established": True}
    desk.tell(dumped, purge(2, 2_000_000, local=5, other=6))
    assert directions(desk.flows()[1]) == (5, 6, 0)


def test_remembered_totals_are_bounded() -> None:
    desk = Desk()
    for number in range(5000):
        desk.tell({**stats(0, 10, 4, 6), "flow": stats(0, 10, 4, 6)["flow"] | {"digest": f"d{number}"}})
    (source,) = desk.tables["br-lan"].sources.values()
    assert len(source.remembered) <= 2048
    assert desk.tables["br-lan"].unattributed["bytes"] == 50_000


# -- the agent ----------------------------------------------------------------------------------------------------


def test_uptime_that_falls_ends_all_flows() -> None:
    desk = Desk().tell(HELLO, status(100), flow(1), flow(2, interface="tap0"), stats(3, 10, 5, 5), status(3))
    assert [one.end_reason for one in desk.flows() + desk.flows("tap0")] == ["agent-restart"] * 2
    desk.tell(stats(1, 500, 20, 30))
    assert desk.tables["br-lan"].unattributed["bytes"] == 10 + 50
    assert desk.client.counters()["agent_lan_restarts"] == 1


def test_known_flows_go_on_after_a_reconnect_to_the_same_agent() -> None:
    desk = Desk().tell(HELLO, status(100), flow(1), stats(1, 1000, 400, 600))
    desk.clock.now += 40
    desk.client.meet()
    desk.tell(HELLO, status(135), stats(1, 3000, 10, 20))
    (one,) = desk.flows()
    assert (directions(one), one.end_reason) == ((410, 620, 1970), "")


def test_an_agent_that_restarted_unseen_is_noticed() -> None:
    """Its uptime is higher than the last one we saw, but lower than it would be had it gone on."""
    desk = Desk().tell(HELLO, status(100), flow(1))
    desk.clock.now += 3600
    desk.client.meet()
    desk.tell(HELLO, status(600))
    assert desk.flows()[0].end_reason == "agent-restart"


def test_an_upgraded_agent_is_another_agent() -> None:
    desk = Desk().tell(HELLO, flow(1))
    desk.client.meet()
    desk.tell(HELLO)
    assert desk.flows()[0].end_reason == ""
    desk.tell({**HELLO, "agent_version": "4.4.8", "build_version": "Netify Agent/4.4.8 (test)"})
    assert desk.flows()[0].end_reason == "agent-restart"
    assert desk.client.session.version == "4.4.8"


def test_a_restart_is_told_to_tables_that_were_not_asked_since_a_reload() -> None:
    desk = Desk().tell(HELLO, status(100), flow(1))
    desk.client.reroute()
    desk.tell(status(0))
    assert desk.flows()[0].end_reason == "agent-restart"


def test_agent_versions_compare() -> None:
    session = NetifydSession("x", lambda _: None)
    for text, version in (("4.4.7", (4, 4, 7)), ("3.05", (3, 5)), ("", ()), ("5.2.0-rc1", (5, 2, 0))):
        session.version = text
        assert session.version_tuple == version


# -- hostility ----------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(
    sorted({key for message in messages("netifyd-5") for key in [*message, *message.get("flow", {})]} | {"digest_prev"})
)
HOSTILE = st.dictionaries(KEYS, ANYTHING, max_size=6)


@given(st.sampled_from(messages("netifyd-4.4.7") + messages("netifyd-5") + messages("netifyd-3")), HOSTILE, HOSTILE)
@settings(max_examples=400)
def test_wrong_types_anywhere_do_no_harm(message: dict[str, Any], outer: dict[str, Any], inner: dict[str, Any]) -> None:
    desk = Desk().tell(HELLO, flow(1), stats(1, 1000, 400, 600))
    spoilt = {**message, **{key: value for key, value in outer.items() if key != "type"}}
    if isinstance(message.get("flow"), dict) and "flow" not in outer:
        spoilt["flow"] = {**message["flow"], **inner}
    session = desk.client.session
    session.handle(spoilt)
    session.handle({**spoilt, "type": outer.get("type", "x")})
    desk.tell(stats(1, 2000, 400, 600), purge(1, 2500))
    for table in desk.tables.values():
        table.expire()
        for one in table.all():
            assert one.hostname.isprintable()
            assert all(type(number) is int and number >= 0 for number in sums_of(one))
            assert type(one.total_bytes) is type(one.local_port) is int
        json.dumps(table.flows(limit=500))
    json.dumps(desk.client.status())


@given(ANYTHING)
def test_any_value_can_be_a_message(value: Any) -> None:
    desk = Desk()
    desk.tell(HELLO)
    desk.client.session.handle(value)
    desk.client.session.handle({"type": value})
    desk.client.session.handle({"type": "flow", "flow": value})
    desk.client.session.handle({"type": "flow_stats", "interface": "br-lan", "flow": value})


def test_deep_nesting_is_a_bad_frame() -> None:
    deep = b'{"type":"flow","flow":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    desk = Desk().feed([framed(HELLO) + b'{"length": %d}\n%s' % (len(deep), deep) + framed(flow(1))])
    assert desk.client.counters()["agent_lan_frames_bad"] == 1
    assert len(desk.flows()) == 1


def test_hostile_text_is_cleaned() -> None:
    desk = Desk().tell(
        flow(1, host_server_name="\x1b[31mEVIL\x00\ud800.example\n", detected_protocol_name="X\x07Y" * 99)
    )
    (one,) = desk.flows()
    assert one.hostname == "[31mevil.example"
    assert one.protocol == ("XY" * 99)[:32]  # cut before it is cleaned
