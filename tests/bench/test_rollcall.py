"""The roll call: every attack has an address of its own, and the log is what nginx would have written."""

from __future__ import annotations

import re
from collections import Counter

from bench.rollcall import LAST, PEOPLE, STUBBORN, STUBBORN_REQUESTS, access_line, probes, visits
from lab.attacks import ATTACKS, SERIES, Sent
from lab.network import GUEST, VISITORS

_COMBINED = re.compile(r'^(\S+) - - \[[^\]]+ \+0000\] "(\S+) (.*?) HTTP/1\.1" (\d+) \d+ "([^"]*)" "([^"]*)"\n$')


def test_every_attack_is_sent_once_from_an_address_of_its_own() -> None:
    once = [visit for visit in visits() if visit.group == "once"]
    attacks = [visit for visit in once if visit.attack]
    assert Counter(visit.kind for visit in attacks) == {
        **{kind: len(sent) for kind, sent in ATTACKS.items()},
        **dict.fromkeys(SERIES, 1),
    }
    assert len({visit.ip for visit in visits()} | {GUEST, *VISITORS}) == len({v.ip for v in visits()}) + 31
    assert max(Counter(visit.ip for visit in once).values()) == 1


def test_who_goes_on_does_so_in_turn_from_one_address() -> None:
    again = [visit for visit in visits() if visit.group == "again"]
    attacks = Counter(visit.ip for visit in again if visit.attack)
    assert list(attacks.values()) == [STUBBORN_REQUESTS] * len(STUBBORN)
    assert len({visit.ip for visit in again if not visit.attack}) == PEOPLE
    assert len({visit.ip for visit in again[: len(STUBBORN) + PEOPLE]}) == len(STUBBORN) + PEOPLE


def test_probes_come_from_addresses_that_nothing_else_has() -> None:
    assert not {visit.ip for visit in probes()} & {visit.ip for visit in visits()}
    assert all(int(visit.ip.rpartition(".")[2]) <= LAST for visit in probes())


def test_the_same_seed_makes_the_same_visits() -> None:
    assert visits(3) == visits(3)
    assert visits(3) != visits(4)


def test_a_line_of_the_access_log() -> None:
    line = access_line("192.0.2.100", 0, Sent("shop", '/a?b="c', headers={"User-Agent": 'Evil "1"'}), 404)
    found = _COMBINED.match(line)
    assert found is not None
    assert found.groups() == ("192.0.2.100", "GET", "/a?b=\\x22c", "404", "-", "Evil \\x221\\x22")
    assert "[01/Jan/1970:00:00:00 +0000]" in line
