"""Figures in Prometheus's text format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable

from dpi_dual.export.figures import Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(found: Iterable[Family]) -> str:
    """One block a metric; metrics without values are left out."""
    lines: list[str] = []
    for family in found:
        if not family.values:
            continue
        lines.append(f"# HELP {family.name} {_escaped(family.help, quotes=False)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.values:
            inside = ",".join(f'{name}="{_escaped(content)}"' for name, content in labels.items())
            lines.append(f"{family.name}{{{inside}}} {_number(value)}" if inside else f"{family.name} {_number(value)}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 6))


def _escaped(content: str, quotes: bool = True) -> str:
    plain = content.replace("\\", "\\\\").replace("\n", "\\n")
    return plain.replace('"', '\\"') if quotes else plain
