"""Who is on the LAN, from the kernel: its neighbour tables, and what is the router itself rather than a client."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from dpi_dual.capture.links import addresses, links
from dpi_dual.capture.netlink import Netlink, attributes
from dpi_dual.lan.ends import Neighbourhood, is_group_address, is_station

_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30
# linux/neighbour.h
_NDMSG = Struct("=BxHiHBB")
_NDA_DST, _NDA_LLADDR = 1, 2
_RTN_UNICAST = (0, 1)
"""RTN_UNSPEC and RTN_UNICAST: what is not broadcast, multicast or an address of our own."""

STATES = {2: "reachable", 4: "stale", 8: "delay", 16: "probe", 128: "permanent"}
"""NUD_* of entries that name a MAC one can believe. Left out: incomplete, failed, and noarp (multicast)."""
_FRESHEST = ("permanent", "reachable", "delay", "probe", "stale")


class Neighbour(NamedTuple):
    """One address that the router has learnt on one of its interfaces."""

    ip: str
    mac: str
    interface: str
    state: str
    """reachable, stale, delay, probe or permanent (RFC 4861 §7.3.2; the kernel keeps IPv4 the same way)."""


@dataclass(frozen=True, slots=True)
class Table:
    """The neighbours on some interfaces."""

    neighbours: tuple[Neighbour, ...]
    left_out: int
    """Neighbours beyond the limit: counted, not kept."""

    def macs(self) -> dict[str, str]:
        """Address → MAC; where two interfaces know one address, the fresher entry."""
        ranked = sorted(self.neighbours, key=lambda neighbour: _FRESHEST.index(neighbour.state), reverse=True)
        return {neighbour.ip: neighbour.mac for neighbour in ranked}

    def addresses(self) -> dict[str, set[str]]:
        """MAC → all addresses, IPv4 and IPv6, that answered with it."""
        found: dict[str, set[str]] = {}
        for ip, mac in self.macs().items():
            found.setdefault(mac, set()).add(ip)
        return found


def neighbours(interfaces: Collection[str], limit: int = 4096) -> Table:
    """The neighbour tables (ARP and NDP) of these interfaces."""
    with Netlink() as netlink:
        return _neighbours(netlink, {link.index: link.name for link in links(netlink)}, interfaces, limit)


def neighbourhood(interfaces: Collection[str], limit: int = 4096) -> tuple[Neighbourhood, int]:
    """All that the LAN analysis asks of the kernel in one go, and how many neighbours were beyond the limit.

    The router's addresses are those on all its interfaces: a client may talk to its WAN address.
    """
    with Netlink() as netlink:
        present = links(netlink)
        names = {link.index: link.name for link in present}
        own = addresses(netlink)
        table = _neighbours(netlink, names, interfaces, limit)
    around = Neighbourhood(
        macs=table.macs(),
        router_macs=frozenset(link.mac for link in present if is_station(link.mac)),
        router_ips=frozenset(str(address.interface.ip) for address in own),
        networks=tuple(
            dict.fromkeys(
                address.interface.network
                for address in own
                if names.get(address.index) in interfaces and not address.interface.is_link_local
            )
        ),
    )
    return around, table.left_out


def _neighbours(netlink: Netlink, names: dict[int, str], interfaces: Collection[str], limit: int) -> Table:
    found: list[Neighbour] = []
    left_out = 0
    for neighbour in _parsed(netlink.dump(_RTM_GETNEIGH, _NDMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0)), names):
        if neighbour.interface not in interfaces:
            continue
        if len(found) < limit:
            found.append(neighbour)
        else:
            left_out += 1
    return Table(tuple(found), left_out)


def _parsed(messages: Iterable[tuple[int, bytes]], names: dict[int, str]) -> Iterable[Neighbour]:
    for message, body in messages:
        if message != _RTM_NEWNEIGH or len(body) < _NDMSG.size:
            continue
        family, _, index, state, _, kind = _NDMSG.unpack_from(body)
        parts = dict(attributes(body, _NDMSG.size))
        packed, mac = parts.get(_NDA_DST, b""), parts.get(_NDA_LLADDR, b"").hex(":")
        size = {socket.AF_INET: 4, socket.AF_INET6: 16}.get(family)
        if state not in STATES or kind not in _RTN_UNICAST or len(packed) != size or not is_station(mac):
            continue
        ip = socket.inet_ntop(family, packed)
        if not is_group_address(ip):
            yield Neighbour(ip, mac, names.get(index, ""), STATES[state])
