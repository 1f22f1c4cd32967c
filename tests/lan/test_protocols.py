"""Protocols and applications: rows, sums, bounds."""

from __future__ import annotations

from dpi_dual.lan.protocols import ProtocolTable, applications, label


def test_rows_are_pairs() -> None:
    table = ProtocolTable()
    row = table.of("TLS", "youtube", 1.0)
    assert table.of("TLS", "youtube", 2.0) is row and table.of("QUIC", "youtube", 2.0) is not row
    row.flows, row.bytes_in, row.bytes_out = 2, 10, 5
    shown = row.row()
    assert (shown["protocol"], shown["application"], shown["flows"], shown["bytes"]) == ("TLS", "youtube", 2, 15)


def test_applications_add_up_over_protocols() -> None:
    table = ProtocolTable()
    for protocol, application, size in (("TLS", "youtube", 10), ("QUIC", "youtube", 5), ("DNS", "Unknown", 1)):
        table.of(protocol, application, 1.0).bytes_in = size
    assert {name: tally.bytes for _, name, tally in applications(table)} == {"youtube": 15, "DNS": 1}
    assert label("DNS", "Unknown") == "DNS" and label("TLS", "zoom") == "zoom"


def test_idle_rows_go_first_when_it_is_full() -> None:
    table = ProtocolTable(16)
    for number in range(16):
        table.of("TLS", f"app{number}", float(number)).live = number == 0
    table.of("TLS", "one more", 99.0)
    assert table.dropped == 1 and len(table) == 16
    assert "app0" in {row.application for row in table} and "app1" not in {row.application for row in table}


def test_times_follow_the_clock() -> None:
    table = ProtocolTable()
    row = table.of("TLS", "zoom", 5.0)
    table.shift(10.0)
    assert row.last_seen_at == 15.0
