"""Tries are counted by address, forgotten after a while, and never without bound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpi_dual.rest.throttle import REMEMBERED, TRIES, WINDOW_S, Throttle


def test_tries_are_counted_by_address_and_network(tmp_path: Path) -> None:
    now = [1000.0]
    throttle = Throttle(str(tmp_path / "run" / "logins.json"), lambda: now[0])
    assert [throttle.tried("192.0.2.1") for _ in range(TRIES)] == [0] * TRIES
    assert throttle.tried("192.0.2.1") == WINDOW_S
    assert throttle.tried("192.0.2.2") == 0
    assert [throttle.tried(f"2001:db8::{n:x}") for n in range(TRIES)] == [0] * TRIES
    assert throttle.tried("2001:db8::ffff%eth0") > 0
    assert throttle.tried("2001:db8:0:1::1") == 0
    now[0] += WINDOW_S
    assert throttle.tried("192.0.2.1") == 0


def test_a_clock_that_jumps_back_locks_nobody_out(tmp_path: Path) -> None:
    now = [1000.0]
    throttle = Throttle(str(tmp_path / "logins.json"), lambda: now[0])
    for _ in range(TRIES + 1):
        throttle.tried("192.0.2.1")
    now[0] = 10.0
    assert throttle.tried("192.0.2.1") == 0


def test_a_right_password_begins_the_count_anew(tmp_path: Path) -> None:
    throttle = Throttle(str(tmp_path / "logins.json"))
    for _ in range(3 * TRIES):
        assert throttle.tried("192.0.2.1") == 0
        throttle.passed("192.0.2.1")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"192.0.2.1": 5}', '{"192.0.2.1": [1]}', "\x00\x00"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "logins.json"
    path.write_text(text)
    assert Throttle(str(path)).tried("192.0.2.1") == 0
    assert json.loads(path.read_text())["192.0.2.1"][0] == 1


def test_many_addresses_take_no_more_room(tmp_path: Path) -> None:
    path = tmp_path / "logins.json"
    throttle = Throttle(str(path))
    for number in range(REMEMBERED + 20):
        throttle.tried(f"192.0.{number // 256}.{number % 256}")
    assert len(json.loads(path.read_text())) == REMEMBERED
    assert path.stat().st_mode & 0o777 == 0o600
