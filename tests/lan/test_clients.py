"""The table of clients: identity, addresses, bounds."""

from __future__ import annotations

import pytest

from dpi_dual.lan import clients
from dpi_dual.lan.clients import ACTIVE_S, MAX_ADDRESSES, ClientTable
from dpi_dual.lan.ends import Neighbourhood
from dpi_dual.lan.protocols import ProtocolRow

A, B = "02:00:00:00:00:0a", "00:11:22:33:44:0b"


def test_addresses_are_bounded_the_oldest_goes() -> None:
    table = ClientTable()
    for number in range(MAX_ADDRESSES + 3):
        table.resolve(A, f"fd00::{number + 1:x}", "br-lan", float(number))
    (client,) = table
    assert len(client.addresses) == MAX_ADDRESSES and table.addresses_dropped == 3
    assert table.get("fd00::1") is None and table.get("fd00::13") is client


def test_an_address_moves_with_its_lease() -> None:
    table = ClientTable()
    first = table.resolve(A, "192.168.1.10", "br-lan", 1.0)
    second = table.resolve(B, "192.168.1.10", "br-lan", 2.0)
    assert first.addresses == {} and second.ip == "192.168.1.10" and table.get("192.168.1.10") is second
    assert table.resolve("", "192.168.1.10", "br-lan", 3.0) is second


def test_the_address_to_show() -> None:
    client = ClientTable().resolve(A, "fe80::1", "br-lan", 9.0)
    table = ClientTable()
    for at, ip in enumerate(("fe80::1", "2001:db8::5", "192.168.1.5", "192.168.1.6", "fe80::2")):
        client = table.resolve(A, ip, "br-lan", float(at))
    assert client.ip == "192.168.1.6"
    assert client.ips() == ["192.168.1.6", "192.168.1.5", "2001:db8::5", "fe80::2", "fe80::1"]
    row = client.row("name", client.last_seen_at + ACTIVE_S)
    assert row["active"] and row["mac_random"] and row["hostname"] == "name" and row["last_proto"] == ""
    assert not client.row("name", client.last_seen_at + ACTIVE_S + 1)["active"]


def test_the_longest_idle_clients_are_dropped_when_it_is_full() -> None:
    table = ClientTable(32)
    for number in range(33):
        client = table.resolve(f"00:00:00:00:01:{number:02x}", f"10.0.0.{number}", "br-lan", float(number))
        client.last_seen_at = float(number)
    assert table.dropped == 2 and len(table) == 31
    assert table.get("10.0.0.0") is None and table.get("10.0.0.2") is not None


def test_a_flood_of_invented_macs_does_not_push_out_the_household() -> None:
    table = ClientTable(limit=32)
    table.resolve("02:00:00:00:00:01", "192.168.1.10", "br-lan", 0.0)
    table.resolve("02:00:00:00:00:01", "192.168.1.10", "br-lan", 1.0).last_seen_at = 900.0
    gone = table.resolve("02:00:00:00:00:02", "192.168.1.11", "br-lan", 0.0)
    gone.last_seen_at = 100.0  # known for long, and away for longer
    for number in range(1000):
        invented = f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        table.resolve(invented, "192.168.1.9", "br-lan", 901.0 + number / 100)
    household = table.get("02:00:00:00:00:01")
    assert household is not None and household.first_seen_at == 0.0
    assert table.get("02:00:00:00:00:02") is None and len(table) <= 32


def test_what_a_dropped_client_has_not_written_is_kept() -> None:
    from dpi_dual.lan.protocols import ProtocolRow

    table = ClientTable()
    client = table.resolve(A, "10.0.0.1", "br-lan", 1.0)
    client.kinds.of(ProtocolRow("TLS", "zoom", 1.0)).bytes_in += 5
    assert table.expire(5000.0, 3600) == 1
    assert table.leftover == {(A, "zoom"): [5, 0, 0, 0]}


def test_neighbours_add_addresses_to_known_clients_only() -> None:
    table = ClientTable()
    client = table.resolve(A, "192.168.1.10", "br-lan", 1.0)
    table.learn(Neighbourhood(macs={"fd00::10": A, "192.168.1.99": B}), 2.0)
    assert set(client.addresses) == {"192.168.1.10", "fd00::10"} and len(table) == 1


def test_times_follow_the_clock() -> None:
    table = ClientTable()
    client = table.resolve(A, "192.168.1.10", "br-lan", 1.0)
    table.shift(1000.0)
    assert (client.first_seen_at, client.last_seen_at, client.addresses) == (1001.0, 1001.0, {"192.168.1.10": 1001.0})


def test_what_dropped_clients_leave_is_bounded_and_loses_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_LEFTOVER", 8)
    table, row = ClientTable(limit=4), ProtocolRow("DNS", "Unknown", 0.0)
    for number in range(100):
        client = table.resolve(f"02:00:00:00:00:{number:02x}", f"fd00::{number + 1:x}", "br-lan", float(number))
        client.kinds.of(row).bytes_in += 10
    assert len(table.leftover) <= 17
    left = sum(figures[0] for figures in table.leftover.values())
    assert left == 10 * (100 - len(table))
    assert table.leftover["(others)", "DNS"][0] > 0
