"""The decisions in memory: whatever LAPI says of them, and lookups that agree with it."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.correlation import crowdsec_decisions
from dpi_dual.correlation.crowdsec_decisions import (
    LONGEST_S,
    Decision,
    Decisions,
    address,
    bounded,
    go_duration_s,
    spelled,
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Table:
    """Decisions with clocks of our own, and what was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.monotonic = Clock()
        self.decisions = Decisions(
            self._hear, clock=lambda: 1_700_000_000 + self.monotonic.now, monotonic=self.monotonic
        )

    def _hear(self, change: str, decision: Decision) -> None:
        self.told.append((change, decision.value))

    def answer(self, full: bool = False, **lists: Any) -> None:
        self.decisions.begin(full)
        for change, items in lists.items():
            for item in items:
                self.decisions.take(change, item)
        self.decisions.end()


def item(value: str, duration: str = "4h0m0s", **more: Any) -> dict[str, Any]:
    scope = "Range" if "/" in value else "Ip"
    made = {"id": 1, "origin": "CAPI", "scenario": "x/y", "scope": scope, "type": "ban"}
    return {**made, "value": value, "duration": duration, **more}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3h59m57.5s", 4 * 3600 - 2.5), ("4h", 14_400), ("-32.5s", -32.5), ("250ms", 0.25), ("-23.9ms", -0.0239),
        ("1µs", 1e-6), ("1h0m0s", 3600), ("1.5h", 5400), ("99999999h", LONGEST_S), ("-99999999h", -LONGEST_S),
        ("", None), ("4", None), ("h", None), ("4 h", None), ("4h;", None), ("1e9s", None), ("٣s", None),
        ("9" * 80 + "s", None), (None, None), (4, None), ("--4h", None),
    ],
)  # fmt: skip
def test_durations_as_go_prints_them(text: object, seconds: float | None) -> None:
    assert go_duration_s(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.4/33",
        "::1%eth0",
        "1.2.3.4/",
        "::/129",
        "1.2.3.4\0",
        "١.2.3.4",
        "1.2.3.4/²",
        None,
        7,
    ],
)
def test_what_is_no_address(text: object) -> None:
    assert address(text) is None


@given(st.one_of(st.ip_addresses(), st.ip_addresses(v=4)), st.integers(0, 128))
def test_addresses_read_and_spelled_as_the_standard_library_does(ip: Any, length: int) -> None:
    network = ipaddress.ip_network(f"{ip}/{min(length, ip.max_prefixlen)}", strict=False)
    found = address(f"{ip}/{network.prefixlen}")
    assert found is not None
    if network.version == 6 and network.network_address.ipv4_mapped is not None and network.prefixlen >= 96:
        assert found[0] == 32
    else:
        assert ipaddress.ip_network(spelled(found)) == network


def test_a_lookup_finds_the_address_then_the_narrowest_network_and_a_ban_before_anything_else() -> None:
    table = Table()
    table.answer(
        full=True,
        new=[item("192.0.2.1"), item("192.0.2.0/24"), item("192.0.0.0/16", type="captcha"), item("2001:db8::/32")],
    )
    find = table.decisions.lookup

    def value(ip: str) -> str:
        found = find(ip)
        return found.value if found else ""

    assert [value(ip) for ip in ("192.0.2.1", "192.0.2.2", "192.0.3.1", "192.1.0.0")] == [
        "192.0.2.1", "192.0.2.0/24", "192.0.0.0/16", "",
    ]  # fmt: skip
    assert value("2001:db8:ffff::1") == "2001:db8::/32" and value("2001:db9::") == ""
    assert find("192.0.2.1/32x") is None and find("192.0.2.0/24") is None and find("") is None
    table.answer(new=[item("192.0.2.9", type="captcha")])
    found = find("192.0.2.9")
    assert found is not None and (found.type, found.value) == ("ban", "192.0.2.0/24")
    assert len(table.decisions) == 5 and table.decisions.ranges == 3


def test_a_decision_says_who_decided_what_and_until_when() -> None:
    table = Table()
    table.answer(full=True, new=[item("192.0.2.1", "90s")])
    table.monotonic.now += 30
    assert table.decisions.lookup("192.0.2.1") == Decision(
        "192.0.2.1", "Ip", "ban", "x/y", "CAPI", 1_700_000_000 + 1000 + 91
    )


