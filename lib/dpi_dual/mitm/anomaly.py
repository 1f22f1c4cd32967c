"""How far a request is from what ordinary ones at its host and path look like: robust statistics, learnt online."""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict, deque
from statistics import median

from dpi_dual.waf.request import Request

MAX_KEYS = 2_000
#: The newest ordinary requests of a place; fewer than LEAST say nothing.
SAMPLES, LEAST = 64, 24
#: Deviations, in units of the median absolute one (scaled to a normal deviation), where suspicion begins and is whole.
FROM, WHOLE = 6.0, 16.0
#: What one feature can prove alone: never enough to block by itself.
WEIGHT = 0.55
MAX_TEXT = 8_192

Features = tuple[float, ...]

#: Least spread of each feature: places where all requests are equal must not cry at the first that differs a little.
_FLOOR = (0.35, 0.7, 0.05, 0.3)
_VARIABLE = re.compile(r"\d+|[0-9a-fA-F]{8,}|[^/]{40,}")


def features(request: Request) -> Features:
    """Length (log₂), number of parameters (log₂), share of unusual characters, entropy in bits a character."""
    values = [field.value for field in request.fields if field.kind in ("args", "names", "body", "xml", "file_content")]
    text = "".join(values)[:MAX_TEXT]
    if not text:
        return (0.0, 0.0, 0.0, 0.0)
    odd = sum(not (char.isalnum() or char in " -_.@,") for char in text)
    length = sum(map(len, values))
    return (math.log2(1 + length), math.log2(1 + len(values)), odd / len(text), _entropy(text))


def _entropy(text: str) -> float:
    total = len(text)
    return -sum(count / total * math.log2(count / total) for count in Counter(text).values())


def place_of(method: str, host: str, path: str) -> tuple[str, str, str]:
    """Requests that are of one kind: numbers and long names in a path are taken for variables."""
    return (method, host, _VARIABLE.sub("*", path[:200]))


class Anomaly:
    """One for all places; the one not asked for longest is forgotten first."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._samples: OrderedDict[tuple[str, str, str], deque[Features]] = OrderedDict()
        self._max = max_keys

    def score(self, place: tuple[str, str, str], found: Features) -> int:
        """0 (ordinary, or too little known) to 100."""
        samples = self._samples.get(place)
        if samples is None or len(samples) < LEAST:
            return 0
        ordinary = 1.0
        for index, value in enumerate(found):
            column = [sample[index] for sample in samples]
            middle = median(column)
            spread = max(1.4826 * median(abs(other - middle) for other in column), _FLOOR[index])
            far = (abs(value - middle) / spread - FROM) / (WHOLE - FROM)
            ordinary *= 1 - WEIGHT * min(max(far, 0.0), 1.0)
        return round(100 * (1 - ordinary))

    def learn(self, place: tuple[str, str, str], found: Features) -> None:
        """An ordinary request: no alert, and its origin was content with it."""
        samples = self._samples.get(place)
        if samples is None:
            if len(self._samples) >= self._max:
                self._samples.popitem(last=False)
            samples = self._samples[place] = deque(maxlen=SAMPLES)
        else:
            self._samples.move_to_end(place)
        samples.append(found)
