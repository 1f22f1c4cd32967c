"""Half-space trees of `river`, an optional library: how much of what was ordinary lies near a point."""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Callable
from typing import Any

#: Coarse on purpose: a cell is about a third of each feature's range, so that drift stays within what is known.
TREES, HEIGHT, WINDOW = 8, 5, 32
#: The same trees for every place and every start: a verdict that changes with a dice roll helps nobody.
SEED = 7
#: Up to here by the model's measure nothing is strange, and so much of the way from there to 1 is all of it.
USUAL, WHOLE = 0.35, 0.75
RARE = 16

MakeTrees = Callable[..., Any]


def find() -> tuple[MakeTrees | None, str]:
    """The library's class, or none and why; empty when it is merely not installed.

    Takes a second and 100 MB for scipy: for the analyser's process, in a thread, and never for mitmproxy's.
    """
    if importlib.util.find_spec("river") is None:
        return None, ""
    try:
        from river.anomaly import HalfSpaceTrees
    except (ImportError, AttributeError, ValueError, OSError) as error:
        # A numpy that scipy was not built for shows as any of these.
        return None, f"the library river is installed but cannot be used: {str(error)[:200]}"
    return HalfSpaceTrees, ""


class Trees:
    """Those of one place; points are numbers from 0 to 1 by feature."""

    def __init__(self, make: MakeTrees) -> None:
        self._make = make
        self._model: Any = None
        self._learnt = 0
        self._ordinary: deque[float] = deque(maxlen=2 * WINDOW)

    def learn(self, point: dict[int, float]) -> None:
        """An ordinary one."""
        if self._model is None:
            limits = dict.fromkeys(point, (0.0, 1.0))
            self._model = self._make(n_trees=TREES, height=HEIGHT, window_size=WINDOW, limits=limits, seed=SEED)
        if self._learnt >= WINDOW:
            self._ordinary.append(float(self._model.score_one(point)))
        self._model.learn_one(point)
        self._learnt += 1

    def strangeness(self, point: dict[int, float]) -> float | None:
        """0 where ordinary points are, 1 where none ever was; None while too little is known.

        The model's own measure rises with the rarity of a kind; one in RARE requests is rare, and ordinary.
        """
        if len(self._ordinary) < WINDOW:
            return None
        usual = max(USUAL, sorted(self._ordinary)[-len(self._ordinary) // RARE])
        return min(max((float(self._model.score_one(point)) - usual) / ((1 - usual) * WHOLE), 0.0), 1.0)
