"""One spelling for what both agents call the same."""

from __future__ import annotations

import pytest

from dpi_dual.capture import protocols


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("HTTP/S", "TLS"),
        ("TLS", "TLS"),
        ("ICMPV6", "ICMPv6"),
        ("ICMPv6", "ICMPv6"),
        ("FTP/C", "FTP"),
        ("FTP_CONTROL", "FTP"),
        ("FTP/D", "FTP_DATA"),
        ("IMAP/S", "IMAPS"),
        ("PGSQL", "PostgreSQL"),
        ("PostgreSQL", "PostgreSQL"),
        ("NETBIOS", "NetBIOS"),
        ("TPLINK/SHP", "TPLINK_SHP"),
        ("TPLINK_SHP", "TPLINK_SHP"),
        ("DNScrypt", "DNSCrypt"),
        ("Something New", "Something_New"),
        ("bad\x1bname\n", "badname"),
        ("", "Unknown"),
        (None, "Unknown"),
        (5, "Unknown"),
        ("x" * 500, "x" * 48),
    ],
)
def test_protocol(raw: object, name: str) -> None:
    assert protocols.protocol(raw) == name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("netify.youtube", "youtube"),
        ("125.netify.skype", "skype"),
        ("netify.apple-itunes", "apple-itunes"),
        ("0.Unknown", "Unknown"),
        ("Unknown", "Unknown"),
        ("", "Unknown"),
        ("124", "Unknown"),
        (None, "Unknown"),
    ],
)
def test_application(raw: object, name: str) -> None:
    assert protocols.application(raw) == name


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ("TLS.WhatsApp", ("TLS", "whatsapp")),
        ("DNS", ("DNS", "Unknown")),
        ("QUIC.GoogleServices", ("QUIC", "googleservices")),
        ("NetBIOS.SMBv1", ("SMBv1", "Unknown")),
        ("STUN.Skype_TeamsCall", ("STUN", "skype-teamscall")),
        ("Telegram", ("Telegram", "telegram")),
        ("BitTorrent", ("BitTorrent", "bittorrent")),
        ("Unknown", ("Unknown", "Unknown")),
        ("", ("Unknown", "Unknown")),
        (None, ("Unknown", "Unknown")),
    ],
)
def test_ndpi_names(raw: object, names: tuple[str, str]) -> None:
    assert protocols.split_ndpi(raw) == names


def test_a_product_of_its_own_protocol_is_an_application_for_both_agents() -> None:
    assert protocols.application("Unknown", protocols.protocol("Telegram")) == "telegram"
    assert protocols.application("Unknown", protocols.protocol("HTTP/S")) == "Unknown"
