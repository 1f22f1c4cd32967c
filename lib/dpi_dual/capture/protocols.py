"""One spelling for protocol and application names, whichever agent said them.

netifyd writes `HTTP/S`, `FTP/C`, `TPLINK/SHP` and `netify.youtube`; nDPId writes `TLS.YouTube`, `FTP_CONTROL` and
`TPLINK_SHP`. Names that are not listed here keep the agent's spelling with `_` for `/`.
"""

from __future__ import annotations

from dpi_dual.capture import fields

UNKNOWN = "Unknown"

#: Canonical names by their agents' spellings in lower case without `/ _ - .` and blanks.
_PROTOCOLS = {
    "unknown": UNKNOWN,
    "https": "TLS",  # netifyd's HTTP/S is what it calls TLS once the payload looks like HTTPS
    "ssl": "TLS",
    "tls": "TLS",
    "dtls": "DTLS",
    "http": "HTTP",
    "httpconnect": "HTTP_Connect",
    "httpproxy": "HTTP_Proxy",
    "quic": "QUIC",
    "dns": "DNS",
    "mdns": "MDNS",
    "llmnr": "LLMNR",
    "dnscrypt": "DNSCrypt",
    "doh": "DoH",
    "dot": "DoT",
    "doq": "DoQ",
    "dohdot": "DoH_DoT",
    "ssh": "SSH",
    "telnet": "Telnet",
    "icmp": "ICMP",
    "icmpv6": "ICMPv6",
    "icmp6": "ICMPv6",
    "igmp": "IGMP",
    "dhcp": "DHCP",
    "dhcpv6": "DHCPv6",
    "ntp": "NTP",
    "ssdp": "SSDP",
    "ftp": "FTP",
    "ftpc": "FTP",
    "ftpcontrol": "FTP",
    "ftpd": "FTP_DATA",
    "ftpdata": "FTP_DATA",
    "ftps": "FTPS",
    "tftp": "TFTP",
    "smtp": "SMTP",
    "smtps": "SMTPS",
    "imap": "IMAP",
    "mailimap": "IMAP",
    "imaps": "IMAPS",
    "mailimaps": "IMAPS",
    "pop": "POP3",
    "pop3": "POP3",
    "mailpop": "POP3",
    "pops": "POP3S",
    "pop3s": "POP3S",
    "mailpops": "POP3S",
    "mailsmtp": "SMTP",
    "mailsmtps": "SMTPS",
    "netbios": "NetBIOS",
    "smbv1": "SMBv1",
    "smbv23": "SMBv23",
    "rdp": "RDP",
    "vnc": "VNC",
    "snmp": "SNMP",
    "syslog": "Syslog",
    "kerberos": "Kerberos",
    "ldap": "LDAP",
    "radius": "RADIUS",
    "nfs": "NFS",
    "rsync": "RSYNC",
    "bittorrent": "BitTorrent",
    "stun": "STUN",
    "sip": "SIP",
    "sips": "SIPS",
    "rtp": "RTP",
    "rtcp": "RTCP",
    "rtsp": "RTSP",
    "rtmp": "RTMP",
    "mqtt": "MQTT",
    "mqtts": "MQTTS",
    "coap": "COAP",
    "modbus": "Modbus",
    "s7comm": "S7Comm",
    "mysql": "MySQL",
    "pgsql": "PostgreSQL",
    "postgresql": "PostgreSQL",
    "postgres": "PostgreSQL",
    "mongodb": "MongoDB",
    "redis": "Redis",
    "memcached": "Memcached",
    "mssqltds": "MSSQL",
    "git": "Git",
    "irc": "IRC",
    "ircs": "IRCS",
    "xmpp": "XMPP",
    "jabber": "XMPP",
    "ipsec": "IPsec",
    "openvpn": "OpenVPN",
    "wireguard": "WireGuard",
    "gre": "GRE",
    "sctp": "SCTP",
    "ospf": "OSPF",
    "vrrp": "VRRP",
    "vxlan": "VXLAN",
    "socks": "SOCKS",
    "tor": "Tor",
    "websocket": "WebSocket",
    "natpmp": "NAT_PMP",
    "zoom": "Zoom",
}

#: Protocols that belong to one product: nDPI names no application beside them.
_PRODUCTS = frozenset(
    {
        *("Telegram", "WhatsApp", "Signal", "Viber", "Threema", "Skype_Teams", "Teams", "Discord", "Zoom"),
        *("Spotify", "Steam", "Dropbox", "TeamViewer", "AnyDesk", "Tailscale", "Syncthing", "Tor", "BitTorrent"),
        *("WhatsApp_Call", "WhatsAppCall", "Skype_Teams_Call", "Skype_TeamsCall", "SignalCall", "Snapchat_Call"),
        *("Google", "YouTube", "NetFlix", "Facebook", "Instagram", "Microsoft", "Apple", "Amazon", "Cloudflare"),
    }
)

#: Second halves of an nDPI name that are protocols, not applications: `NetBIOS.SMBv1`, `HTTP.WebSocket`.
_INNER = frozenset({"SMBv1", "SMBv23", "WebSocket", "DoH", "DoT", "DoQ", "DoH_DoT", "RTP", "RTCP", "MQTT"})


def _protocol(raw: str) -> str:
    bare = "".join(c for c in raw.lower() if c not in "/_-. ")
    listed = _PROTOCOLS.get(bare)
    if listed is not None:
        return listed
    return fields.text(raw, 48).strip().replace("/", "_").replace(" ", "_") or UNKNOWN


def _application(raw: str) -> str:
    """`netify.apple-itunes`, `125.netify.skype` and `AppleiTunes` without prefix, in lower case."""
    name = fields.text(raw, 96).strip()
    if name.isdigit() or name.lower() == "unknown":
        return UNKNOWN
    number, dot, rest = name.partition(".")
    if dot and number.isdigit():
        name = rest
    name = name.lower().removeprefix("netify.").replace("/", "-").replace("_", "-").replace(" ", "-")
    return UNKNOWN if name in ("", "unknown", "unclassified") else name[:64]


_protocols = fields.Known(_protocol, 1024)
_applications = fields.Known(_application, 2048)
_categories = fields.Known(lambda raw: fields.text(raw, 48), 256)


def protocol(raw: object) -> str:
    """The canonical name of a protocol; Unknown when there is none."""
    return _protocols[raw] if type(raw) is str else UNKNOWN


def application(raw: object, protocol_name: str = "") -> str:
    """The canonical name of an application; a protocol that is one product's own names it when nothing else does."""
    name = _applications[raw] if type(raw) is str else UNKNOWN
    if name == UNKNOWN and protocol_name in _PRODUCTS:
        return _applications[protocol_name]
    return name


def category(raw: object) -> str:
    return _categories[raw] if type(raw) is str else ""


def split_ndpi(name: object) -> tuple[str, str]:
    """Protocol and application of an nDPI name: `TLS.WhatsApp` → TLS, whatsapp; `DNS` → DNS, Unknown."""
    if type(name) is not str:
        return UNKNOWN, UNKNOWN
    outer, _, inner = name.partition(".")
    outer_protocol = protocol(outer)
    if inner and (inner_protocol := protocol(inner)) in _INNER:
        return inner_protocol, UNKNOWN
    return outer_protocol, application(inner, outer_protocol)
