"""How far a request is from what ordinary ones at its host and path look like, learnt online.

A robust statistic says how far; where `river` is installed, its half-space trees must agree: they know a place that
has two kinds of ordinary requests, of which the statistic would find one odd. Neither is ever a reason to block.
"""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict, deque
from statistics import median
from typing import NamedTuple

from dpi_dual.mitm.trees import MakeTrees, Trees
from dpi_dual.waf.request import Request

MAX_PLACES = 2_000
#: Trees take some 125 KB a place; the statistic, 12.
MAX_TREES = 200
#: The newest ordinary requests of a place; fewer than LEAST say nothing.
SAMPLES, LEAST = 64, 24
#: Distance, in deviations over all features together, where suspicion begins and where it is whole.
FROM, WHOLE = 7.0, 17.0
#: What one feature counts at most: a text that is only longer than the others does not alarm.
MOST = 9.0
MAX_TEXT = 8_192


class Features(NamedTuple):
    """What is measured of the texts that a request carries."""

    length: float
    """log₂ of the characters of all values; 0: there is no text."""
    parameters: float
    """log₂ of their number."""
    odd: float
    """Share of characters that are neither letters, digits, blanks nor plain punctuation."""
    disorder: float
    """Bits a character of entropy above what a text of words has; below it for endless repetition."""


#: Least spread of each: places where all requests are equal must not cry at the first that differs a little.
_FLOOR = Features(0.75, 0.7, 0.06, 0.35)
#: Middle and spread of texts in general: what a place is measured by whose requests carried none so far.
_GENERAL = Features(5.0, 1.0, 0.08, 0.0), Features(1.5, 1.0, 0.08, 0.5)
#: Entropy of prose; a short text cannot have more than the logarithm of its length.
_PROSE_BITS = 4.2
#: The range of each that the trees divide.
_RANGE = Features(16.0, 8.0, 1.0, 8.0)

_TEXTS = frozenset({"args", "names", "body", "xml", "file_content"})
_VARIABLE = re.compile(r"\d+|[0-9a-fA-F]{8,}|[^/]{40,}")

Place = tuple[str, str, str]


def features(request: Request) -> Features:
    """Those of all parameters together, as the application would read them."""
    values = [field.value for field in request.fields if field.kind in _TEXTS]
    text = "".join(values)[:MAX_TEXT]
    if not text:
        return Features(0.0, 0.0, 0.0, 0.0)
    odd = sum(not (char.isalnum() or char in " -_.@,") for char in text)
    return Features(
        math.log2(1 + sum(map(len, values))),
        math.log2(1 + len(values)),
        odd / len(text),
        _entropy(text) - min(math.log2(len(text)), _PROSE_BITS),
    )


def _entropy(text: str) -> float:
    total = len(text)
    return -sum(count / total * math.log2(count / total) for count in Counter(text).values())


def place_of(method: str, host: str, path: str) -> Place:
    """Requests that are of one kind: numbers and long names in a path are taken for variables."""
    return (method, host, _VARIABLE.sub("*", path[:200]))


class Anomaly:
    """One for all places; the one not asked for longest is forgotten first."""

    def __init__(self, max_places: int = MAX_PLACES, max_trees: int = MAX_TREES) -> None:
        self._samples: OrderedDict[Place, deque[Features]] = OrderedDict()
        self._trees: OrderedDict[Place, Trees] = OrderedDict()
        self._max, self._max_trees = max_places, max_trees
        self._make: MakeTrees | None = None
        self.worth_trees = False
        """Whether some place has been asked for so often that trees would have something to learn."""

    def use(self, make: MakeTrees) -> None:
        """Adds trees, from here on: they learn before they say anything."""
        self._make = make

    @property
    def model(self) -> str:
        """river or statistic."""
        return "statistic" if self._make is None else "river"

    def score(self, place: Place, found: Features) -> int:
        """0 (ordinary, or too little known) to 100."""
        samples = self._samples.get(place)
        if samples is None or len(samples) < LEAST or not found.length:
            return 0
        far = min(max((_distance(samples, found) - FROM) / (WHOLE - FROM), 0.0), 1.0)
        trees = self._trees.get(place)
        if far and trees is not None:
            strange = trees.strangeness(_scaled(found))
            far = far if strange is None else min(far, strange)
        return round(100 * far)

    def learn(self, place: Place, found: Features) -> None:
        """An ordinary request: no rule matched, and its origin was content with it.

        What was found odd is learnt too: the middle of 64 does not move for a few, and follows what has come to stay.
        """
        samples = self._samples.get(place)
        if samples is None:
            if len(self._samples) >= self._max:
                forgotten, _ = self._samples.popitem(last=False)
                self._trees.pop(forgotten, None)
            samples = self._samples[place] = deque(maxlen=SAMPLES)
        else:
            self._samples.move_to_end(place)
        samples.append(found)
        # Most places are asked for a few times only; trees are for those that are worth them.
        if found.length and len(samples) >= LEAST:
            self.worth_trees = True
            if self._make is not None:
                self._grow(self._make, place, found)

    def _grow(self, make: MakeTrees, place: Place, found: Features) -> None:
        trees = self._trees.get(place)
        if trees is None:
            if len(self._trees) >= self._max_trees:
                self._trees.popitem(last=False)
            trees = self._trees[place] = Trees(make)
        else:
            self._trees.move_to_end(place)
        trees.learn(_scaled(found))


def _scaled(found: Features) -> dict[int, float]:
    length, parameters, odd, disorder = (value / size for value, size in zip(found, _RANGE, strict=True))
    return {0: min(length, 1.0), 1: min(parameters, 1.0), 2: odd, 3: min(max(disorder + 0.5, 0.0), 1.0)}


def _distance(samples: deque[Features], found: Features) -> float:
    texts = [sample for sample in samples if sample.length]
    total = 0.0
    for index, value in enumerate(found):
        if len(texts) < LEAST:
            middle, spread = _GENERAL[0][index], _GENERAL[1][index]
        else:
            column = [sample[index] for sample in texts]
            middle = median(column)
            # 1.4826 median absolute deviations are one standard deviation of what is normally distributed.
            spread = max(1.4826 * median(abs(other - middle) for other in column), _FLOOR[index])
        total += min(abs(value - middle) / spread, MOST) ** 2
    return math.sqrt(total)
