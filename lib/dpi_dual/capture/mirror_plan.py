"""The mirror: what the kernel has of it, and which steps lead from there to what is wanted. Changes nothing.

Everything is derived from the kernel, so that a start, a stop or a crash at any moment leaves nothing to
remember: our filters carry a cookie, which also says whether their hook is ours, and our capture interface
has a MAC address of its own (the one mark that the kernel sets in the same step as it makes the interface).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dpi_dual import uci
from dpi_dual.capture import tc
from dpi_dual.capture.links import IFF_LOOPBACK, IFF_NOARP, Address, Link, addresses, links
from dpi_dual.capture.netlink import Netlink
from dpi_dual.capture.tc import Filter

MARK_MAC = "02:64:70:69:64:75"
"""Locally administered; the last five bytes spell `dpidu`."""
PEER_MAC = "02:64:70:69:64:76"
"""Of the other end where the capture interface had to be a veth pair."""
ALIAS = "dpi-dual"

PRIORITY = {"ingress": 49, "egress": 50}
"""Where our filters go by default. Odd and even: with one number for both, u32 shows each filter in both lists."""
CAPTURE_KINDS = ("dummy", "ifb", "veth")
"""What a capture interface is made as, the first that the kernel knows."""
DIRECTIONS = ("ingress", "egress")

_NAME = re.compile(r"[^\s/:%\x00-\x1f\x7f]{1,15}")


@dataclass(frozen=True, slots=True)
class Source:
    """An interface to mirror, as the kernel has it."""

    name: str
    link: Link | None
    hook: str = ""
    """clsact, ingress (the older qdisc: one direction only), or empty."""
    listings: dict[str, tuple[Filter, ...]] | None = None

    def listing(self, direction: str) -> tuple[Filter, ...]:
        """All filters of one direction, the owner's and ours."""
        return (self.listings or {}).get(direction, ())

    def ours(self, direction: str) -> list[Filter]:
        """Our filters of one direction; one when all is well."""
        return [entry for entry in self.listing(direction) if entry.ours]

    @property
    def hook_is_ours(self) -> bool:
        """We added the qdisc on the hook."""
        return any(entry.hook_is_ours for direction in DIRECTIONS for entry in self.listing(direction))

    @property
    def shared(self) -> bool:
        """Somebody else has filters on the hook."""
        return any(not entry.ours and not entry.structural for d in DIRECTIONS for entry in self.listing(d)) or any(
            tc.foreign_priorities(self.listing(direction)) for direction in DIRECTIONS
        )


@dataclass(frozen=True, slots=True)
class View:
    """What the kernel has of the mirror at one moment."""

    interface: str
    capture: Link | None
    sources: tuple[Source, ...]
    former: tuple[Source, ...]
    """Interfaces that are no source (any more) but still have filters of ours."""
    stray: tuple[Link, ...]
    """Capture interfaces that we made under another name."""
    addresses: tuple[Address, ...]
    """Of the capture interface: none, if it is fit for one."""
    shapers: frozenset[str] = frozenset()
    """Interfaces that SQM is told to shape: it adds the older `ingress` qdisc, and fails if clsact is in its place."""


@dataclass(frozen=True, slots=True)
class AddHook:
    """Adds the qdisc `kind` on the ingress hook."""

    index: int
    kind: str


@dataclass(frozen=True, slots=True)
class DeleteHook:
    """Deletes the qdisc on the ingress hook, and all filters on it."""

    index: int
    kind: str


@dataclass(frozen=True, slots=True)
class AddFilter:
    """Adds a mirror filter."""

    index: int
    parent: int
    priority: int
    target: int
    cookie: bytes


@dataclass(frozen=True, slots=True)
class DeleteFilter:
    """Deletes one filter; handle 0: everything at that priority."""

    index: int
    parent: int
    priority: int
    protocol: int
    handle: int
    kind: str


Step = AddHook | DeleteHook | AddFilter | DeleteFilter


def is_ours(link: Link) -> bool:
    """We made this interface as a capture interface. The kind counts: a bridge takes over the MAC of its member."""
    return link.kind in CAPTURE_KINDS and (link.mac == MARK_MAC or link.alias == ALIAS)


def valid_name(name: str) -> bool:
    """The kernel would take `name` for an interface (dev_valid_name), and it is safe in a path."""
    return bool(_NAME.fullmatch(name)) and name not in (".", "..")


