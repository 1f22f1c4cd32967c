"""What the LAN analysis asks the kernel: who is on the LAN, and what conntrack counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpi_dual.lan.ends import Neighbourhood
from dpi_dual.model import Problem

if TYPE_CHECKING:
    from dpi_dual.capture.conntrack import Table


class Kernel:
    counts_bytes = False
    """Until told otherwise the kernel knows nothing."""

    def neighbourhood(self, interfaces: tuple[str, ...]) -> Neighbourhood | None:
        return None

    def connections(self) -> Table | None:
        return None

    def problems(self, needed: bool) -> list[Problem]:
        return []

    def counters(self) -> dict[str, int]:
        return {}
