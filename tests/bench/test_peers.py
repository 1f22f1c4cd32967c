"""The comparison with the peers is taken only when asked for, with those that are there."""

from __future__ import annotations

import pytest

import bench.__main__ as main
from bench import peers
from bench.peer_lab import PeerLabError
from bench.row import NotHere, Row


def test_without_any_peer_it_says_how_to_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "missing", lambda name: f"{name}: not installed")
    with pytest.raises(NotHere, match="nlbwmon: not installed; ntopng: not installed"):
        peers.measure()


def test_only_the_peers_that_are_installed_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Row("found", 1, "ms", 2, "", True)
    monkeypatch.setattr(peers, "missing", lambda name: "" if name == "suricata" else f"{name}: not installed")
    monkeypatch.setitem(peers.MEASURES, "suricata", lambda: [row])
    assert peers.measure() == [row]
    assert "ntopng: not installed" in capsys.readouterr().err


def test_a_peer_that_fails_does_not_take_the_others_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> list[Row]:
        raise PeerLabError("it ended")

    row = Row("found", 1, "ms", 2, "", True)
    monkeypatch.setattr(peers, "missing", lambda _: "")
    monkeypatch.setattr(peers, "MEASURES", dict.fromkeys(peers.MEASURES, fails) | {"crowdsec": lambda: [row]})
    assert peers.measure() == [row]
    assert "not measured: suricata: PeerLabError: it ended" in capsys.readouterr().err


def test_it_is_not_among_what_is_taken_by_itself() -> None:
    assert "peers" not in main.MEASUREMENTS
    assert "peers" in main.ON_REQUEST
