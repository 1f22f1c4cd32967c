"""What the LAN analysis asks the kernel: who is on the LAN, what is the router itself, what conntrack counts."""

from __future__ import annotations

from dpi_dual.capture import conntrack
from dpi_dual.lan import neighbours
from dpi_dual.lan.ends import Neighbourhood
from dpi_dual.model import Problem

#: Connections read from one dump; a table larger than this is a flood.
MAX_CONNECTIONS = 16_384


class Kernel:
    """Reads and remembers; an answer that cannot be had is None, and `problems()` says why."""

    def __init__(self) -> None:
        self.counts_bytes = False
        """True while the kernel counts the bytes of connections."""
        self._known = Neighbourhood()
        self._errors: dict[str, str] = {}
        self._accounting: bool | None = None
        self._counts = {
            "neighbours_left_out": 0,
            "connections_left_out": 0,
            "connections_malformed": 0,
            "dumps_interrupted": 0,
        }

    def neighbourhood(self, interfaces: tuple[str, ...]) -> Neighbourhood | None:
        """Who is on these interfaces now; the same object as before when nothing has changed."""
        try:
            around, left_out = neighbours.neighbourhood(interfaces)
        except OSError as error:
            self._errors["neighbours"] = error.strerror or str(error)
            return None
        self._errors.pop("neighbours", None)
        self._counts["neighbours_left_out"] = left_out
        if around != self._known:
            self._known = around
        return self._known

    def connections(self) -> conntrack.Table | None:
        """The kernel's connections; None where it has none to tell."""
        try:
            self._accounting = conntrack.accounting_enabled()
            table = conntrack.dump(MAX_CONNECTIONS)
        except OSError as error:
            self._errors["conntrack"] = error.strerror or str(error)
            self.counts_bytes = False
            return None
        self._errors.pop("conntrack", None)
        self.counts_bytes = bool(self._accounting)
        self._counts["connections_left_out"] += table.left_out
        self._counts["connections_malformed"] += table.malformed
        self._counts["dumps_interrupted"] += table.interrupted
        return table

    def problems(self, needed: bool) -> list[Problem]:
        """What could not be had; of conntrack only while it is `needed`."""
        found = []
        if "neighbours" in self._errors:
            found.append(
                Problem(
                    "lan_neighbours_unreadable",
                    f"the neighbour tables cannot be read ({self._errors['neighbours']}); clients are known by what"
                    " the flows say alone.",
                    "The engine needs CAP_NET_ADMIN.",
                )
            )
        if needed and "conntrack" in self._errors:
            found.append(
                Problem(
                    "lan_conntrack_unreadable",
                    f"the connection table cannot be read ({self._errors['conntrack']}); rates are the DPI agent's, and"
                    " without an agent there are no figures of the LAN.",
                    "Install kmod-nf-conntrack-netlink; the engine needs CAP_NET_ADMIN.",
                )
            )
        elif needed and self._accounting is False:
            found.append(
                Problem(
                    "lan_conntrack_accounting_off",
                    "the kernel does not count the bytes of connections; rates are the DPI agent's, and without an"
                    " agent clients have flows but no bytes.",
                    "Set net.netfilter.nf_conntrack_acct=1 in /etc/sysctl.conf and run sysctl -p.",
                )
            )
        return found

    def counters(self) -> dict[str, int]:
        """Drops and oddities."""
        return {f"lan_{name}": number for name, number in self._counts.items()}
