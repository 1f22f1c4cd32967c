"""Who an event is about: a remote address, a client of the LAN, or the router itself; and how each is named."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from dpi_dual.errors import QueryError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What one customer or attacker has of IPv6 at least (RFC 6177): single addresses are changed at will.
IPV6_PREFIX = 64

#: Nothing wider is banned by hand: a slip of the finger would lock out a country.
WIDEST = {4: 16, 6: 32}


@dataclass(frozen=True, slots=True)
class Actor:
    """`key` is what reputation goes by: an IPv4 address, an IPv6 /64, or a client's MAC."""

    key: str
    ip: str
    kind: str
    """remote; client (of the LAN); own (the router itself); connected (a network the router is part of)."""
    mac: str = ""
    hostname: str = ""


def _bad(text: str, why: str) -> QueryError:
    return QueryError("bad_address", f"{text[:64]!r} {why}")


def parse_address(text: str) -> Address:
    """One host's address as a person or program gave it; QueryError names what else it is."""
    if "%" in text:
        raise _bad(text, "names an interface (zone id) after the %; give the address alone")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise _bad(text, "is not an IPv4 or IPv6 address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise _bad(text, f"is an IPv4 address mapped into IPv6; give {address.ipv4_mapped}")
    if address.is_unspecified or address.is_multicast or text == "255.255.255.255":
        raise _bad(text, "is not the address of a host")
    return address


def parse_network(text: str) -> Network:
    """An address or a network; host bits after the prefix are refused, since nobody knows which was meant."""
    if "/" not in text:
        return ipaddress.ip_network(parse_address(text))
    if "%" in text:
        raise _bad(text, "names an interface (zone id) after the %; give the network alone")
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        if "host bits set" in str(error):
            meant = ipaddress.ip_network(text, strict=False)
            raise _bad(text, f"has bits set behind its prefix; the network is {meant}") from None
        raise _bad(text, "is not an IPv4 or IPv6 network") from None
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise _bad(text, "is an IPv4 network mapped into IPv6; give the IPv4 network")
    return network


def off_wire(text: str) -> str:
    """The one spelling of an address that a program of ours took off the wire, IPv4 unmapped; '' if it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        return ""
    return str(address)


def remote_key(address: Address) -> str:
    """What a remote address's reputation goes by."""
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))


def packed(address: Address) -> bytes:
    """16 bytes that sort as addresses do, both families in one order."""
    return (b"\0" * 10 + b"\xff\xff" + address.packed) if address.version == 4 else address.packed


def bounds(network: Network) -> tuple[bytes, bytes]:
    """The first and the last address of a network, as `packed`."""
    return packed(network.network_address), packed(network.broadcast_address)


def ban_target(text: str) -> Network:
    """What a ban of `text` covers: the address, an IPv6 address's /64, or the network given."""
    network = parse_network(text)
    if network.version == 6 and network.prefixlen > IPV6_PREFIX:
        network = network.supernet(new_prefix=IPV6_PREFIX)
    if network.prefixlen < WIDEST[network.version]:
        raise _bad(text, f"is wider than /{WIDEST[network.version]}, the widest network that is banned")
    return network


def shown(network: Network) -> str:
    """A network as CrowdSec and people name it: a single address without its prefix."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
