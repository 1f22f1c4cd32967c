"""How the LAN sees a connection of the kernel: whose it is, what its wire carried, what protocol it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dpi_dual.lan.ends import Neighbourhood
from dpi_dual.model import Flow

if TYPE_CHECKING:
    from dpi_dual.capture.conntrack import Connection

#: An Ethernet header (IEEE 802.3: two addresses and a type); conntrack counts from the IP header on.
ETHERNET_BYTES = 14

#: IANA service names of the ports that home networks use; a guess, marked as one.
_SERVICES = {
    (6, 20): "FTP",
    (6, 21): "FTP",
    (6, 22): "SSH",
    (6, 23): "Telnet",
    (6, 25): "SMTP",
    (6, 80): "HTTP",
    (6, 110): "POP3",
    (6, 143): "IMAP",
    (6, 443): "TLS",
    (6, 445): "SMB",
    (6, 465): "SMTPS",
    (6, 587): "SMTP",
    (6, 853): "DoT",
    (6, 993): "IMAPS",
    (6, 995): "POP3S",
    (6, 1883): "MQTT",
    (6, 3389): "RDP",
    (6, 5223): "TLS",
    (6, 8080): "HTTP",
    (6, 8443): "TLS",
    (6, 8883): "MQTTS",
    (17, 67): "DHCP",
    (17, 123): "NTP",
    (17, 443): "QUIC",
    (17, 161): "SNMP",
    (17, 500): "IPSec",
    (17, 1194): "OpenVPN",
    (17, 1900): "SSDP",
    (17, 3478): "STUN",
    (17, 4500): "IPSec",
    (17, 5353): "MDNS",
    (17, 5355): "LLMNR",
    (17, 51820): "WireGuard",
}
_CERTAIN = {1: "ICMP", 58: "ICMPv6", 2: "IGMP", 47: "GRE", 50: "IPSec", 51: "IPSec", 132: "SCTP"}

Endpoint = tuple[str, int]
Key = tuple[int, Endpoint, Endpoint]


class LanView(NamedTuple):
    """A connection as the LAN's wire shows it."""

    client: Endpoint
    peer: Endpoint
    opened: bool
    """True when the client opened it."""
    inside: bool
    """True when the peer is in the LAN too."""


def identity(entry: Connection) -> int:
    """One number for a connection: the kernel gives an id again later, and ports are used again."""
    return hash((entry.id, entry.protocol, entry.src, entry.sport, entry.dst, entry.dport))


def on_wire(entry: Connection) -> tuple[int, int]:
    """Bytes of the original and of the reply direction as the LAN's wire carried them, Ethernet headers included."""
    return (
        (entry.orig_bytes or 0) + ETHERNET_BYTES * (entry.orig_packets or 0),
        (entry.reply_bytes or 0) + ETHERNET_BYTES * (entry.reply_packets or 0),
    )


def protocol_of(ip_protocol: int, server_port: int) -> tuple[str, bool]:
    """Protocol name and whether it is a guess from the port alone."""
    if ip_protocol in _CERTAIN:
        return _CERTAIN[ip_protocol], False
    if server_port == 53 and ip_protocol in (6, 17):
        return "DNS", True
    return _SERVICES.get((ip_protocol, server_port), "Unknown"), True


def key_of(ip_protocol: int, a: Endpoint, b: Endpoint) -> Key:
    """A five-tuple whichever end is called local. Protocols without ports have none, whatever conntrack puts there."""
    if ip_protocol not in (6, 17, 132):
        a, b = (a[0], 0), (b[0], 0)
    return (ip_protocol, a, b) if a <= b else (ip_protocol, b, a)


def flow_key(flow: Flow) -> Key:
    """The key of a flow's five-tuple."""
    return key_of(flow.ip_protocol, (flow.local_ip, flow.local_port), (flow.other_ip, flow.other_port))


def lan_view(entry: Connection, around: Neighbourhood) -> LanView | None:
    """How the LAN sees a connection; None if it is none of its clients'.

    The LAN sees the original tuple of what its clients opened (masquerading happens behind it), and the reply tuple of
    what came in through a port forward. A client that reaches another one by the router's outer address is taken
    for what it is: a flow between the two.
    """
    if _is_client(entry.src, around):
        client = (entry.src, entry.sport)
        if entry.reply_src != entry.dst and _is_client(entry.reply_src, around):
            return LanView(client, (entry.reply_src, entry.reply_sport), True, True)
        return LanView(client, (entry.dst, entry.dport), True, around.is_inside(entry.dst))
    if _is_client(entry.reply_src, around):
        peer = (entry.reply_dst, entry.reply_dport)
        return LanView((entry.reply_src, entry.reply_sport), peer, False, around.is_inside(entry.reply_dst))
    return None


def _is_client(ip: str, around: Neighbourhood) -> bool:
    return ip not in around.router_ips and around.is_inside(ip) and around.macs.get(ip) not in around.router_macs
