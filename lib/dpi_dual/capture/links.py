"""Interfaces and their addresses, as the kernel has them at this moment."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from dpi_dual.capture.netlink import Netlink, attributes, text

_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_RTM_NEWADDR, _RTM_GETADDR = 20, 22

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_NOARP = 0x80
IFF_MULTICAST = 0x1000
ARPHRD_ETHER = 1
ARPHRD_LOOPBACK = 772
"""Loopback frames begin with an Ethernet header too."""

# linux/if_link.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 5, 10, 18
_IFLA_IFALIAS, _IFLA_STATS64, _IFLA_LINK_NETNSID = 20, 23, 37
_IFLA_INFO_KIND = 1
# linux/if_addr.h
_IFA_ADDRESS, _IFA_LOCAL = 1, 2

_IFINFO = Struct("=BxHiII")
_IFADDR = Struct("=BBBBi")
_INT = Struct("=I")
_STATS = Struct("=8Q")


@dataclass(frozen=True, slots=True)
class Link:
    """One network interface."""

    index: int
    name: str
    kind: str
    """dummy, ifb, veth, bridge, vlan …; empty for real hardware."""
    hardware: int
    """What a frame begins with (linux/if_arp.h): 1 an Ethernet header; 512 PPP, 65534 nothing."""
    flags: int
    mac: str
    alias: str
    lower: int
    """Index of the interface below this one (a VLAN's parent), or a veth's other end; 0 if none here."""
    master: int
    """Index of the bridge or bond that this is a member of; 0 if none."""
    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_dropped: int
    tx_dropped: int

    @property
    def up(self) -> bool:
        """Switched on by the administrator; a cable may still be missing."""
        return bool(self.flags & IFF_UP)

    @property
    def ethernet(self) -> bool:
        """Its frames begin with an Ethernet header."""
        return self.hardware in (ARPHRD_ETHER, ARPHRD_LOOPBACK)


@dataclass(frozen=True, slots=True)
class Address:
    """One address that this machine itself has on an interface."""

    index: int
    interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface
    """The address with its prefix: `192.168.1.1/24`."""


def links(netlink: Netlink) -> list[Link]:
    """Every interface of this network namespace."""
    return list(_parsed_links(netlink.dump(_RTM_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0))))


def _parsed_links(messages: list[tuple[int, bytes]]) -> Iterator[Link]:
    for message, body in messages:
        if message != _RTM_NEWLINK or len(body) < _IFINFO.size:
            continue
        _, hardware, index, flags, _ = _IFINFO.unpack_from(body)
        found = dict(attributes(body, _IFINFO.size))
        info = dict(attributes(found.get(_IFLA_LINKINFO, b"")))
        stats = found.get(_IFLA_STATS64, b"")
        counters = _STATS.unpack_from(stats) if len(stats) >= _STATS.size else (0,) * 8
        yield Link(
            index=index,
            name=text(found.get(_IFLA_IFNAME, b"")),
            kind=text(info.get(_IFLA_INFO_KIND, b"")),
            hardware=hardware,
            flags=flags,
            mac=found.get(_IFLA_ADDRESS, b"")[:32].hex(":"),
            alias=text(found.get(_IFLA_IFALIAS, b"")),
            # With a namespace beside it, it counts in that one and means nothing here.
            lower=0 if _IFLA_LINK_NETNSID in found else _number(found.get(_IFLA_LINK, b"")),
            master=_number(found.get(_IFLA_MASTER, b"")),
            rx_packets=counters[0],
            tx_packets=counters[1],
            rx_bytes=counters[2],
            tx_bytes=counters[3],
            rx_dropped=counters[6],
            tx_dropped=counters[7],
        )


def addresses(netlink: Netlink) -> list[Address]:
    """Every IPv4 and IPv6 address of this machine, with its prefix."""
    found = []
    for message, body in netlink.dump(_RTM_GETADDR, _IFADDR.pack(0, 0, 0, 0, 0)):
        if message != _RTM_NEWADDR or len(body) < _IFADDR.size:
            continue
        _, prefix, _, _, index = _IFADDR.unpack_from(body)
        parts = dict(attributes(body, _IFADDR.size))
        # On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is always ours.
        packed = parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS, b"")
        if len(packed) == 4 and prefix <= 32:
            found.append(Address(index, ipaddress.IPv4Interface((packed, prefix))))
        elif len(packed) == 16 and prefix <= 128:
            found.append(Address(index, ipaddress.IPv6Interface((packed, prefix))))
    return found


def _number(payload: bytes) -> int:
    return int(_INT.unpack_from(payload)[0]) if len(payload) >= 4 else 0
