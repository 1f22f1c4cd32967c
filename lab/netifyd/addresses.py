"""What this host's interfaces are, and which addresses lie inside: netifyd's local, remote, multicast and broadcast."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Private use (RFC 1918, 4193), link-local (RFC 3927, 4291), loopback and unspecified: inside, wherever they are seen.
_INSIDE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "0.0.0.0/32"),
        *("fc00::/7", "fe80::/10", "::1/128", "::/128"),
    )
)


@dataclass(frozen=True)
class Interface:
    """One interface as the kernel lists it."""

    mac: str
    addresses: tuple[str, ...]
    networks: tuple[Network, ...]
    up: bool


def read_interfaces() -> dict[str, Interface]:
    """All interfaces of this network namespace, by name."""
    done = subprocess.run(["ip", "-json", "address", "show"], capture_output=True, text=True, check=True)
    found = {}
    for link in json.loads(done.stdout):
        held: list[dict[str, Any]] = [a for a in link.get("addr_info", ()) if "local" in a]
        networks = [ipaddress.ip_network(f"{a['local']}/{a['prefixlen']}", strict=False) for a in held]
        found[link["ifname"]] = Interface(
            mac=link.get("address", ""),
            addresses=tuple(a["local"] for a in held),
            networks=tuple(network for network in networks if network.num_addresses > 1),
            up="UP" in link.get("flags", ()),
        )
    return found


class Inside:
    """Tells what kind of address one is; built anew whenever the interfaces may have changed."""

    def __init__(self, interfaces: dict[str, Interface]) -> None:
        connected = [network for interface in interfaces.values() for network in interface.networks]
        self._networks = (*_INSIDE, *connected)
        self._broadcast = {
            network.broadcast_address.packed for network in connected if isinstance(network, ipaddress.IPv4Network)
        } | {b"\xff" * 4}
        self.kind = lru_cache(4096)(self._kind)

    def _kind(self, packed: bytes) -> str:
        if packed in self._broadcast:
            return "broadcast"
        address = ipaddress.ip_address(packed)
        if address.is_multicast:
            return "multicast"
        inside = any(address in network for network in self._networks if network.version == address.version)
        return "local" if inside else "remote"
