"""The kernel's connection table over ctnetlink: who talks to whom, and how many bytes each way when it counts them."""

from __future__ import annotations

import socket
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from dpi_dual.capture.ctnetlink import Connection, Reader
from dpi_dual.capture.netlink import NETLINK_NETFILTER, DumpInterruptedError, Netlink
from dpi_dual.model import Problem

__all__ = ["TCP_STATES", "Connection", "Table", "accounting_enabled", "dump", "enable_accounting"]

# linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
_CTNETLINK = 1 << 8
_CT_NEW, _CT_GET = _CTNETLINK | 0, _CTNETLINK | 1
_NFGENMSG = Struct("=BBH")

_ACCOUNTING = Path("/proc/sys/net/netfilter/nf_conntrack_acct")

TCP_STATES = (
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
)
"""Names of `Connection.tcp_state`, linux/netfilter/nf_conntrack_tcp.h."""


class Table(NamedTuple):
    """What one dump brought."""

    connections: list[Connection]
    left_out: int
    """Connections beyond the limit: counted, not kept."""
    malformed: int
    """Messages that could not be understood."""
    interrupted: bool
    """The table changed during the dump, so a few entries may be missing or double."""


def dump(limit: int = 16384, timeout_s: float = 5.0) -> Table:
    """All IPv4 and IPv6 connections, at most `limit` of them; OSError where the kernel refuses or has no conntrack.

    Each one kept takes about half a KiB.
    """
    found: list[Connection] = []
    left_out = malformed = 0
    interrupted = False
    reader = Reader()
    with Netlink(NETLINK_NETFILTER, timeout_s) as netlink:
        # AF_UNSPEC: both families; AF_INET would leave IPv6 out.
        try:
            for data, message, start, end in netlink.stream(_CT_GET, _NFGENMSG.pack(socket.AF_UNSPEC, 0, 0)):
                if message != _CT_NEW:
                    continue
                if len(found) >= limit:
                    left_out += 1
                    continue
                connection = reader.read(data, start, end)
                if connection is None:
                    malformed += 1
                else:
                    found.append(connection)
        except DumpInterruptedError:
            interrupted = True
    return Table(found, left_out, malformed, interrupted)


def accounting_enabled(file: Path = _ACCOUNTING) -> bool | None:
    """Does the kernel count bytes of connections? None where it has no connection tracking."""
    try:
        return file.read_text().strip() == "1"
    except FileNotFoundError:
        return None


def enable_accounting(file: Path = _ACCOUNTING) -> Problem | None:
    """Has the kernel count bytes from now on, for connections that begin after this; what to tell the owner about it.

    None if it counted already. The setting is the network namespace's, and gone after a boot.
    """
    enabled = accounting_enabled(file)
    if enabled:
        return None
    if enabled is None:
        return Problem(
            "conntrack_missing",
            "this kernel tracks no connections: rates and the fallback without a DPI agent have no figures",
            "install kmod-nf-conntrack-netlink; it comes with the firewall",
        )
    try:
        file.write_text("1")
    except OSError as error:
        return Problem(
            "conntrack_accounting_off",
            f"the kernel does not count the bytes of connections, and switching it on failed: {error}",
            "as root: sysctl -w net.netfilter.nf_conntrack_acct=1",
        )
    return Problem(
        "conntrack_accounting_enabled",
        "counting the bytes of connections was off and has been switched on (net.netfilter.nf_conntrack_acct=1);"
        " connections from before stay uncounted",
        "to have it from boot on, put net.netfilter.nf_conntrack_acct=1 into /etc/sysctl.conf",
        "info",
    )
