"""The answers of `dpi.lan`: lists, pages, one client, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dpi_dual.capture.conntrack import Table
from dpi_dual.errors import QueryError
from dpi_dual.lan.stream import LanStream
from tests.lan.household import LAPTOP, PHONE, Count, Make, browse, connection


def test_lists_and_one_client(stream: LanStream, make_flow: Make, count: Count) -> None:
    browse(stream, make_flow, count)
    browse(stream, make_flow, count, local_ip="192.168.1.11", local_mac=LAPTOP, other_ip="198.51.100.20",
           application="youtube", hostname="video.example.com", hostname_source="sni")  # fmt: skip
    page: Any = stream.clients(limit=1, sort="hostname")
    assert page["total"] == 2 and [row["hostname"] for row in page["clients"]] == ["laptop"]
    page = stream.clients(limit=1, sort="hostname", before=page["next"])
    assert [row["hostname"] for row in page["clients"]] == ["phone"] and "next" not in page
    for search, total in (("LAP", 1), ("192.168.1.", 2), (PHONE[:8], 1), ("nothing", 0)):
        assert stream.clients(search=search)["total"] == total
    assert stream.destinations(client="laptop")["total"] == 1
    assert stream.destinations(search="VIDEO")["total"] == 1
    assert stream.protocols()["total"] == 2
    applications: Any = stream.applications()
    assert {row["application"] for row in applications["applications"]} == {"TLS", "youtube"}
    applications = stream.applications(client=LAPTOP.upper())
    assert [row["application"] for row in applications["applications"]] == ["youtube"]

    one: Any = stream.client("192.168.1.11")
    assert one["client"]["mac"] == LAPTOP and one["applications"][0]["application"] == "youtube"
    assert one["protocols"][0]["protocol"] == "TLS" and one["destinations"][0]["bytes"] == 1100
    assert one["history"]["points"][-1]["bytes"] == 1100
    assert len(json.dumps(one)) < 256 * 1024


def test_unknown_clients_and_wrong_orders_are_refused_by_name(stream: LanStream) -> None:
    for call in (
        lambda: stream.client("nobody"),
        lambda: stream.client(""),
        lambda: stream.destinations(client="00:00:00:00:00:77"),
        lambda: stream.applications(client="192.168.1.200"),
        lambda: stream.history(client="nobody"),
    ):
        with pytest.raises(QueryError) as error:
            call()
        assert error.value.code == "not_found"
    with pytest.raises(QueryError):
        stream.clients(sort="colour")
    with pytest.raises(QueryError):
        stream.history(period="year")
    with pytest.raises(QueryError):
        stream.flows(ip="nonsense")


def test_a_large_lan_stays_within_an_answer(stream: LanStream, make_flow: Make, count: Count) -> None:
    for number in range(700):
        mac = f"00:11:22:00:{number >> 8:02x}:{number & 255:02x}"
        for address in range(10):
            flow = make_flow(local_ip=f"fd00:{number:x}::{address + 1:x}", local_mac=mac,
                             other_ip=f"2001:db8::{number:x}", hostname="ü" * 200, hostname_source="sni")  # fmt: skip
            stream.accounting.flow_started(flow)
    for answer in (stream.clients(limit=500), stream.destinations(limit=500)):
        assert len(json.dumps(answer)) < 256 * 1024 and answer["next"]
    stream.tick()


def test_flows_of_both_sources(stream: LanStream, clock: Any, monotonic: Any, kernel: Any) -> None:
    stream.agent = lambda: ""
    kernel.table = Table([connection(1, 1)], 0, 0, False)
    monotonic.now += 60
    clock.now += 60
    stream.tick()
    flows: Any = stream.flows(state="live", protocol="tls", ip="192.168.1.10")
    assert flows["total"] == 1 and flows["flows"][0]["agent"] == "conntrack" and flows["flows"][0]["guessed"]
    assert stream.flows(state="finished")["total"] == 0


def test_a_client_shows_its_largest_application_and_the_history_asked_for(
    stream: LanStream, make_flow: Make, count: Count
) -> None:
    browse(stream, make_flow, count)
    browse(stream, make_flow, count, application="youtube", local_port=40001)
    browse(stream, make_flow, count, application="youtube", local_port=40002)
    page: Any = stream.clients()
    assert [row["top_app"] for row in page["clients"]] == ["youtube"]
    one: Any = stream.client(PHONE, "month")
    assert one["client"]["top_app"] == "youtube" and one["history"]["period"] == "month"


def test_what_the_firewall_hides_is_looked_at(stream: LanStream) -> None:
    stream.tick()
    assert all(problem.code.startswith("flow_offload_") for problem in stream.offload)
