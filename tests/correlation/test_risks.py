"""What DPI agents call a risk, by their own numbers, and protocols of note."""

from __future__ import annotations

import pytest

from dpi_dual.correlation.risks import SCORES, finding


@pytest.mark.parametrize("namespace", ["netify", "ndpi", "", "another"])
def test_any_number_of_any_agent_is_looked_up_without_an_accident(namespace: str) -> None:
    found = finding("TLS", "Unknown", namespace, tuple(range(-1, 300)), False)
    assert len(found) == len({entry.rule for entry in found})
    assert all(entry.score in SCORES.values() and entry.reason and not entry.ours for entry in found)
    assert bool(found) is (namespace in ("netify", "ndpi"))


def test_a_number_means_what_its_agent_means_by_it() -> None:
    ((netify,), (ndpi,)) = (finding("HTTP", "", namespace, (1,), False) for namespace in ("netify", "ndpi"))
    assert (netify.rule, ndpi.rule) == ("risk:anonymous_subscriber", "risk:url_xss")


def test_the_gravest_comes_first_and_what_is_low_is_nothing() -> None:
    found = finding("Telnet", "Tor", "netify", (22, 43, 46), False)
    assert [(entry.rule, entry.score) for entry in found] == [
        ("risk:url_rce_injection", 95),
        ("protocol:tor", 70),
        ("protocol:telnet", 50),
        ("risk:risky_asn", 40),
    ]
    assert [entry.ours for entry in found] == [False, True, False, False]


def test_a_guessed_protocol_proves_nothing_and_one_name_is_one_finding() -> None:
    assert finding("BitTorrent", "bittorrent", "", (), True) == ()
    assert [entry.rule for entry in finding("BitTorrent", "bittorrent", "", (), False)] == ["protocol:bittorrent"]
