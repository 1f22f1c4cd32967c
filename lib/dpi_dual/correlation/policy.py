"""What an event weighs, and who is never banned: the weights of UCI and the whitelist of addresses and networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from dpi_dual.config import defaults
from dpi_dual.correlation.actors import Address, Network
from dpi_dual.correlation.events import WEIGHED
from dpi_dual.settings import Settings

FACTORS = {"low": 0.7, "medium": 1.0, "high": 1.3}


def weights(settings: Settings) -> dict[str, float]:
    """Points by event type, `default` for all others: the standard ones times the sensitivity, or the owner's own."""
    names = (*WEIGHED, "default")
    sensitivity = settings.correlation.sensitivity
    if sensitivity == "custom":
        return {name: float(getattr(settings.scoring, name)) for name in names}
    standard = defaults().scoring
    return {name: round(getattr(standard, name) * FACTORS[sensitivity], 3) for name in names}


class Whitelist:
    """Real CIDR of both families; a look-up costs one set access for each prefix length in use."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Entries are UCI's, host bits allowed; those that are no network were refused when they were read."""
        self.entries: tuple[str, ...] = tuple(entries)
        self._networks: list[tuple[Network, str]] = []
        self._by_length: dict[tuple[int, int], dict[int, str]] = {}
        for text in self.entries:
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                continue
            self._networks.append((network, text))
            lengths = self._by_length.setdefault((network.version, network.max_prefixlen - network.prefixlen), {})
            lengths.setdefault(int(network.network_address) >> (network.max_prefixlen - network.prefixlen), text)

    def match(self, address: Address) -> str:
        """The entry that covers `address`, '' if none."""
        number = int(address)
        for (version, shift), known in self._by_length.items():
            if version == address.version and number >> shift in known:
                return known[number >> shift]
        return ""

    def touches(self, target: Network) -> str:
        """The first entry that has an address in common with `target`, '' if none."""
        for network, text in self._networks:
            if network.version == target.version and network.overlaps(target):
                return text
        return ""

    def find(self, network: Network) -> list[str]:
        """The entries that mean exactly `network`, however they are spelled."""
        return [text for known, text in self._networks if known == network]
