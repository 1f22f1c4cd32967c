"""What is ours: the router's own addresses, the networks it is connected to, and the clients of its LAN."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

from dpi_dual.capture.links import addresses
from dpi_dual.capture.netlink import Netlink
from dpi_dual.correlation.actors import Actor, Network, remote_key
from dpi_dual.lan.stream import LanStream

#: Addresses change with the provider's mood; asking the kernel costs about a millisecond.
REFRESH_S = 10.0

#: A router that is connected to everything (`default` as an on-link route of a tunnel) must not whitelist everything.
WIDEST_CONNECTED = {4: 8, 6: 16}


def kernel_networks() -> tuple[frozenset[str], tuple[Network, ...]]:
    """Own addresses, and the networks of all interfaces. Raises OSError."""
    with Netlink() as netlink:
        found = [address.interface for address in addresses(netlink)]
    networks = dict.fromkeys(
        interface.network for interface in found if interface.network.prefixlen >= WIDEST_CONNECTED[interface.version]
    )
    return frozenset(str(interface.ip) for interface in found), tuple(networks)


class Home:
    """Tells whose an address is; asks the kernel again every `REFRESH_S`."""

    def __init__(
        self,
        lan: LanStream,
        look: Callable[[], tuple[frozenset[str], tuple[Network, ...]]] = kernel_networks,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lan = lan
        self._look = look
        self._monotonic = monotonic
        self._own: frozenset[str] = frozenset()
        self._networks: tuple[Network, ...] = ()
        self._looked_at = float("-inf")
        self.failure = ""
        self.known = False
        """Whether the kernel ever told; until then nobody is banned by itself."""

    def refresh(self) -> None:
        """Asks the kernel if the last answer is old; keeps it when there is none."""
        now = self._monotonic()
        if now - self._looked_at < REFRESH_S:
            return
        self._looked_at = now
        try:
            self._own, self._networks = self._look()
        except OSError as error:
            self.failure = error.strerror or str(error)
        else:
            self.failure = ""
            self.known = True

    def is_own(self, ip: str) -> bool:
        """True for an address of the router itself."""
        self.refresh()
        return ip in self._own or ip in self._lan.accounting.around.router_ips

    def is_inside(self, ip: str) -> bool:
        """True for an address of the router or of its LAN."""
        return self.is_own(ip) or self._lan.accounting.around.is_inside(ip)

    def actor(self, ip: str, mac: str = "") -> Actor:
        """Who has this address (in its one spelling); `mac` where the event says it."""
        if self.is_own(ip):
            return Actor(ip, ip, "own")
        accounting = self._lan.accounting
        client = accounting.clients.get(ip)
        if client is not None or accounting.around.is_inside(ip):
            mac = (client.mac if client is not None else "") or accounting.around.macs.get(ip, "") or mac
            name = self._lan.hostname(client) if client is not None else ""
            return Actor(mac or ip, ip, "client", mac, name)
        address = ipaddress.ip_address(ip)
        if any(address.version == network.version and address in network for network in self._networks):
            return Actor(ip, ip, "connected")
        return Actor(remote_key(address), ip, "remote")

    def connected(self, target: Network) -> str:
        """Which network or address of ours `target` touches; '' if none."""
        self.refresh()
        for network in (*self._networks, *self._lan.accounting.around.networks):
            if network.version == target.version and network.overlaps(target):
                return str(network)
        for ip in self._own | self._lan.accounting.around.router_ips:
            address = ipaddress.ip_address(ip)
            if address.version == target.version and address in target:
                return ip
        return ""

    def client(self, mac: str) -> str:
        """The address of the client with this MAC, '' if nobody has seen it."""
        client = self._lan.accounting.clients.get(mac)
        return client.ip if client is not None else ""

    def ours(self) -> list[str]:
        """What is never banned without being listed: own addresses and connected networks."""
        self.refresh()
        networks = dict.fromkeys((*self._networks, *self._lan.accounting.around.networks))
        inside = {ip for ip in self._own if any(ipaddress.ip_address(ip) in network for network in networks)}
        return [*map(str, networks), *sorted(self._own - inside)]