def shaped_by_sqm() -> frozenset[str]:
    """The interfaces that the SQM package is told to shape."""
    try:
        sections = uci.read("sqm")
    except OSError:
        return frozenset()
    return frozenset(
        str(section.options.get("interface", "")) for section in sections if section.options.get("enabled") == "1"
    )


def look(netlink: Netlink, interface: str, sources: Sequence[str]) -> View:
    """What the kernel has now."""
    present = links(netlink)
    hooks = tc.hooks(netlink)
    by_name = {link.name: link for link in present}
    capture = by_name.get(interface)
    wanted = [_source(netlink, name, by_name.get(name), hooks) for name in dict.fromkeys(sources)]
    others = [
        _source(netlink, link.name, link, hooks)
        for link in present
        if link.index in hooks and link.name not in sources and link.name != interface
    ]
    return View(
        interface=interface,
        capture=capture,
        sources=tuple(wanted),
        former=tuple(source for source in others if any(source.ours(direction) for direction in DIRECTIONS)),
        stray=tuple(link for link in present if is_ours(link) and link.name != interface and link.mac != PEER_MAC),
        addresses=tuple(a for a in addresses(netlink) if capture is not None and a.index == capture.index),
        shapers=shaped_by_sqm(),
    )


def _source(netlink: Netlink, name: str, link: Link | None, hooks: dict[int, str]) -> Source:
    if link is None:
        return Source(name, None)
    hook = hooks.get(link.index, "")
    # An `ingress` qdisc answers for either direction with its one list: ask it once.
    directions = {"clsact": DIRECTIONS, "ingress": ("ingress",)}.get(hook, ())
    return Source(name, link, hook, {d: tuple(tc.filters(netlink, link.index, d)) for d in directions})


def objection(view: View) -> tuple[str, str]:
    """Why nothing may be mirrored to the capture interface: (code, sentence); empty when there is no reason.

    A copy that comes back to a source is copied again, and one that reaches a bridge floods the LAN.
    """
    name, link = view.interface, view.capture
    if not valid_name(name):
        return "mirror_bad_interface", f"{name[:40]!r} is not a name that an interface can have"
    if any(source.name == name for source in view.sources):
        return "mirror_loop", f"{name} cannot be both the capture interface and a source of the mirror"
    if link is None:
        return "", ""
    if link.flags & IFF_LOOPBACK:
        return "mirror_bad_interface", f"the loopback interface {name} cannot be a capture interface"
    if link.master:
        return "mirror_bad_interface", f"{name} is a member of a bridge or bond: copies would flood into it"
    own = [a for a in view.addresses if not a.interface.is_link_local]
    if own:
        return "mirror_bad_interface", f"{name} is in use: it has the address {own[0].interface}"
    near = {source.link.index: source.link for source in view.sources if source.link}
    if link.lower in near or any(source.lower == link.index for source in near.values()):
        return "mirror_loop", f"{name} and a source of the mirror are one above the other or two ends of one cable"
    return "", ""


def steps(source: Source, target: int, shaped: bool) -> list[Step]:
    """What is left to do so that `source` has exactly one filter a direction to interface index `target`.

    `target` 0: so that nothing of ours is left. Meant to be sent as one batch, which no crash can cut in two.
    """
    link = source.link
    if link is None:
        return []
    if not target or not link.ethernet:  # a DPI agent would read a PPP or WireGuard packet as an Ethernet frame
        return _removal(source, link)
    hook, made = source.hook, source.hook_is_ours
    wanted_hook = "ingress" if shaped else "clsact"
    first: list[Step] = []
    if hook and hook != wanted_hook and made and not source.shared:
        # Ours alone, and no longer the right kind: make room for SQM's, or take back both directions after it.
        first, hook = [DeleteHook(link.index, hook)], ""
        source = Source(source.name, link)
    if not hook:
        first.append(AddHook(link.index, wanted_hook))
        hook, made = wanted_hook, True
    cookie = tc.COOKIE_FILTER_AND_HOOK if made else tc.COOKIE_FILTER
    for direction in DIRECTIONS if hook == "clsact" else ("ingress",):
        good = [entry for entry in source.ours(direction) if _is_right(entry, source, direction, target)]
        keep = good[:1]
        first += [_delete(link, source, direction, entry) for entry in source.ours(direction) if entry not in keep]
        if not keep:
            parent, priority = _parent(source, hook, direction), _priority(source, direction)
            first.append(AddFilter(link.index, parent, priority, target, cookie))
    return first


