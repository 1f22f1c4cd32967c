"""Traffic control as the kernel has it: the ingress hook of each interface and the filters on it.

Also the bytes of a mirror filter, so that what is written and what is read stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from socket import htons
from struct import Struct

from dpi_dual.capture.netlink import NLA_F_NESTED, Netlink, attribute, attributes, text

RTM_NEWQDISC, RTM_DELQDISC, _RTM_GETQDISC = 36, 37, 38
RTM_NEWTFILTER, RTM_DELTFILTER, _RTM_GETTFILTER = 44, 45, 46

HOOK_PARENT = 0xFFFFFFF1
"""Where `clsact` and the older `ingress` qdisc sit: the same place, so an interface has one or the other."""
HOOK_HANDLE = 0xFFFF0000
"""The qdisc itself; also where `tc` and SQM put the filters of an `ingress` qdisc (`parent ffff:`)."""
PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}

PROTOCOL_ALL = htons(0x0003)
"""ETH_P_ALL as `tcm_info` has it: in network order, whatever ours is."""
COOKIE = b"dpi-dual:"
"""How our filters are told from the owner's, wherever they are: kept by the kernel with the filter's action."""
COOKIE_FILTER = COOKIE + b"f"
COOKIE_FILTER_AND_HOOK = COOKIE + b"q"
"""On a filter whose hook we added too: it goes when our filter goes, unless somebody else uses it by then."""

_TCMSG = Struct("=BxxxiIII")
_INT = Struct("=I")

# linux/rtnetlink.h, linux/pkt_cls.h, linux/gen_stats.h
_TCA_KIND, _TCA_OPTIONS, _TCA_CHAIN = 1, 2, 11
_ACTIONS_IN = {"matchall": 2, "u32": 7, "bpf": 1, "flower": 3, "basic": 3, "fw": 4, "flow": 9}
_U32_SEL, _U32_ACT, _U32_FLAGS = 5, 7, 11
_MATCHALL_ACT, _MATCHALL_FLAGS = 2, 3
_ACT_KIND, _ACT_OPTIONS, _ACT_STATS, _ACT_COOKIE = 1, 2, 4, 6
_MIRRED_PARMS = 2
_STATS_BASIC, _STATS_QUEUE, _STATS_PKT64 = 1, 3, 8
_SKIP_HW = 1

_PARMS = Struct("=IIiiiiI")
"""struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex."""
_EGRESS_MIRROR = 2
_CONTINUE = -1
"""TC_ACT_UNSPEC: go on with the next filter. The usual `pipe` would end the lookup, and the owner's filters
behind ours would never run."""
_BASIC = Struct("=QI")
_QUEUE = Struct("=5I")
_U64 = Struct("=Q")


@dataclass(frozen=True, slots=True)
class Filter:
    """One entry of a filter listing. u32 also lists its hash tables: entries without an action (`structural`)."""

    parent: int
    priority: int
    protocol: int
    handle: int
    kind: str
    chain: int
    cookie: bytes
    target: int
    """Interface index that the first action mirrors to; 0 if it mirrors nowhere, or to an interface that is gone."""
    continues: bool
    packets: int
    bytes: int
    drops: int
    overlimits: int

    @property
    def ours(self) -> bool:
        """Made by us, in this run or an earlier one."""
        return self.cookie.startswith(COOKIE)

    @property
    def hook_is_ours(self) -> bool:
        """Made by us together with the qdisc it sits on."""
        return self.cookie == COOKIE_FILTER_AND_HOOK

    @property
    def structural(self) -> bool:
        """A table or a mere priority, not a filter that packets meet."""
        return self.handle == 0 or (self.kind == "u32" and self.handle & 0xFFF == 0)


def hooks(netlink: Netlink) -> dict[int, str]:
    """Interface index → kind of the qdisc on its ingress hook: `clsact` or `ingress`; absent if there is none."""
    found = {}
    for message, body in netlink.dump(_RTM_GETQDISC, _TCMSG.pack(0, 0, 0, 0, 0)):
        if message == RTM_NEWQDISC and len(body) >= _TCMSG.size:
            _, index, _, parent, _ = _TCMSG.unpack_from(body)
            if parent == HOOK_PARENT:
                found[index] = text(dict(attributes(body, _TCMSG.size)).get(_TCA_KIND, b""))
    return found


def filters(netlink: Netlink, index: int, direction: str) -> list[Filter]:
    """What packets of one direction meet at an interface's hook, in the kernel's order."""
    request = _TCMSG.pack(0, index, 0, PARENTS[direction], 0)
    messages = netlink.dump(_RTM_GETTFILTER, request)
    return [_filter(body) for message, body in messages if message == RTM_NEWTFILTER and len(body) >= _TCMSG.size]


def _filter(body: bytes) -> Filter:
    _, _, handle, parent, info = _TCMSG.unpack_from(body)
    found = dict(attributes(body, _TCMSG.size))
    kind = text(found.get(_TCA_KIND, b""))
    options = dict(attributes(found.get(_TCA_OPTIONS, b"")))
    # The first action says it all for our own filters; an owner's are only looked at for whose they are.
    action = dict(attributes(dict(attributes(options.get(_ACTIONS_IN.get(kind, -1), b""))).get(1, b"")))
    target, continues = 0, False
    if text(action.get(_ACT_KIND, b"")) == "mirred":
        parms = dict(attributes(action.get(_ACT_OPTIONS, b""))).get(_MIRRED_PARMS, b"")
        if len(parms) >= _PARMS.size:
            _, _, control, _, _, _, target = _PARMS.unpack_from(parms)
            continues = control == _CONTINUE
    stats = dict(attributes(action.get(_ACT_STATS, b"")))
    size, packets = _unpack(_BASIC, stats.get(_STATS_BASIC, b""))
    _, _, drops, _, overlimits = _unpack(_QUEUE, stats.get(_STATS_QUEUE, b""))
    return Filter(
        parent=parent,
        priority=info >> 16,
        protocol=info & 0xFFFF,
        handle=handle,
        kind=kind,
        chain=_unpack(_INT, found.get(_TCA_CHAIN, b""))[0],
        cookie=action.get(_ACT_COOKIE, b""),
        target=target,
        continues=continues,
        packets=_unpack(_U64, stats[_STATS_PKT64])[0] if _STATS_PKT64 in stats else packets,
        bytes=size,
        drops=drops,
        overlimits=overlimits,
    )


def _unpack(form: Struct, payload: bytes) -> tuple[int, ...]:
    return form.unpack_from(payload) if len(payload) >= form.size else (0,) * len(form.unpack(bytes(form.size)))


def mirror_options(kind: str, target: int, cookie: bytes) -> bytes:
    """TCA_OPTIONS of a filter of that kind which copies every packet to the interface `target` and lets it go on.

    Never offloaded: a switch chip that copies to a software interface does not exist, and asking costs.
    """
    parms = _PARMS.pack(0, 0, _CONTINUE, 0, 0, _EGRESS_MIRROR, target)
    action = (
        attribute(_ACT_KIND, b"mirred\0")
        + attribute(_ACT_OPTIONS | NLA_F_NESTED, attribute(_MIRRED_PARMS, parms))
        + attribute(_ACT_COOKIE, cookie)
    )
    actions = attribute(1 | NLA_F_NESTED, action)
    skip_hw = _INT.pack(_SKIP_HW)
    if kind == "matchall":
        return attribute(_MATCHALL_ACT | NLA_F_NESTED, actions) + attribute(_MATCHALL_FLAGS, skip_hw)
    # struct tc_u32_sel with TC_U32_TERMINAL and one key: at offset 0, mask 0, value 0 - `match u32 0 0`
    selector = bytes((1, 0, 1)) + bytes(13) + bytes(16)
    return attribute(_U32_SEL, selector) + attribute(_U32_ACT | NLA_F_NESTED, actions) + attribute(_U32_FLAGS, skip_hw)


def request(index: int, handle: int, parent: int, info: int, kind: str, options: bytes = b"") -> bytes:
    """The body of a request to add or delete a qdisc or a filter."""
    body = _TCMSG.pack(0, index, handle, parent, info) + attribute(_TCA_KIND, kind.encode() + b"\0")
    return body + attribute(_TCA_OPTIONS | NLA_F_NESTED, options) if options else body


def filter_info(priority: int, protocol: int = PROTOCOL_ALL) -> int:
    """`tcm_info` of a filter: its priority and its protocol."""
    return priority << 16 | protocol


def foreign_priorities(listing: Iterable[Filter]) -> set[int]:
    """Priorities of chain 0 where somebody else's filter is, or was and left its table behind."""
    chain = [entry for entry in listing if entry.chain == 0]
    real = [entry for entry in chain if not entry.structural]
    ours = {entry.priority for entry in real if entry.ours}
    return {entry.priority for entry in real if not entry.ours} | {
        entry.priority for entry in chain if entry.structural and entry.priority not in ours
    }
