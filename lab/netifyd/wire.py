"""netifyd's JSON messages and frames: `{"length": N}`, a newline, then N bytes that are one object and its newline."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.netifyd.flows import Flow
    from lab.netifyd.ndpi import Finding

AGENT_VERSION = "4.4.7"
_JSON_VERSION = 1.9
_BUILD = f"Netify Agent/{AGENT_VERSION} (lab; nDPI; dns-cache)"

#: netifyd's spelling where it differs from nDPI's.
_PROTOCOL_TAGS = {
    "FTP_CONTROL": "FTP/C",
    "FTP_DATA": "FTP/D",
    "FTPS": "FTP/S",
    "ICMPV6": "ICMPv6",
    "DHCPV6": "DHCPv6",
    "POPS": "POP3/S",
    "IMAPS": "IMAP/S",
    "SMTPS": "SMTP/S",
    "NetBIOS": "NETBIOS",
}

#: TLS on port 443 has a name and a number of its own in netifyd.
_HTTPS = (196, "HTTP/S")

#: Protocols by number that `definitions` announces. netifyd took over nDPI's numbers.
_PROTOCOLS = {
    0: "Unknown",
    1: "FTP/C",
    2: "POP3",
    3: "SMTP",
    4: "IMAP",
    5: "DNS",
    7: "HTTP",
    8: "MDNS",
    9: "NTP",
    10: "NETBIOS",
    12: "SSDP",
    14: "SNMP",
    16: "SMBv1",
    17: "SYSLOG",
    18: "DHCP",
    19: "PGSQL",
    20: "MYSQL",
    21: "FTP/S",
    23: "POP3/S",
    29: "SMTP/S",
    37: "BitTorrent",
    41: "SMBv23",
    50: "RTSP",
    51: "IMAP/S",
    65: "IRC",
    67: "XMPP",
    77: "Telnet",
    78: "STUN",
    79: "IPSEC",
    80: "GRE",
    81: "ICMP",
    82: "IGMP",
    84: "SCTP",
    87: "RTP",
    88: "RDP",
    89: "VNC",
    91: "TLS",
    92: "SSH",
    96: "TFTP",
    100: "SIP",
    102: "ICMPv6",
    103: "DHCPv6",
    111: "Kerberos",
    112: "LDAP",
    146: "RADIUS",
    154: "LLMNR",
    159: "OpenVPN",
    165: "RTCP",
    166: "RSYNC",
    172: "SOCKS",
    175: "FTP/D",
    182: "Redis",
    188: "QUIC",
    196: "HTTP/S",
    206: "WireGuard",
    222: "MQTT",
    226: "Git",
    244: "DTLS",
}
_APPLICATIONS = {
    119: "facebook",
    124: "youtube",
    126: "google",
    133: "netflix",
    142: "whatsapp",
    156: "spotify",
    176: "wikipedia",
    178: "amazon",
    203: "github",
    211: "instagram",
    219: "office-365",
}

#: netifyd's category numbers, by protocol and by application; 0 for the rest.
_PROTOCOL_CATEGORIES = {
    **dict.fromkeys(("HTTP", "HTTP/S", "QUIC"), 22),
    **dict.fromkeys(("DNS", "DHCP", "DHCPv6", "MDNS", "SSDP", "IGMP", "NETBIOS"), 14),
    **dict.fromkeys(("TLS", "SSH", "SNMP", "MQTT", "STUN"), 9),
    **dict.fromkeys(("SMTP", "POP3", "IMAP/S"), 11),
    **dict.fromkeys(("FTP/C", "SMBv23"), 4),
    "BitTorrent": 5,
}
_APPLICATION_CATEGORIES = {"youtube": 29, "netflix": 29, "spotify": 29, "facebook": 24, "instagram": 24}


def frame(message: dict[str, Any]) -> bytes:
    """One message as it goes over the socket."""
    body = json.dumps(message, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode() + b"\n"
    return b'{"length": %d}\n' % len(body) + body


def hello() -> dict[str, Any]:
    """Who is speaking; the first message of a connection."""
    return {
        "type": "agent_hello",
        "agent_version": AGENT_VERSION,
        "build_version": _BUILD,
        "json_version": _JSON_VERSION,
    }


def definitions() -> dict[str, Any]:
    """The names behind the numbers; the third message of a connection."""
    protocols = [{"id": number, "tag": tag} for number, tag in _PROTOCOLS.items()]
    applications = [{"id": number, "tag": f"netify.{tag}"} for number, tag in _APPLICATIONS.items()]
    return {"type": "definitions", "protocols": protocols, "applications": protocols + applications}


def protocol_name(finding: Finding, flow: Flow) -> tuple[int, str]:
    """netifyd's number and tag of the protocol found."""
    if finding.protocol == "TLS" and 443 in flow.ports:
        return _HTTPS
    return finding.protocol_id, _PROTOCOL_TAGS.get(finding.protocol, finding.protocol)


