"""Destinations: names, shares of clients, bounds."""

from __future__ import annotations

from dpi_dual.lan.destinations import IDLE_S, MAX_CLIENTS_EACH, Destination, DestinationTable
from tests.lan.household import Make


def make(table: DestinationTable, ip: str = "198.51.100.10", at: float = 1.0, port: int = 443) -> Destination:
    row = table.of((ip, port, 6), at)
    assert row is not None
    return row


def test_the_best_name_wins(make_flow: Make) -> None:
    row = make(DestinationTable(), "198.51.100.10", port=443)
    for source, name, expected in (
        ("hint", "cache.example", "cache.example"),
        ("sni", "www.example.com", "www.example.com"),
        ("hint", "other.example", "www.example.com"),
        ("http", "http.example", "www.example.com"),
        ("sni", "new.example.com", "new.example.com"),
        ("dhcp", "laptop", "new.example.com"),
    ):
        row.describe(make_flow(hostname=name, hostname_source=source))
        assert row.hostname == expected


def test_a_question_is_not_the_name_of_the_one_who_was_asked(make_flow: Make) -> None:
    row = make(DestinationTable(), "9.9.9.9", port=53)
    row.describe(make_flow(protocol="DNS", hostname="www.example.com", hostname_source="dns"))
    assert row.hostname == "" and row.protocol == "DNS"


def test_a_stranger_is_not_shown_under_the_name_it_asks_for(make_flow: Make) -> None:
    row = make(DestinationTable(), "198.51.100.10", port=0)
    row.describe(make_flow(hostname="bank.example.com", hostname_source="sni", local_origin=False))
    assert (row.hostname, row.protocol) == ("", "TLS")


def test_a_known_protocol_is_not_forgotten(make_flow: Make) -> None:
    row = make(DestinationTable(), "198.51.100.10", port=443)
    row.describe(make_flow(protocol="TLS", application="youtube"))
    row.describe(make_flow(protocol="Unknown", application="Unknown"))
    assert (row.protocol, row.application) == ("TLS", "youtube")


def test_the_oldest_idle_rows_go_first_and_are_counted() -> None:
    table = DestinationTable(32)
    for number in range(32):
        make(table, f"198.51.100.{number}", float(number)).live = 1 if number < 4 else 0
    make(table, "203.0.113.1", 40.0)
    assert table.dropped == 2 and len(table) == 31
    kept = {row.ip for row in table}
    assert {"198.51.100.0", "198.51.100.3", "198.51.100.6"} <= kept  # these live
    assert not {"198.51.100.4", "198.51.100.5"} & kept


def test_when_all_rows_are_busy_a_new_one_is_counted_and_left_out() -> None:
    table = DestinationTable(4)
    rows = [make(table, f"198.51.100.{number}", 10.0) for number in range(4)]
    for row in rows:
        row.live = 1
    assert table.of(("203.0.113.1", 443, 6), 11.0) is None and table.dropped == 1
    assert all(row.present for row in rows)
    # Live flows that have been silent for a while make room: the longest silent first.
    rows[2].last_seen_at = 5.0
    make(table, "203.0.113.1", 10.0 + IDLE_S)
    assert not rows[2].present and rows[0].present and rows[2].shares == ()


def test_idle_rows_expire() -> None:
    table = DestinationTable()
    old, new = make(table, "198.51.100.1", 10.0), make(table, "198.51.100.2", 100.0)
    assert table.expire(120.0, 60) == 1 and not old.present and new.present and len(table) == 1


def test_shares_are_bounded_and_renamed() -> None:
    table = DestinationTable()
    row = make(table, "198.51.100.1", 1.0)
    for number in range(MAX_CLIENTS_EACH + 5):
        share = row.make_share(f"client{number}")
        if share is not None:
            share.bytes, share.hits = 10, 1
    assert len(row.shares) == MAX_CLIENTS_EACH and row.make_share("late") is None
    table.rename_client("client1", "client0")
    table.rename_client("client2", "mac")
    assert row.share("client0").bytes == 20 and row.share("client1") is None  # type: ignore[union-attr]
    assert row.share("mac").hits == 1  # type: ignore[union-attr]
    shown = row.row("mac")
    assert (shown["bytes"], shown["hits"], shown["clients"]) == (10, 1, ["mac"])
    assert row.row()["clients_count"] == MAX_CLIENTS_EACH - 1


def test_times_follow_the_clock() -> None:
    table = DestinationTable()
    row = make(table, "198.51.100.1", 5.0)
    table.shift(1000.0)
    assert row.last_seen_at == 1005.0 and row.row()["proto"] == "tcp"
