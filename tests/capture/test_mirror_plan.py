"""The plan of the mirror against a small model of the kernel: whatever is there, one filter a direction, then none."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.capture import mirror_plan as plan
from dpi_dual.capture import tc
from dpi_dual.capture.links import Address, Link
from dpi_dual.capture.tc import Filter

TAP, WAN = 9, 2


def link(index: int = WAN, name: str = "eth0", **changes: object) -> Link:
    plain = Link(index, name, "", 1, 1, "02:00:00:00:00:01", "", 0, 0, 0, 0, 0, 0, 0, 0)
    return replace(plain, **changes)  # type: ignore[arg-type]


def tap(**changes: object) -> Link:
    ours = {"kind": "ifb", "mac": plan.MARK_MAC, "alias": plan.ALIAS, "flags": 0x81}
    return link(TAP, "tap0", **{**ours, **changes})


def entry(direction: str, priority: int, cookie: bytes = b"", target: int = 5, handle: int = 0x80000800) -> Filter:
    parent = tc.PARENTS[direction]
    return Filter(parent, priority, tc.PROTOCOL_ALL, handle, "u32", 0, cookie, target, bool(cookie), 0, 0, 0, 0)


def view(source: plan.Source, capture: Link | None, **changes: object) -> plan.View:
    return replace(plan.View("tap0", capture, (source,), (), (), ()), **changes)  # type: ignore[arg-type]


def done(source: plan.Source, steps: list[plan.Step]) -> plan.Source:
    """The source as the kernel would have it after these steps."""
    for step in steps:
        hook, listings = source.hook, {d: list(source.listing(d)) for d in plan.DIRECTIONS}
        match step:
            case plan.AddHook(_, kind):
                assert not hook
                hook = kind
            case plan.DeleteHook(_, kind):
                assert hook == kind
                hook, listings = "", {d: [] for d in plan.DIRECTIONS}
            case plan.AddFilter(_, parent, priority, target, cookie):
                assert hook
                direction = "egress" if hook == "clsact" and parent == tc.PARENTS["egress"] else "ingress"
                assert all(found.priority != priority for found in listings[direction])
                listings[direction].append(entry(direction, priority, cookie, target))
            case plan.DeleteFilter(_, parent, priority, _, handle, _):
                direction = "egress" if hook == "clsact" and parent == tc.PARENTS["egress"] else "ingress"
                listings[direction] = [
                    found
                    for found in listings[direction]
                    if found.priority != priority or (handle and found.handle != handle)
                ]
        source = replace(source, hook=hook, listings={d: tuple(found) for d, found in listings.items()})
    return source


owners = st.lists(st.integers(1, 70), unique=True, max_size=12)


@given(owners, owners, st.sampled_from(["", "clsact", "ingress"]), st.booleans())
def test_it_settles_in_one_go_and_goes_without_a_trace(
    ingress: list[int], egress: list[int], hook: str, shaped: bool
) -> None:
    listings = {
        "ingress": tuple(entry("ingress", priority) for priority in ingress if hook),
        "egress": tuple(entry("egress", priority) for priority in egress if hook == "clsact"),
    }
    before = plan.Source("eth0", link(), hook, listings)
    source = done(before, plan.steps(before, TAP, shaped))
    assert plan.steps(source, TAP, shaped) == []
    shapers = frozenset({"eth0"} if shaped else ())
    assert plan.is_settled(view(source, tap(), shapers=shapers), "software")
    both = source.hook == "clsact"
    assert [plan.count(source, d, TAP) for d in plan.DIRECTIONS] == [1, 1 if both else 0]
    assert plan.is_complete(view(source, tap(), shapers=shapers)) is both
    for direction in plan.DIRECTIONS:
        for ours in source.ours(direction):
            assert all(ours.priority != found.priority for d in plan.DIRECTIONS for found in before.listing(d))
    after = done(source, plan.steps(source, 0, shaped))
    assert after.hook == before.hook
    assert [after.listing(d) for d in plan.DIRECTIONS] == [before.listing(d) for d in plan.DIRECTIONS]
    assert plan.is_removed(view(after, None))


@given(
    st.lists(st.tuples(st.sampled_from(plan.DIRECTIONS), st.integers(1, 70), st.sampled_from([0, 4, TAP])), max_size=8)
)
def test_left_over_filters_of_ours_are_replaced_by_one_a_direction(found: list[tuple[str, int, int]]) -> None:
    listings: dict[str, tuple[Filter, ...]] = {"ingress": (), "egress": ()}
    for direction, priority, target in found:
        if all(priority != known.priority for known in listings[direction]):
            listings[direction] += (entry(direction, priority, tc.COOKIE_FILTER_AND_HOOK, target),)
    source = plan.Source("eth0", link(), "clsact", listings)
    source = done(source, plan.steps(source, TAP, False))
    assert [plan.count(source, d, TAP) for d in plan.DIRECTIONS] == [1, 1]
    assert [len(source.listing(d)) for d in plan.DIRECTIONS] == [1, 1]
    if found:
        assert done(source, plan.steps(source, 0, False)).hook == ""


def test_an_owner_whose_filters_begin_at_one_does_not_make_it_move_for_ever() -> None:
    source = plan.Source("eth0", link(), "clsact", {"ingress": (entry("ingress", 1),), "egress": (entry("egress", 2),)})
    source = done(source, plan.steps(source, TAP, False))
    assert plan.steps(source, TAP, False) == []
    assert plan.behind(source, "ingress") and plan.behind(source, "egress")


def test_shaping_by_sqm_makes_our_clsact_give_way_and_come_back() -> None:
    source = plan.Source("eth0", link())
    source = done(source, plan.steps(source, TAP, False))
    assert source.hook == "clsact"
    source = done(source, plan.steps(source, TAP, True))
    assert source.hook == "ingress" and plan.steps(source, TAP, True) == []
    source = done(source, plan.steps(source, TAP, False))
    assert source.hook == "clsact" and plan.steps(source, TAP, False) == []


def test_a_missing_source_leaves_nothing_to_do() -> None:
    assert plan.steps(plan.Source("eth0", None), TAP, False) == []
    assert plan.is_settled(view(plan.Source("eth0", None), tap()), "software")
    assert not plan.is_complete(view(plan.Source("eth0", None), tap()))


@pytest.mark.parametrize(
    ("capture", "ours"),
    [
        (tap(), True),
        (tap(alias=""), True),
        (tap(mac="02:00:00:00:00:09"), True),
        (tap(mac="02:00:00:00:00:09", alias=""), False),
        (tap(kind="bridge"), False),
        (tap(kind=""), False),
    ],
)
def test_ours_is_told_by_kind_and_mark(capture: Link, ours: bool) -> None:
    assert plan.is_ours(capture) is ours


@pytest.mark.parametrize(
    ("name", "capture", "code"),
    [
        ("tap0", tap(), ""),
        ("tap0", None, ""),
        ("eth0", link(), "mirror_loop"),
        ("tap0", tap(master=7), "mirror_bad_interface"),
        ("tap0", tap(flags=0x9), "mirror_bad_interface"),
        ("tap0", tap(lower=WAN), "mirror_loop"),
        ("", None, "mirror_bad_interface"),
        ("a" * 16, None, "mirror_bad_interface"),
        ("..", None, "mirror_bad_interface"),
        ("a/b", None, "mirror_bad_interface"),
        ("a b", None, "mirror_bad_interface"),
        ("a\n", None, "mirror_bad_interface"),
    ],
)
def test_where_copies_must_not_go(name: str, capture: Link | None, code: str) -> None:
    seen = view(plan.Source("eth0", link()), capture, interface=name)
    assert plan.objection(seen)[0] == code
    assert not code or not plan.is_complete(seen)


def test_an_interface_with_an_address_is_in_use_but_not_for_a_link_local_one() -> None:
    seen = view(plan.Source("eth0", link()), tap(kind="dummy", mac="02:00:00:00:00:07", alias=""))
    local = Address(TAP, ipaddress.IPv6Interface("fe80::1/64"))
    assert plan.objection(replace(seen, addresses=(local,)))[0] == ""
    real = Address(TAP, ipaddress.IPv4Interface("192.0.2.1/24"))
    assert plan.objection(replace(seen, addresses=(local, real)))[0] == "mirror_bad_interface"