def _removal(source: Source, link: Link) -> list[Step]:
    if source.hook_is_ours and not source.shared:
        return [DeleteHook(link.index, source.hook)]
    return [_delete(link, source, direction, entry) for direction in DIRECTIONS for entry in source.ours(direction)]


def _is_right(entry: Filter, source: Source, direction: str, target: int) -> bool:
    # Behind an owner's filter that redirects (SQM does) or drops, ours would see nothing: it must come first.
    foreign = tc.foreign_priorities(source.listing(direction))
    first = not foreign or entry.priority < min(foreign) or _priority(source, direction) > min(foreign)
    return entry.target == target and entry.continues and entry.protocol == tc.PROTOCOL_ALL and first


def _delete(link: Link, source: Source, direction: str, entry: Filter) -> DeleteFilter:
    alone = entry.priority not in tc.foreign_priorities(source.listing(direction))
    # u32 keeps the empty table of a priority when only its last filter is deleted: delete the priority.
    handle = 0 if alone else entry.handle
    return DeleteFilter(
        link.index, _parent(source, source.hook, direction), entry.priority, entry.protocol, handle, entry.kind
    )


def _priority(source: Source, direction: str) -> int:
    """Our usual priority if it is free and before every filter of the owner's, else the next free one before them."""
    usual = PRIORITY[direction]
    ceiling = min(tc.foreign_priorities(source.listing(direction)), default=0x10000)
    taken = set().union(*(tc.foreign_priorities(source.listing(d)) for d in DIRECTIONS))
    for priority in range(usual, 0, -2):
        if priority < ceiling and priority not in taken:
            return priority
    # The owner's begin at 1 already; behind them is better than nowhere, and the status says so.
    return next(priority for priority in range(usual, 0xC000, 2) if priority not in taken and priority > ceiling)


def _parent(source: Source, hook: str, direction: str) -> int:
    """Where to address filters. An `ingress` qdisc shows all its filters under the parent that was named last:
    name the one that it has, and an owner sees no change."""
    if hook != "ingress":
        return tc.PARENTS[direction]
    return next((entry.parent for entry in source.listing(direction)), tc.HOOK_HANDLE)


def behind(source: Source, direction: str) -> bool:
    """Our filter comes after one of the owner's, which may take packets away before we see them."""
    foreign = tc.foreign_priorities(source.listing(direction))
    return any(foreign and min(foreign) <= entry.priority for entry in source.ours(direction))


def count(source: Source, direction: str, target: int) -> int:
    """How many of our filters mirror this direction to `target`."""
    return sum(entry.target == target for entry in source.ours(direction))


def is_complete(view: View) -> bool:
    """Every source is copied both ways, exactly once, to a capture interface that is up."""
    link = view.capture
    return bool(
        link is not None
        and link.up
        and view.sources
        and not any(objection(view))
        and all(
            source.link is not None and count(source, d, link.index) == len(source.ours(d)) == 1
            for source in view.sources
            for d in DIRECTIONS
        )
    )


def is_dressed(link: Link) -> bool:
    """Our capture interface is as we make it: up, silent, named."""
    return link.up and bool(link.flags & IFF_NOARP) and link.alias == ALIAS


def is_settled(view: View, mode: str) -> bool:
    """Nothing is left to do that we can do: what is still missing (a source, say) must come from elsewhere."""
    if view.stray:
        return False
    if any(steps(source, 0, False) for source in view.former):
        return False
    if mode == "hardware" or any(objection(view)):
        left = any(steps(source, 0, False) for source in view.sources)
        return not left and not (mode == "hardware" and view.capture is not None and is_ours(view.capture))
    if view.capture is None or (is_ours(view.capture) and not is_dressed(view.capture)):
        return False
    return not any(steps(s, view.capture.index, s.name in view.shapers) for s in view.sources)


def is_removed(view: View) -> bool:
    """Nothing of ours is left anywhere."""
    ours = view.capture is not None and is_ours(view.capture)
    filters = any(source.ours(direction) for source in (*view.sources, *view.former) for direction in DIRECTIONS)
    return not (ours or filters or view.stray)
