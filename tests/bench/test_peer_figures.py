"""What the comparison with the peers makes of what was counted, alerted and banned."""

from __future__ import annotations

from typing import Any

import pytest

from bench.peer_figures import Banned, banned, grown, seen, share, unattributed, unseen, worst_error


def _line(ip: str, attack: bool = True, group: str = "once", **more: Any) -> dict[str, Any]:
    return {"group": group, "kind": "sqli", "attack": attack, "ip": ip, "at": 100.0, "statuses": [200], **more}


def test_the_worst_client_is_told_in_percent_of_the_wire() -> None:
    wire = {"a": 1000, "b": 200, "c": 0}
    assert worst_error({"a": 990, "b": 210}, wire) == pytest.approx(5)
    assert worst_error({"a": 1000}, wire) == pytest.approx(100)


def test_bytes_of_no_known_device() -> None:
    assert unattributed({"a": 75, "": 15, "00:00:00:00:00:00": 10}) == pytest.approx(25)
    assert unattributed({}) == 0


def test_what_was_there_before_does_not_count() -> None:
    assert grown({"a": 10}, {"a": 15, "b": 2}) == {"a": 5, "b": 2}


def test_attacks_and_ordinary_visits_are_counted_by_address() -> None:
    lines = [_line("1"), _line("2"), _line("3", attack=False), _line("4", attack=False)]
    lines += [_line("5", statuses=[]), _line("6", group="again")]
    assert seen(lines, ["1", "4", "6"]) == (0.5, 0.5)
    assert unseen([*lines, _line("7", kind="xss")], ["1"]) == {"sqli": 2, "xss": 1}
    assert share(0, 0) == 0


def test_bans_count_from_the_first_request() -> None:
    lines = [_line("1", group="again", at=at) for at in (100.0, 103.0, 109.0)]
    lines += [_line("2", group="again", kind="xss", at=101.0)] * 2
    lines += [_line("3", attack=False, group="again"), _line("4", attack=False), _line("5")]
    assert banned(lines, {"1": 104.0, "4": 150.0, "9": 1.0}) == Banned(0.5, 0.5, 4.0, {"sqli": 2, "xss": 2})
    assert banned(lines, {}) == Banned(0.0, 0.0, None, {"sqli": 3, "xss": 2})
