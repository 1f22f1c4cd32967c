"""Who sent a request: the TCP peer, or whom a trusted proxy says it speaks for; and the names of the headers used."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

#: HAProxy passes the client's port in it, so that an alert joins its exact flow. Never reaches the origin.
PORT_HEADER = "X-DPI-Client-Port"
#: Marks a request that replay sends again. Removed from what clients send.
REPLAY_HEADER = "X-DPI-Replay"
#: Answered by the addon itself: HAProxy's health check.
HEALTH_PATH = "/.dpi-dual/health"

#: Longer chains are no honest ones.
MAX_HOPS = 32
_CACHE = 1024

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Client(NamedTuple):
    """`port` is 0 when it is not known."""

    ip: str
    port: int


@lru_cache(4096)
def address_of(text: str) -> str:
    """`text` as a plain address, an empty string if it is none; knows `[v6]:port`, `v4:port` and mapped IPv4."""
    text = text.strip().strip('"')[:64]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)


class TrustedProxies:
    """The peers whose `X-Forwarded-For` is believed."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks: list[Network] = []
        for text in networks:
            try:
                self._networks.append(ipaddress.ip_network(text, strict=False))
            except ValueError:
                continue  # the settings' loader has named it
        self._known: dict[str, bool] = {}

    def __contains__(self, ip: str) -> bool:
        known = self._known.get(ip)
        if known is None:
            if len(self._known) >= _CACHE:
                self._known.clear()
            known = self._known[ip] = self._contains(ip)
        return known

    def _contains(self, ip: str) -> bool:
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def client(self, peer: str, peer_port: int, forwarded: list[str], port: str) -> Client:
        """The client behind `peer`; `forwarded` are the values of X-Forwarded-For in order, `port` that of PORT_HEADER.

        Right to left: each hop was written by the one after it, so the first that is no trusted proxy is the client,
        and whatever stands left of it is what the client itself claims.
        """
        own = address_of(peer) or peer
        if own not in self or not forwarded:
            return Client(own, peer_port)
        found = own
        nearest = True
        for hop in reversed(",".join(forwarded).rsplit(",", MAX_HOPS)):
            address = address_of(hop)
            if not address:
                break
            if address not in self:
                known = nearest and port.isascii() and port.isdigit() and len(port) <= 5
                return Client(address, int(port) if known and int(port) < 65536 else 0)
            found = address
            nearest = False
        return Client(found, 0)
