"""The visitors: what is dealt, by whom it is done, and how it is reported."""

from __future__ import annotations

import json
import ssl
from itertools import islice
from pathlib import Path

from lab.attacks import ATTACKS, SERIES
from lab.network import VISITORS, VISITORS6
from lab.visitors import FLOOD_EVERY, ORDINARY, Report, Visitors, attackers, read_report


def visitors(seed: int = 1) -> Visitors:
    return Visitors(seed, ssl.create_default_context())


def test_a_deck_holds_every_attack_and_as_much_browsing() -> None:
    size = 2 * len([*ATTACKS, *SERIES])
    deck = list(islice(visitors().deal(), size))
    assert set(deck) == {*ATTACKS, *SERIES, *ORDINARY}
    assert sum(kind in ORDINARY for kind in deck) == size / 2


def test_floods_are_rare() -> None:
    with_flood = 2 * len([*ATTACKS, *SERIES])
    kinds = list(islice(visitors().deal(), with_flood + (with_flood - 2) * (FLOOD_EVERY - 1)))
    assert kinds.count("flood") == 1
    assert kinds.count("sqli") == FLOOD_EVERY


def test_the_seed_decides_and_attackers_are_not_people() -> None:
    one, same, other = visitors(1), visitors(1), visitors(2)
    assert list(islice(one.deal(), 50)) == list(islice(same.deal(), 50)) != list(islice(other.deal(), 50))
    assert one.attackers == same.attackers != other.attackers
    assert not set(one.attackers) & set(one.people)
    assert {*one.attackers, *one.people} == {*VISITORS, *VISITORS6}
    assert one.attackers == attackers(1)
    assert {*attackers(1, ipv6=False)} < {*VISITORS}


def test_chosen_kinds_only() -> None:
    assert set(islice(visitors().deal(["xss", "reading"]), 20)) == {"xss", "reading"}
    assert set(islice(visitors().deal(["xss"]), 20)) == {"xss"}


def test_the_report_is_bounded_and_replaced(tmp_path: Path) -> None:
    report = Report(tmp_path / "visitors.json")
    line = {"kind": "xss", "attack": True, "requests": 1, "refused": 1, "forged": True, "ok": True}
    report.add(line)
    for number in range(100):
        report.add({**line, "ok": False, "error": f"no {number}"})
    report.write()
    read = read_report(tmp_path)
    assert read["sums"]["visits"] == read["sums"]["xss"] == read["sums"]["attacks"] == read["sums"]["refused"] == 101
    assert len(read["errors"]) == 20 and read["errors"][-1]["error"] == "no 99"
    assert [path.name for path in tmp_path.iterdir()] == ["visitors.json"]
    assert json.loads((tmp_path / "visitors.json").read_text()) == read


def test_no_report_yet(tmp_path: Path) -> None:
    assert read_report(tmp_path) == {"sums": {}, "errors": []}
