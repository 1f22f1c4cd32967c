"""Which ends of a flow are clients of the LAN, and which is the far end outside it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import NamedTuple

from dpi_dual.model import Flow

#: Addresses whose side is remembered.
MAX_ANSWERS = 2048

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Where LANs are when nobody says which (RFC 1918, RFC 4193); `is_private` would take documentation networks too.
_HOME = tuple(ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))

_UNSPECIFIED = ("", "0.0.0.0", "::")  # noqa: S104 - the address of a client that has none yet (DHCP, DAD)


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What the router knows about its LAN: whose address is whose, and what is the router itself."""

    macs: dict[str, str] = field(default_factory=dict)
    """Address → MAC, from the neighbour tables of the LAN interfaces."""
    router_macs: frozenset[str] = frozenset()
    router_ips: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    """Networks on the LAN interfaces; empty when unknown."""
    _answers: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Addresses asked for before: parsing one costs more than all else here."""

    def is_inside(self, ip: str) -> bool:
        """True for an address of the LAN: a known neighbour, or one in a network of the LAN's interfaces."""
        answer = self._answers.get(ip)
        if answer is None:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            answer = self._answers[ip] = ip in self.macs or self._is_in_network(ip)
        return answer

    def _is_in_network(self, ip: str) -> bool:
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return False
        if address.is_link_local:
            return True
        if not self.networks:
            return any(address.version == network.version and address in network for network in _HOME)
        return any(address.version == network.version and address in network for network in self.networks)


class Ends(NamedTuple):
    """The clients of one flow, and its far end."""

    local: tuple[str, str] | None
    """(MAC or empty, address or empty) of the local side when it is a client."""
    other: tuple[str, str] | None
    """The same for the other side."""
    remote: str
    """local or other: the side that is outside the LAN; empty if neither is."""


def is_station(mac: str) -> bool:
    """True for a MAC that one network card can have: not empty, not all zero, no multicast (IEEE 802, I/G bit)."""
    return len(mac) == 17 and mac != "00:00:00:00:00:00" and mac[1] not in "13579bdfBDF"


def is_random_mac(mac: str) -> bool:
    """True if the locally administered bit is set (IEEE 802 U/L bit): phones set it on the MACs they make up."""
    return len(mac) == 17 and mac[1] in "2367abefABEF"


def is_group_address(ip: str) -> bool:
    """True for multicast and limited broadcast addresses."""
    if ":" in ip:
        return ip[:2].lower() == "ff"
    first = ip.partition(".")[0]
    return ip == "255.255.255.255" or (first.isdecimal() and 224 <= int(first) <= 239)


def _client(mac: str, ip: str, around: Neighbourhood) -> tuple[str, str] | None:
    if is_group_address(ip) or ip in around.router_ips:
        return None
    if not is_station(mac):
        if mac and mac != "00:00:00:00:00:00":
            return None
        mac = around.macs.get(ip, "")
        if ip in _UNSPECIFIED or not (mac or around.is_inside(ip)):
            return None
    if mac in around.router_macs:
        return None
    return mac, "" if ip in _UNSPECIFIED else ip


def ends_of(flow: Flow, around: Neighbourhood) -> Ends:
    """The clients of `flow`: never the router, never a group address, at a multicast only the sender.

    On a LAN interface a packet to or from the outside carries the router's MAC at its far end, so the MACs
    decide before the agent's word does: when the agent took the router's side for the local one, the client
    is the other side, even where the agent called it remote.
    """
    mac, ip = flow.local_mac, flow.local_ip
    if (
        flow.other_type == "remote"
        and flow.other_mac in around.router_macs
        and mac not in around.router_macs
        and is_station(mac)
        and ip not in around.router_ips
        and ip not in _UNSPECIFIED
    ):
        return Ends((mac, ip), None, "other")  # what nearly all flows are: the rest need not be asked
    local = _client(mac, ip, around)
    if flow.other_type in ("multicast", "broadcast") or is_group_address(flow.other_ip):
        return Ends(local, None, "")
    other = None
    if flow.other_type == "local" or around.is_inside(flow.other_ip) or (local is None and is_station(flow.other_mac)):
        other = _client(flow.other_mac, flow.other_ip, around)
    remote = ""
    if local is not None and other is None and _is_remote(flow.other_ip, flow.other_type, around):
        remote = "other"
    elif other is not None and local is None and _is_remote(flow.local_ip, "unknown", around):
        remote = "local"
    return Ends(local, other, remote)


def _is_remote(ip: str, kind: str, around: Neighbourhood) -> bool:
    """Is this the far end of a client's flow? An agent calls a host between us and the provider local too."""
    if ip in _UNSPECIFIED or ip in around.router_ips or is_group_address(ip):
        return False
    return not around.is_inside(ip) and (kind != "local" or bool(around.networks))
