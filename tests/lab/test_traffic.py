"""The client traffic: what is dealt, how it is reported, and what the servers answer."""

from __future__ import annotations

import json
import random
import struct
from itertools import islice
from pathlib import Path

import pytest

from lab import traffic
from lab.servers import NAMES, answer_dns, answer_ntp


def deal(seed: str, count: int, kinds: list[str] | None = None) -> list[tuple[str, int, str]]:
    return list(islice(traffic.deal(random.Random(seed), kinds or list(traffic.KINDS)), count))


def test_one_deck_holds_every_kind_in_both_ip_versions() -> None:
    deck = 2 * sum(copies for _, _, copies in traffic.KINDS.values())
    dealt = deal("1:laptop", deck)
    assert {(kind, version) for kind, version, _ in dealt} == {(k, v) for k in traffic.KINDS for v in (4, 6)}
    assert all(name in NAMES for _, _, name in dealt)


def test_the_seed_decides() -> None:
    assert deal("1:laptop", 50) == deal("1:laptop", 50)
    assert deal("1:laptop", 50) != deal("1:phone", 50)


def test_chosen_kinds_only() -> None:
    assert {kind for kind, _, _ in deal("1:tv", 40, ["dns", "ping"])} == {"dns", "ping"}


def test_the_report_is_bounded_and_replaced(tmp_path: Path) -> None:
    report = traffic.Report("tv", tmp_path / "traffic.tv.json")
    for number in range(100):
        report.add({"kind": "dns", "version": 4, "ok": False, "error": f"no {number}"})
    report.add({"kind": "dns", "version": 4, "ok": True, "bytes": 7})
    report.sums["skipped"] = 3
    report.write()
    read = traffic.read_report(tmp_path, "tv")
    assert read["sums"] == {"done": 1, "errors": 100, "bytes": 7, "dns4": 1, "skipped": 3}
    assert len(read["errors"]) == 20 and read["errors"][-1]["error"] == "no 99"
    assert [path.name for path in tmp_path.iterdir()] == ["traffic.tv.json"]


def test_lines_without_a_report_file(capsys: pytest.CaptureFixture[str]) -> None:
    report = traffic.Report("tv", None)
    report.add({"kind": "dns", "version": 6, "ok": True, "bytes": 0})
    report.write()
    line, sums = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["ok"] and sums["sums"]["dns6"] == 1


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 77, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">xHH", kind, 1)


@pytest.mark.parametrize(
    ("name", "kind", "code", "tail"),
    [
        ("www.youtube.com", 1, 0, bytes((198, 51, 100, 20))),
        ("WWW.YouTube.com", 28, 0, bytes.fromhex("20010db8510000000000000000000020")),
        ("nothing.example.com", 1, 3, b""),
        ("www.youtube.com", 16, 0, b""),  # no TXT record
    ],
)
def test_dns_answers(name: str, kind: int, code: int, tail: bytes) -> None:
    answer = answer_dns(question(name, kind))
    identity, flags, _, answers = struct.unpack_from(">HHHH", answer)
    assert (identity, flags & 15, answers) == (77, code, int(bool(tail)))
    assert answer.endswith(tail)


def test_ntp_answers_echo_the_clients_time() -> None:
    answer = answer_ntp(b"\x23" + bytes(39) + b"ORIGINAL")
    assert len(answer) == 48 and answer[0] == 0x24 and answer[24:32] == b"ORIGINAL"