def test_what_ran_out_is_not_found_and_told_once() -> None:
    table = Table()
    table.answer(full=True, new=[item("192.0.2.1", "60s"), item("192.0.0.0/16", "2m")])
    table.monotonic.now += 62
    found = table.decisions.lookup("192.0.2.1")
    assert found is not None and found.scope == "Range"
    table.decisions.expire()
    table.answer(deleted=[item("192.0.2.1", "-1s")])
    assert table.told == [("deleted", "192.0.2.1")] and len(table.decisions) == 1


def test_a_full_load_tells_only_what_differs() -> None:
    table = Table()
    table.answer(full=True, new=[item("192.0.2.1"), item("192.0.2.2")])
    assert table.told == []
    table.answer(full=True, new=[item("192.0.2.2"), item("192.0.2.3")], deleted=[item("192.0.2.2", "-4h")])
    assert table.told == [("new", "192.0.2.3"), ("deleted", "192.0.2.1")]
    assert len(table.decisions) == 2


def test_a_full_load_that_breaks_off_forgets_nothing() -> None:
    table = Table()
    table.answer(full=True, new=[item("192.0.2.1"), item("192.0.2.2")])
    table.decisions.begin(True)
    table.decisions.take("new", item("192.0.2.2"))
    table.decisions.abandon()
    table.answer(full=True, new=[item("192.0.2.1")])
    assert table.told == [("deleted", "192.0.2.2")]


@pytest.mark.parametrize("lists", [("new", "deleted"), ("deleted", "new")])
def test_made_again_after_it_was_deleted_whatever_comes_first(lists: tuple[str, str]) -> None:
    table = Table()
    table.answer(full=True, new=[item("192.0.2.1")])
    content = {"new": [item("192.0.2.1", "1h")], "deleted": [item("192.0.2.1", "-1s")]}
    table.answer(**{name: content[name] for name in lists})
    assert table.decisions.lookup("192.0.2.1") is not None


def test_undone_by_us_within_a_network() -> None:
    table = Table()
    table.answer(full=True, new=[item("192.0.2.1"), item("192.0.2.0/25"), item("192.0.0.0/16"), item("192.0.3.1")])
    where = address("192.0.2.0/24")
    assert where is not None
    table.decisions.drop_within(where)
    assert sorted(table.told) == [("deleted", "192.0.2.0/25"), ("deleted", "192.0.2.1")]


def test_bad_decisions_are_counted_and_passed_over() -> None:
    table = Table()
    bad = [
        item("x"), item("192.0.2.1", "soon"), item("192.0.2.1", type=""), item("192.0.2.1", type=7),
        {**item("192.0.2.1"), "value": ["a"]},
    ]  # fmt: skip
    other = [item("DE", scope="Country"), item("AS1", scope=None)]
    quiet = [item("192.0.2.1", "-5s"), item("192.0.2.1", simulated=True)]
    table.answer(full=True, new=[*bad, *other, *quiet, item("192.0.2.7")])
    assert (table.decisions.refused, table.decisions.other_scopes, len(table.decisions)) == (5, 2, 1)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowdsec_decisions, "MAX_DECISIONS", 100)
    monkeypatch.setattr(crowdsec_decisions, "MAX_LABELS", 5)
    table = Table()
    table.answer(
        full=True, new=[item(f"10.0.{n // 250}.{n % 250}", origin=f"o{n}", scenario="s" * 9999) for n in range(150)]
    )
    assert len(table.decisions) == 100 and table.decisions.over_limit == 50
    found = table.decisions.lookup("10.0.0.90")
    assert found is not None and found.origin == "" and found.scenario == ""
    table = Table()
    table.answer(full=True, new=[item("192.0.2.1", type=f"t{n}") for n in range(20)])
    assert len(table.decisions) == crowdsec_decisions.MAX_TYPES


def test_text_is_bounded_and_harmless() -> None:
    assert bounded("a\x1b[31mb\n", 100) == "a.[31mb." and bounded("x" * 999, 10) == "x" * 10 and bounded(["x"]) == ""


@given(
    st.dictionaries(
        st.sampled_from(["id", "origin", "scenario", "scope", "type", "value", "duration", "simulated"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.text(),
            st.sampled_from(["Ip", "Range", "1.2.3.4", "::/0", "4h"]),
            st.lists(st.text()),
        ),
    )
)
def test_no_decision_of_any_shape_raises(found: dict[str, Any]) -> None:
    table = Table()
    table.answer(full=True, new=[found])
    table.answer(new=[found], deleted=[found])
    table.decisions.lookup("1.2.3.4")
