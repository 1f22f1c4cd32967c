"""What the analyser says of itself: figures, counters and problems, bounded in size, type and number before use."""

from __future__ import annotations

from typing import Any

_NUMBERS = (
    "entries",
    "max_size",
    "requests_total",
    "threats_detected",
    "blocked_count",
    "high_threat_in_buffer",
    "waiting",
    "unreported",
)
#: Those that only grow, and begin at 0 with each analyser.
_TOTALS = ("requests_total", "threats_detected", "blocked_count")
_HIGHEST = 1 << 53


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < _HIGHEST else 0


def _printable(text: object, most: int, instead: str) -> str:
    return "".join(char if char.isprintable() else instead for char in str(text)[:most])


def _counts(given: object, most: int) -> dict[str, int]:
    if not isinstance(given, dict):
        return {}
    return {_printable(name, 255, "."): _count(value) for name, value in list(given.items())[:most]}


class AnalyserFigures:
    """The figures of the analyser that is there, or was there last; totals go on from one to the next."""

    def __init__(self) -> None:
        self._figures: dict[str, Any] = {}
        self._base = dict.fromkeys(_TOTALS, 0)
        self._session = ""
        self.counters: dict[str, int] = {}
        """Drops and oddities, their names prefixed with `mitm_`."""
        self.problems: list[tuple[str, str]] = []
        """Code and message of each problem that it has."""

    def met(self, session: str) -> None:
        """An analyser said which one it is."""
        if session != self._session:
            # Another analyser counts from 0: what the one before had counted stays counted.
            for name in _TOTALS:
                self._base[name] += self.count(name)
            self._figures = {}
            self._session = session

    def left(self) -> None:
        """It is not there any more: what it had counted stays, what was wrong with it does not."""
        self.problems = []

    def take(self, message: dict[str, Any]) -> None:
        """A message whose `figures` is an object; `counters` and `problems` may be anything."""
        given = message["figures"]
        self._figures = {
            **{name: _count(given.get(name)) for name in _NUMBERS},
            "threat_distribution": _counts(given.get("threat_distribution"), 32),
            "top_hosts": _counts(given.get("top_hosts"), 10),
            "tier": "crs" if given.get("tier") == "crs" else "builtin",
            "anomaly_model": "river" if given.get("anomaly_model") == "river" else "statistic",
        }
        counters = _counts(message.get("counters"), 64)
        self.counters = {f"mitm_{name[:48]}": value for name, value in counters.items() if name.isidentifier()}
        problems = message.get("problems")
        self.problems = [
            (str(entry.get("code"))[:64], _printable(entry.get("message"), 300, ""))
            for entry in (problems[:8] if isinstance(problems, list) else [])
            if isinstance(entry, dict)
        ]

    def count(self, name: str) -> int:
        """A number as the analyser said it last, 0 if it did not."""
        return _count(self._figures.get(name))

    def total(self, name: str) -> int:
        """One of the totals since the engine began."""
        return self._base[name] + self.count(name)

    def counts(self, name: str) -> dict[str, int]:
        """`threat_distribution` or `top_hosts`."""
        return dict(self._figures.get(name, {}))

    def word(self, name: str) -> str:
        """`tier` or `anomaly_model`, '' as long as it is not known."""
        return str(self._figures.get(name, ""))
