"""Finds what hides packets from tc and from a DPI agent: flow offload of the firewall, and what the NIC does itself."""

from __future__ import annotations

import errno
import fcntl
import socket
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct

from dpi_dual import uci
from dpi_dual.capture.netlink import NETLINK_NETFILTER, Netlink, attributes, text
from dpi_dual.model import Problem

# linux/netfilter/nfnetlink.h, nf_tables.h
_NFTABLES = 10 << 8
_NEWFLOWTABLE, _GETFLOWTABLE = _NFTABLES | 22, _NFTABLES | 23
_NFGENMSG = Struct("=BBH")
_FT_TABLE, _FT_NAME, _FT_HOOK, _FT_FLAGS = 1, 2, 3, 7
_FT_HOOK_DEVS = 3
_FT_HW_OFFLOAD = 1
_BE32 = Struct(">I")

# linux/sockios.h, linux/ethtool.h
_SIOCETHTOOL = 0x8946
_GSTRINGS, _GFEATURES, _GSSET_INFO = 0x1B, 0x3A, 0x37
_SS_FEATURES = 4
_STRING_BYTES = 32
_MAX_FEATURES = 1024
_MERGING = ("rx-gro", "rx-gro-hw", "rx-lro")

_NO_SUCH_TABLES = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT, errno.EAFNOSUPPORT)
"""What a kernel answers that has no nf_tables, or none with flow tables."""

CODES = frozenset(
    ("flow_offload_hardware", "flow_offload_software", "flow_offload_unknown", "tc_offload_hardware", "receive_merging")
)
"""Of all problems that `problems` tells of."""


@dataclass(frozen=True, slots=True)
class FlowTable:
    """A flow table of the firewall: connections in it bypass the usual path of a packet."""

    table: str
    name: str
    hardware: bool
    devices: tuple[str, ...]


def flow_tables() -> list[FlowTable]:
    """Every flow table in the nftables ruleset, from the kernel; none where the kernel knows no such thing."""
    try:
        with Netlink(NETLINK_NETFILTER) as netlink:
            messages = netlink.dump(_GETFLOWTABLE, _NFGENMSG.pack(socket.AF_UNSPEC, 0, 0))
    except OSError as error:
        if error.errno in _NO_SUCH_TABLES:
            return []
        raise
    return [parse_flow_table(body) for message, body in messages if message == _NEWFLOWTABLE]


def parse_flow_table(body: bytes) -> FlowTable:
    """One NFT_MSG_NEWFLOWTABLE message."""
    found = dict(attributes(body, _NFGENMSG.size))
    devices = dict(attributes(found.get(_FT_HOOK, b""))).get(_FT_HOOK_DEVS, b"")
    flags = found.get(_FT_FLAGS, b"")
    return FlowTable(
        table=text(found.get(_FT_TABLE, b"")),
        name=text(found.get(_FT_NAME, b"")),
        hardware=len(flags) >= 4 and bool(_BE32.unpack_from(flags)[0] & _FT_HW_OFFLOAD),
        devices=tuple(text(payload) for _, payload in attributes(devices)),
    )


def features(interface: str) -> frozenset[str]:
    """The names of an interface's features that are on, as `ethtool -k` calls them in the kernel; OSError if none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        asked = Struct("=IIQI").pack(_GSSET_INFO, 0, 1 << _SS_FEATURES, 0)
        answer = _ethtool(control, interface, asked)
        count = min(Struct("=I").unpack_from(answer, 16)[0], _MAX_FEATURES)
        names = _ethtool(control, interface, Struct("=III").pack(_GSTRINGS, _SS_FEATURES, count), count * _STRING_BYTES)
        blocks = (count + 31) // 32
        bits = _ethtool(control, interface, Struct("=II").pack(_GFEATURES, blocks), blocks * 16)
    on = set()
    for position in range(count):
        # struct ethtool_get_features_block: available, requested, active, never_changed
        active = Struct("=I").unpack_from(bits, 8 + (position // 32) * 16 + 8)[0]
        if active >> (position % 32) & 1:
            on.add(text(names[12 + position * _STRING_BYTES : 12 + (position + 1) * _STRING_BYTES]))
    return frozenset(on)


def _ethtool(control: socket.socket, interface: str, request: bytes, room: int = 0) -> bytes:
    data = array("B", request + bytes(room))
    name = interface.encode()[:15]
    # struct ifreq: 16 bytes of name, then a union that here holds a pointer to the request
    fcntl.ioctl(control, _SIOCETHTOOL, Struct("16sP16x").pack(name, data.buffer_info()[0]))
    return data.tobytes()


def problems(interfaces: Iterable[str]) -> list[Problem]:
    """What an owner should know about packets that never reach the mirror or the DPI agent."""
    return [*_firewall_problems(), *(problem for name in interfaces for problem in _interface_problems(name))]


def _firewall_problems() -> list[Problem]:
    try:
        tables = flow_tables()
    except OSError as error:
        tables = []
        unknown = [
            Problem("flow_offload_unknown", f"cannot see whether the firewall offloads flows: {error}", "", "info")
        ]
    else:
        unknown = []
    try:
        defaults = [section.options for section in uci.read("firewall") if section.type == "defaults"]
    except OSError as error:
        defaults = []
        text_ = f"cannot read the firewall's settings: {error}"
        unknown.append(Problem("flow_offload_unknown", text_, "", "info"))
    soft = any(options.get("flow_offloading") == "1" for options in defaults)
    hard = soft and any(options.get("flow_offloading_hw") == "1" for options in defaults)
    where = [f"{table.table}/{table.name}" for table in tables]
    details: dict[str, object] = {"flow_tables": where} if where else {}
    if hard or any(table.hardware for table in tables):
        return [
            Problem(
                "flow_offload_hardware",
                "hardware flow offload is on: packets of established connections stay in the switch chip,"
                " so most bytes and many applications are missed",
                "set flow_offloading_hw and flow_offloading to 0 in /etc/config/firewall and restart the firewall",
                details=details,
            )
        ]
    if soft or tables:
        return [
            Problem(
                "flow_offload_software",
                "software flow offload is on: packets of established connections take a short cut past the bridge"
                " and the firewall, so flows and bytes are missed",
                "set flow_offloading to 0 in /etc/config/firewall and restart the firewall",
                details=details,
            )
        ]
    return unknown


def _interface_problems(interface: str) -> Iterator[Problem]:
    try:
        on = features(interface)
    except OSError:  # it is gone, or its driver has no features; a missing source is reported where it matters
        return
    if "hw-tc-offload" in on:
        yield Problem(
            "tc_offload_hardware",
            f"{interface} can run tc filters in hardware (hw-tc-offload): what it forwards by itself is not mirrored",
            f"ethtool -K {interface} hw-tc-offload off",
            "info",
            {"interface": interface},
        )
    merging = sorted(on.intersection(_MERGING))
    if merging:
        yield Problem(
            "receive_merging",
            f"{interface} merges received packets ({', '.join(merging)}) before they are mirrored:"
            " fewer and larger packets are counted than were on the wire; flows and bytes are not affected much",
            "",
            "info",
            {"interface": interface, "features": merging},
        )
