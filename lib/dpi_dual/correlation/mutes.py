"""Events that an owner knows and does not want to be alarmed by: mutes by rule and by source."""

from __future__ import annotations

import ipaddress

from dpi_dual.correlation.actors import Actor, Network
from dpi_dual.correlation.events import Event
from dpi_dual.correlation.store import Store


class Mutes:
    """The mutes in force, in memory; `store` keeps them."""

    def __init__(self, store: Store, now: float) -> None:
        self._store = store
        self._known: list[tuple[str, str, Network | None, float]] = []
        self.load(now)

    def load(self, now: float) -> None:
        """Reads them anew."""
        self._known = [
            (rule, source, _network(source), until_at) for rule, source, _, until_at in self._store.mutes(now)
        ]

    def __len__(self) -> int:
        return len(self._known)

    def match(self, event: Event, actor: Actor, now: float) -> bool:
        """True if nobody wants to hear of this."""
        if not self._known:
            return False
        address = ipaddress.ip_address(actor.ip)
        return any(
            (not rule or rule in (event.rule, event.type))
            and (
                not source
                or source == actor.key
                or (network is not None and network.version == address.version and address in network)
            )
            and (not until_at or now < until_at)
            for rule, source, network, until_at in self._known
        )


def _network(source: str) -> Network | None:
    try:
        return ipaddress.ip_network(source)
    except ValueError:
        return None  # a MAC, or any
