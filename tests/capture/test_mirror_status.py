"""The words of the mirror's status: counters as the API has them, and one problem for each thing that is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dpi_dual.capture import mirror_plan as plan
from dpi_dual.capture import mirror_status, tc
from dpi_dual.capture.links import Link
from dpi_dual.capture.tc import Filter
from dpi_dual.model import Problem

TAP = Link(9, "tap0", "ifb", 1, 0x81, plan.MARK_MAC, plan.ALIAS, 0, 0, 30, 0, 3000, 0, 30, 0)
WAN = Link(2, "eth0", "", 1, 1, "02:00:00:00:00:01", "", 0, 0, 0, 0, 0, 0, 0, 0)


def entry(direction: str, packets: int, size: int, target: int = 9) -> Filter:
    priority = plan.PRIORITY[direction]
    cookie = tc.COOKIE_FILTER_AND_HOOK
    return Filter(
        tc.PARENTS[direction], priority, tc.PROTOCOL_ALL, 1, "matchall", 0, cookie, target, True, packets, size, 0, 2
    )


GOOD = plan.Source(
    "eth0", WAN, "clsact", {"ingress": (entry("ingress", 10, 860),), "egress": (entry("egress", 20, 2000),)}
)
VIEW = plan.View("tap0", TAP, (GOOD,), (), (), ())


def test_packets_and_bytes_are_those_of_the_copies() -> None:
    answer = mirror_status.describe(VIEW, "software")
    assert answer["complete"] and answer["exists"] and answer["up"] and answer["ours"]
    assert answer["drops"] == 4 and answer["packets_mirrored"] == 30 - 4
    assert answer["bytes_mirrored"] == 860 + 10 * 14 + 2000
    assert answer["sources"][0]["ingress"] == {
        "present": True,
        "count": 1,
        "kind": "matchall",
        "priority": 49,
        "packets": 10,
        "bytes": 1000,
        "drops": 0,
        "overlimits": 2,
    }
    assert mirror_status.problems(VIEW, "software") == []


def test_in_hardware_mode_the_interface_itself_is_counted() -> None:
    answer = mirror_status.describe(VIEW, "hardware")
    assert (answer["sources"], answer["packets_mirrored"], answer["bytes_mirrored"]) == ([], 30, 3000)
    assert answer["complete"] and mirror_status.problems(VIEW, "hardware") == []


DOWN = replace(TAP, flags=0x80)


@pytest.mark.parametrize(
    ("view", "mode", "codes"),
    [
        (replace(VIEW, capture=None), "software", ["capture_interface_missing"]),
        (replace(VIEW, capture=None), "hardware", ["capture_interface_missing"]),
        (replace(VIEW, capture=DOWN), "software", ["capture_interface_down"]),
        (replace(VIEW, capture=DOWN), "hardware", ["capture_interface_down"]),
        (replace(VIEW, sources=()), "software", ["mirror_source_missing"]),
        (replace(VIEW, sources=(plan.Source("eth0", None),)), "software", ["mirror_source_missing"]),
        (replace(VIEW, sources=(plan.Source("eth0", WAN, "clsact", {}),)), "software", ["mirror_incomplete"]),
        (replace(VIEW, sources=(replace(GOOD, hook="ingress"),)), "software", ["mirror_egress_impossible"]),
        (replace(VIEW, sources=(replace(GOOD, link=replace(WAN, flags=0)),)), "software", ["mirror_source_down"]),
        (
            replace(VIEW, sources=(replace(GOOD, link=replace(WAN, hardware=512)),)),
            "software",
            ["mirror_source_not_ethernet"],
        ),
        (replace(VIEW, capture=replace(TAP, master=4)), "software", ["mirror_bad_interface"]),
    ],
)
def test_each_fault_is_one_problem_in_plain_words(view: plan.View, mode: str, codes: list[str]) -> None:
    found = mirror_status.problems(view, mode)
    assert [problem.code for problem in found] == codes
    assert all(problem.message and problem.severity in ("info", "warning", "error") for problem in found)


def test_the_report_carries_problems_as_objects_and_names_offload() -> None:
    found = [Problem("flow_offload_software", "it is on"), Problem("mirror_incomplete", "half of it")]
    report = mirror_status.report(VIEW, "software", found)
    assert report["offload"] == ["flow_offload_software"]
    assert [problem["code"] for problem in report["problems"]] == ["flow_offload_software", "mirror_incomplete"]
