"""How grave what a DPI agent found in a flow is: risks by each agent's own numbering, and protocols of note."""

from __future__ import annotations

from typing import NamedTuple

#: Threat score of a severity; `low` is what ordinary traffic is full of and makes no event.
SCORES = {"low": 20, "medium": 40, "high": 60, "severe": 80, "critical": 95}

#: Risks under one name for all agents → (severity, what it says). Those not listed are low.
_RISKS = {
    "url_xss": ("severe", "cross-site scripting in a URL"),
    "url_sql_injection": ("severe", "SQL injection in a URL"),
    "url_rce_injection": ("critical", "command injection in a URL"),
    "possible_exploit": ("severe", "an exploit attempt"),
    "malicious_ja3": ("severe", "the TLS fingerprint of malware"),
    "malicious_certificate": ("severe", "a certificate known from malware"),
    "malware_host": ("critical", "contact with a malware host"),
    "suspicious_dga_domain": ("high", "a domain name made by an algorithm"),
    "risky_domain": ("high", "a domain on a list of risky ones"),
    "risky_asn": ("medium", "a network on a list of risky ones"),
    "http_suspicious_content": ("high", "suspicious HTTP content"),
    "http_suspicious_url": ("medium", "a suspicious URL"),
    "http_suspicious_header": ("medium", "a suspicious HTTP header"),
    "http_suspicious_user_agent": ("medium", "a suspicious user agent"),
    "crawler_bot": ("medium", "a crawler or bot"),
    "binary_application_transfer": ("high", "a program sent over the network"),
    "clear_text_credentials": ("high", "credentials in clear text"),
    "dns_suspicious_traffic": ("high", "suspicious DNS traffic"),
    "suspicious_entropy": ("medium", "suspicious entropy"),
    "smb_insecure_version": ("high", "an insecure version of SMB"),
    "desktop_or_file_sharing": ("medium", "desktop or file sharing"),
    "malformed_packet": ("medium", "malformed packets"),
    "invalid_characters": ("medium", "invalid characters"),
    "probing_attempt": ("high", "a probing attempt"),
    "obfuscated_traffic": ("high", "obfuscated traffic"),
    "anonymous_subscriber": ("medium", "an anonymising service"),
    "tls_suspicious_esni": ("medium", "a suspicious encrypted server name"),
    "tls_suspicious_extension": ("medium", "a suspicious TLS extension"),
    "ssh_obsolete_client": ("medium", "an obsolete SSH client"),
}

#: Netify's own numbers (netifyd 4.4); nDPI's, as nDPId uses them, differ.
_NETIFY = {
    1: "anonymous_subscriber",
    2: "binary_application_transfer",
    3: "clear_text_credentials",
    4: "desktop_or_file_sharing",
    7: "dns_suspicious_traffic",
    9: "crawler_bot",
    11: "http_suspicious_content",
    12: "http_suspicious_header",
    13: "http_suspicious_url",
    14: "http_suspicious_user_agent",
    15: "invalid_characters",
    17: "malformed_packet",
    18: "malicious_ja3",
    19: "malicious_certificate",
    20: "possible_exploit",
    22: "risky_asn",
    23: "risky_domain",
    24: "smb_insecure_version",
    25: "ssh_obsolete_client",
    27: "suspicious_dga_domain",
    28: "suspicious_entropy",
    38: "tls_suspicious_esni",
    39: "tls_suspicious_extension",
    43: "url_rce_injection",
    44: "url_sql_injection",
    45: "url_xss",
}

#: `ndpi_risk_enum` of nDPI 4 (ndpi_typedefs.h).
_NDPI = {
    1: "url_xss",
    2: "url_sql_injection",
    3: "url_rce_injection",
    4: "binary_application_transfer",
    11: "http_suspicious_user_agent",
    13: "http_suspicious_url",
    14: "http_suspicious_header",
    16: "suspicious_dga_domain",
    17: "malformed_packet",
    18: "ssh_obsolete_client",
    20: "smb_insecure_version",
    23: "dns_suspicious_traffic",
    25: "http_suspicious_content",
    26: "risky_asn",
    27: "risky_domain",
    28: "malicious_ja3",
    29: "malicious_certificate",
    30: "desktop_or_file_sharing",
    33: "tls_suspicious_extension",
    35: "suspicious_entropy",
    36: "clear_text_credentials",
    39: "invalid_characters",
    40: "possible_exploit",
    44: "crawler_bot",
    45: "anonymous_subscriber",
    53: "malware_host",
    55: "probing_attempt",
    56: "obfuscated_traffic",
}

_NUMBERINGS = {"netify": _NETIFY, "ndpi": _NDPI}

#: Protocols and applications of note, in lower case → (score, what it says, whether the inside end runs it).
_PROTOCOLS = {
    "tor": (70, "Tor", True),
    "i2p": (60, "I2P", True),
    "bittorrent": (40, "BitTorrent", True),
    "mining": (60, "crypto-currency mining", True),
    "telnet": (50, "Telnet", False),
    "smbv1": (60, "SMB version 1", False),
}


class Finding(NamedTuple):
    """What is of note in a flow."""

    rule: str
    """`risk:url_xss`, `protocol:tor`."""
    score: int
    reason: str
    ours: bool
    """It tells about the end inside the network, whoever opened the flow."""


def finding(
    protocol: str, application: str, namespace: str, risks: tuple[int, ...], guessed: bool
) -> tuple[Finding, ...]:
    """What is of note in flows of this kind, the gravest first; a guessed protocol proves nothing."""
    found: list[Finding] = []
    names = _NUMBERINGS.get(namespace, {})
    for number in risks:
        name = names.get(number)
        if name is not None:
            severity, text = _RISKS[name]
            found.append(Finding(f"risk:{name}", SCORES[severity], text, False))
    if not guessed:
        for name in dict.fromkeys((protocol.lower(), application.lower())):
            known = _PROTOCOLS.get(name)
            if known is not None:
                found.append(Finding(f"protocol:{name}", known[0], known[1], known[2]))
    return tuple(sorted(found, key=lambda entry: -entry.score))