def application_name(finding: Finding) -> tuple[int, str]:
    """netifyd's number and name of the application found."""
    if finding.application == "Unknown":
        return 0, "Unknown"
    # Letters, digits and dashes, as in netifyd's own list.
    tag = "".join(c if c.isalnum() else "-" for c in finding.application.lower()).strip("-")
    return finding.application_id, f"netify.{tag}"


def _envelope(kind: str, flow: Flow, body: dict[str, Any]) -> dict[str, Any]:
    body["digest"] = flow.digest
    body["last_seen_at"] = flow.last_seen_ms
    return {
        "type": kind,
        "established": False,
        "interface": flow.interface,
        "internal": flow.internal,
        "flow": body,
    }


def flow_message(flow: Flow) -> dict[str, Any]:
    """`flow`: a flow that has been classified, or about which more has been learnt."""
    finding = flow.finding
    protocol_id, protocol = protocol_name(finding, flow)
    application_id, application = application_name(finding)
    local, other = flow.sides()
    body: dict[str, Any] = {
        "category": {
            "application": _APPLICATION_CATEGORIES.get(application.removeprefix("netify."), 0),
            "domain": 0,
            "protocol": _PROTOCOL_CATEGORIES.get(protocol, 0),
        },
        "detected_application": application_id,
        "detected_application_name": application,
        "detected_protocol": protocol_id,
        "detected_protocol_name": protocol,
        "detection_guessed": finding.guessed,
        "detection_updated": flow.announcements > 0,
        "dhc_hit": bool(flow.hint),
        "first_seen_at": flow.first_seen_ms,
        "first_update_at": flow.first_seen_ms,
        "ip_nat": False,
        "ip_protocol": flow.protocol,
        "ip_version": flow.version,
        "local_ip": local.ip,
        "local_mac": local.mac,
        "local_origin": flow.local_origin,
        "local_port": local.port,
        "other_ip": other.ip,
        "other_mac": other.mac,
        "other_port": other.port,
        "other_type": flow.other_type,
        # The lab's engine keeps nDPI's risks to itself; netifyd numbers them differently anyway.
        "risks": {"ndpi_risk_score": 0, "ndpi_risk_score_client": 0, "ndpi_risk_score_server": 0},
        "soft_dissector": False,
        "vlan_id": flow.vlan,
        **finding.details,
    }
    if flow.hint:
        body["dns_host_name"] = flow.hint
    if name := finding.host_name or flow.hint:
        body["host_server_name"] = name
    return _envelope("flow", flow, body)


def _counters(flow: Flow) -> dict[str, Any]:
    local, other = (0, 1) if flow.local_origin else (1, 0)
    return {
        "detection_packets": flow.detection_packets,
        "local_bytes": flow.bytes[local] - flow.told_bytes[local],
        "local_packets": flow.packets[local] - flow.told_packets[local],
        "other_bytes": flow.bytes[other] - flow.told_bytes[other],
        "other_packets": flow.packets[other] - flow.told_packets[other],
        "total_bytes": sum(flow.bytes),
        "total_packets": sum(flow.packets),
    }


def stats_message(flow: Flow) -> dict[str, Any]:
    """`flow_stats`: what each side sent since the last one, and both together since the beginning."""
    return _envelope("flow_stats", flow, _counters(flow))


def purge_message(flow: Flow, reason: str) -> dict[str, Any]:
    """`flow_purge`: the same for the last time; `reason` is closed, expired or terminated."""
    return {**_envelope("flow_purge", flow, _counters(flow)), "reason": reason}
