"""What clients do over time: each finding told once in a while, within bounded memory."""

from __future__ import annotations

from dpi_dual.mitm.behaviour import Behaviour


def test_a_visitor_is_no_scanner() -> None:
    behaviour = Behaviour()
    found = []
    for number in range(300):
        now = number * 0.2
        found += behaviour.request("a", now)
        found += behaviour.response("a", "h", f"/p{number % 7}", 404 if number % 7 == 0 else 200, now)
        found += behaviour.response("a", "h", "/login", 401 if number % 60 == 0 else 200, now)
    assert found == []


def test_each_finding_is_told_once_in_a_while() -> None:
    behaviour = Behaviour()
    rules = [finding.rule for n in range(24) for finding in behaviour.response("a", "h", f"/x{n}", 404, n * 0.1)]
    assert rules == ["behaviour-path-sweep", "behaviour-path-sweep", "behaviour-not-found"]
    rules = [finding.rule for n in range(10) for finding in behaviour.response("b", "h", "/login", 403, n * 5.0)]
    assert rules == ["behaviour-login-failures"]
    assert behaviour.response("b", "h", "/login", 403, 50.0) == []
    assert [finding.kind for finding in behaviour.response("b", "h", "/login", 403, 106.0)] == []
    for categories in (("path_traversal", "lfi", "rce"), ("xss",)):
        assert behaviour.attacked("c", categories, 1.0) == []
    assert [finding.rule for finding in behaviour.attacked("c", ("lfi",), 2.0)] == ["behaviour-many-categories"]


def test_who_goes_on_is_told_of_again_ever_more_seldom() -> None:
    behaviour = Behaviour()
    told = [n + 1 for n in range(200) if behaviour.response("a", "h", "/login", 401, n * 0.1)]
    assert told == [10, 15, 25, 45, 85, 165]
    told = [n + 1 for n in range(200) if behaviour.response("b", "h", f"/{n}/x", 404, n * 0.1)]
    assert told == [12, 18, 20, 30, 50, 90, 170]


def test_a_page_with_dead_links_that_is_loaded_again_is_no_search() -> None:
    behaviour = Behaviour()
    found = [f for n in range(300) for f in behaviour.response("a", "h", f"/{n % 15}.png", 404, n * 0.1)]
    assert [finding.rule for finding in found] == ["behaviour-path-sweep"]


def test_slow_failures_and_old_misses_do_not_count() -> None:
    behaviour = Behaviour()
    assert [f for n in range(40) for f in behaviour.response("a", "h", "/login", 401, n * 10.0)] == []
    assert [f for n in range(40) for f in behaviour.response("a", "h", f"/{n}", 404, n * 10.0)] == []


def test_the_rate_is_that_of_a_sliding_window() -> None:
    behaviour = Behaviour()
    assert [f for n in range(390) for f in behaviour.request("a", n * 0.025)] == []
    found = [f for n in range(900) for f in behaviour.request("b", n * 0.005)]
    assert [finding.kind for finding in found] == ["rate_limit"]


def test_memory_is_bounded() -> None:
    behaviour = Behaviour(max_clients=100)
    for number in range(1000):
        behaviour.request(str(number), 1.0)
        behaviour.response("one", str(number), f"/{number}", 401, 1.0)
        behaviour.response("one", str(number), f"/{number}", 404, 1.0)
    assert behaviour.counters()["behaviour_clients_forgotten"] == 901
