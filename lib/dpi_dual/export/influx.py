"""Figures as InfluxDB's line protocol."""

from __future__ import annotations

from collections.abc import Iterable

from dpi_dual.export.figures import Family

_IN_TAGS = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ ", "\n": r"\ ", "\r": r"\ ", "\\": "/"})


def lines(found: Iterable[Family], sensor: str, at: float) -> str:
    """One line a value: the metric is the measurement, its labels and the sensor are tags."""
    nanoseconds = int(at * 1000) * 1_000_000
    rows = []
    for family in found:
        for labels, value in family.values:
            tags = {"sensor": sensor, **{name: content for name, content in labels.items() if content}}
            inside = ",".join(f"{name}={content.translate(_IN_TAGS)}" for name, content in sorted(tags.items()))
            rows.append(f"{family.name},{inside} value={float(value)!r} {nanoseconds}")
    return "\n".join(rows) + "\n"
