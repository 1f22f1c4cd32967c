"""The anomaly score, by statistic or trees: what is wildly unlike the rest is told, drift is not."""

from __future__ import annotations

import importlib.util
import sys
from random import Random
from string import ascii_letters, digits
from urllib.parse import quote

import pytest

from dpi_dual.mitm import trees
from dpi_dual.mitm.anomaly import LEAST, Anomaly, Features, features, place_of
from dpi_dual.waf.request import parse
from dpi_dual.waf.verdict import ALERT_THRESHOLD


def test_numbers_in_a_path_are_variables() -> None:
    assert place_of("GET", "h", "/item/12/edit") == place_of("GET", "h", "/item/99999/edit")
    assert place_of("GET", "h", "/item/12/edit") != place_of("POST", "h", "/item/12/edit")


WORDS = ["red shoes", "garden chair", "tea", "winter jacket men", "usb cable 2m", "blue lamp", "coffee grinder", "x"]

SEARCH = ("GET", "h", "/search")

#: What is new at a place and yet nothing to tell of.
DRIFT = {
    "long": "I am looking for a garden table that is not too heavy, for a small balcony; any ideas? " * 2,
    "address": "https://www.example.org/items/view?id=42&sort=price",
    "umlauts": "Gartenstühle für sechs Personen, große Auswahl",
    "kana": "ガーデンチェア セール",
    "identifier": "6f1d3c1e-9a53-4f7e-8f0e-0b9cbb6a7f11",
    "click": "Cj0KCQiAgJa6BhCOARIsAMiL7V8dCkyvDOcT8xVQzkqJq3nGx0aFZkXo7o2uYb5bq0oJwGkZ8yJ5oUYaAhQfEALw",
    "paragraph": "The quick brown fox, he said, jumped over the lazy dog; it was late. " * 12,
}

_RANDOM = Random(1)

#: What is wildly unlike anything asked there before, and matches no rule.
WILD = {
    "brackets": "([{<" * 200,
    "binary": "".join(chr(_RANDOM.randint(1, 255)) for _ in range(700)),
    "printable": "".join(chr(_RANDOM.randint(33, 126)) for _ in range(900)),
    "sealed": "".join(_RANDOM.choices(ascii_letters + digits + "+/", k=4000)),
}


def asked(value: str) -> Features:
    return features(parse("GET", "/search?q=" + quote(value)))


def told(value: int) -> bool:
    return value >= ALERT_THRESHOLD


@pytest.fixture(params=["statistic", "river"])
def anomaly(request: pytest.FixtureRequest) -> Anomaly:
    """Without the library, and with the real one."""
    made = Anomaly()
    if request.param == "river":
        pytest.importorskip("river", reason="needs river (the extra `anomaly`)")
        make, problem = trees.find()
        assert make is not None, problem
        made.use(make)
    assert made.model == request.param
    return made


@pytest.mark.parametrize("count", [30, 300])
def test_what_is_wildly_unlike_the_rest_is_told_and_drift_is_not(anomaly: Anomaly, count: int) -> None:
    assert not told(anomaly.score(SEARCH, asked(WILD["brackets"]))), "nothing is known yet"
    for number in range(count):
        anomaly.learn(SEARCH, asked(WORDS[number % len(WORDS)]))
    assert [word for word in [*WORDS, "garden table round"] if anomaly.score(SEARCH, asked(word))] == []
    assert [name for name, value in DRIFT.items() if told(anomaly.score(SEARCH, asked(value)))] == []
    assert [name for name, value in WILD.items() if not told(anomaly.score(SEARCH, asked(value)))] == []


def test_ten_thousand_parameters_are_an_anomaly(anomaly: Anomaly) -> None:
    for number in range(200):
        anomaly.learn(SEARCH, asked(WORDS[number % len(WORDS)]))
    flood = "&".join(f"a{number}={number}" for number in range(10_000))
    assert told(anomaly.score(SEARCH, features(parse("GET", "/search?" + flood))))


def test_pages_asked_without_parameters_may_get_ordinary_ones(anomaly: Anomaly) -> None:
    home = ("GET", "h", "/")
    for _ in range(200):
        anomaly.learn(home, features(parse("GET", "/")))
    assert [name for name, value in DRIFT.items() if told(anomaly.score(home, asked(value)))] == []
    assert told(anomaly.score(home, asked(WILD["brackets"])))


def test_what_comes_to_stay_becomes_ordinary(anomaly: Anomaly) -> None:
    for number in range(200):
        anomaly.learn(SEARCH, asked(WORDS[number % len(WORDS)]))
    assert told(anomaly.score(SEARCH, asked(WILD["brackets"])))
    for _ in range(3):
        anomaly.learn(SEARCH, asked(WILD["brackets"]))
    assert told(anomaly.score(SEARCH, asked(WILD["brackets"]))), "three are no custom"
    for _ in range(80):
        anomaly.learn(SEARCH, asked(WILD["brackets"]))
    assert not told(anomaly.score(SEARCH, asked(WILD["brackets"])))


def test_trees_know_a_place_with_two_kinds_of_requests() -> None:
    pytest.importorskip("river", reason="needs river (the extra `anomaly`)")
    make, _ = trees.find()
    assert make is not None
    plain, both = Anomaly(), Anomaly()
    both.use(make)

    def sent(number: int) -> Features:
        """Small ones, and every fourth a large one full of punctuation."""
        value = WILD["printable"][: 600 + number % 200] if number % 4 == 0 else "red shoes"
        return asked(value)

    scores: dict[str, list[int]] = {"plain": [], "both": []}
    for number in range(600):
        found = sent(number)
        if number >= 200:
            scores["plain"].append(plain.score(SEARCH, found))
            scores["both"].append(both.score(SEARCH, found))
        plain.learn(SEARCH, found)
        both.learn(SEARCH, found)
    alarms = {name: sum(map(told, rows)) for name, rows in scores.items()}
    assert alarms["plain"] >= 50, "else there is nothing to improve on"
    assert alarms["both"] * 5 <= alarms["plain"]


def test_trees_are_bounded(anomaly: Anomaly) -> None:
    small = Anomaly(max_places=50, max_trees=5)
    if anomaly.model == "river":
        make, _ = trees.find()
        assert make is not None
        small.use(make)
    for number in range(100):
        for _ in range(LEAST):
            small.learn(("GET", "h", f"/{number}"), asked("tea"))
    assert len(small._samples) == 50
    assert len(small._trees) == (5 if anomaly.model == "river" else 0)


def test_without_the_library_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert trees.find() == (None, "")


def test_a_broken_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("river", reason="needs river (the extra `anomaly`)")
    monkeypatch.setitem(sys.modules, "river.anomaly", None)
    make, problem = trees.find()
    assert make is None
    assert problem.startswith("the library river is installed but cannot be used")
