"""The lab's network: a router between three LAN clients and an internet, all made of network namespaces.

    laptop ─┐
    phone  ─┼─ lan1..3 | br-lan  ROUTER  wan ── isp  INTERNET (addresses of servers and visitors on its loopback)
    tv     ─┘                      dmz
                                    └── nas  (serves what the router publishes)

IPv4 is masqueraded on `wan`, IPv6 is routed. The clients get IPv4 by DHCP and IPv6 by router advertisement
from the router's dnsmasq, which also forwards their DNS. The host's own interfaces are never touched.
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.netns import Namespace, veth

LAN_INTERFACE = "br-lan"
WAN_INTERFACE = "wan"
DMZ_INTERFACE = "dmz"
CLIENT_INTERFACE = "eth0"

#: Addresses of the router. 198.51.100.0/24, 203.0.113.0/24 and 2001:db8::/32 are for examples (RFC 5737, 3849).
ROUTER_LAN = "192.168.1.1"
ROUTER_LAN6 = "2001:db8:1::1"
ROUTER_WAN = "203.0.113.2"
ROUTER_WAN6 = "2001:db8:113::2"
ISP = "203.0.113.1"
ISP6 = "2001:db8:113::1"
LAN_NETWORKS = ("192.168.1.0/24", "2001:db8:1::/64")

#: The published services' host has a network of its own: what visitors ask of it is none of the LAN's traffic.
ROUTER_DMZ = "192.168.2.1"
NAS = "192.168.2.10"

#: Servers of the internet: host part → (IPv4, IPv6). Which service listens where is `lab.servers`' matter.
SERVER_ADDRESSES: dict[str, tuple[str, str]] = {
    role: (f"198.51.100.{n}", f"2001:db8:5100::{n}")
    for role, n in {"web": 10, "video": 20, "chat": 30, "shell": 40, "dns": 53}.items()
}

#: People on the internet who visit what the router publishes, and the one that `lab/bin/visitor` is.
VISITORS = tuple(f"192.0.2.{n}" for n in range(10, 40))
VISITORS6 = tuple(f"2001:db8:2000:{n:x}::1" for n in range(10, 20))
GUEST, GUEST6 = "192.0.2.77", "2001:db8:2000:77::1"

#: The devices of the LAN: name → MAC address.
CLIENT_MACS = {"laptop": "02:00:5e:00:01:64", "phone": "02:00:5e:00:01:65", "tv": "02:00:5e:00:01:66"}

ROUTER_MAC_LAN = "02:00:5e:00:01:01"
_ROUTER_MAC_WAN = "02:00:5e:00:02:02"
_ISP_MAC = "02:00:5e:00:02:01"

_FIREWALL = f"""
table ip nat {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{WAN_INTERFACE}" masquerade
  }}
}}
table inet filter {{
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "{LAN_INTERFACE}" accept
  }}
}}
"""

#: What udhcpc runs when something happens to its lease; it gets everything in environment variables.
_DHCP_SCRIPT = """#!/bin/sh
case "$1" in
bound|renew)
    ip address replace "$ip/$mask" dev "$interface"
    ip route replace default via "$router" dev "$interface"
    for server in $dns; do echo "nameserver $server"; done >"$RESOLV_CONF"
    ;;
deconfig) ip -4 address flush dev "$interface" scope global ;;
esac
"""


@dataclass(frozen=True)
class Client:
    """One device of the LAN."""

    name: str
    mac: str
    host: Namespace
    resolv_conf: Path

    def addresses(self, version: int) -> list[str]:
        """Its global addresses of IP version 4 or 6, as they are now."""
        listing = self.host.ip("-o", f"-{version}", "address", "show", "dev", CLIENT_INTERFACE, "scope", "global")
        return [line.split()[3].partition("/")[0] for line in listing.splitlines()]

    def interface_bytes(self) -> InterfaceBytes:
        """What its own interface has counted: Ethernet frames without FCS, ARP included."""
        base = f"/sys/class/net/{CLIENT_INTERFACE}/statistics/"
        names = ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")
        return InterfaceBytes(*map(int, self.host.run("cat", *(base + name for name in names)).stdout.split()))


@dataclass(frozen=True)
class InterfaceBytes:
    """Counters of one interface since it was made."""

    rx_bytes: int
    tx_bytes: int
    rx_packets: int
    tx_packets: int

    @property
    def total_bytes(self) -> int:
        """Received and sent."""
        return self.rx_bytes + self.tx_bytes


class LabNetwork:
    """The whole network. A context manager; `close()` or the end of this process ends every host and process in it.

    `router`, `internet`, `nas`: hosts (`Namespace`). `clients`: name → `Client`. `directory`: run-time files, among
    them `lease_file` (dnsmasq's format, as on OpenWrt). `start_up()` yields a line before each step, for showing
    progress; `with LabNetwork() as network` runs it silently.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._stack = ExitStack()
        if directory is None:
            directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="dpi-lab-")))
        self.directory = directory
        self.lease_file = directory / "dhcp.leases"
        self.router: Namespace
        self.internet: Namespace
        self.nas: Namespace
        self.clients: dict[str, Client] = {}
        self._watched: dict[str, subprocess.Popen[Any]] = {}

    def start_up(self) -> Iterator[str]:
        """Builds everything, step by step; closes it again when a step fails."""
        try:
            yield "router and internet"
            self._make_router()
            yield "nas with the published services"
            self._make_nas()
            yield "clients " + ", ".join(CLIENT_MACS)
            for port, (name, mac) in enumerate(CLIENT_MACS.items(), start=1):
                self._make_client(name, mac, f"lan{port}")
            yield "DHCP, router advertisements and DNS on the router"
            self._start_dnsmasq()
            yield "addresses for the clients"
            self._lease_addresses()
        except BaseException:
            self.close()
            raise

    def client_bytes(self) -> dict[str, InterfaceBytes]:
        """Each client's own interface counters, by name."""
        return {name: client.interface_bytes() for name, client in self.clients.items()}

    def processes(self) -> dict[str, subprocess.Popen[Any]]:
        """The DHCP server and clients that this module keeps running, by name; for whoever watches over them."""
        return dict(self._watched)

    def close(self) -> None:
        """Ends everything; safe to call twice."""
        self._stack.close()

    def __enter__(self) -> LabNetwork:
        for _ in self.start_up():
            pass
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _host(self, name: str) -> Namespace:
        host = self._stack.enter_context(Namespace(name))
        # Duplicate address detection would keep each IPv6 address unusable for a second or two.
        host.sysctl(net__ipv6__conf__all__accept_dad=0, net__ipv6__conf__default__accept_dad=0)
        return host

    def _make_router(self) -> None:
        self.router = self._host("router")
        self.internet = self._host("internet")
        veth(self.router, WAN_INTERFACE, self.internet, "isp", macs=(_ROUTER_MAC_WAN, _ISP_MAC))
        self.internet.ip_batch(
            f"address add {ISP}/30 dev isp",
            f"address add {ISP6}/64 dev isp",
            f"route add {LAN_NETWORKS[1]} via {ROUTER_WAN6}",
            *(f"address add {v4}/32 dev lo" for v4, _ in SERVER_ADDRESSES.values()),
            *(f"address add {v6}/128 dev lo" for _, v6 in SERVER_ADDRESSES.values()),
            *(f"address add {v4}/32 dev lo" for v4 in (*VISITORS, GUEST)),
            *(f"address add {v6}/128 dev lo" for v6 in VISITORS6),
            # Who does not say which address to come from is the guest, not a neighbour of the router.
            # nodad: only an address that is no longer tentative can be a route's source.
            f"address add {GUEST6}/128 dev isp nodad",
            f"route add {ROUTER_WAN}/32 dev isp src {GUEST}",
            f"route add {ROUTER_WAN6}/128 dev isp src {GUEST6}",
        )
        resolv_conf = self.directory / "resolv.conf.internet"
        resolv_conf.write_text(f"nameserver {SERVER_ADDRESSES['dns'][0]}\n")
        self.internet.mount_over(resolv_conf, "/etc/resolv.conf")
        self.router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        self.router.ip_batch(
            f"link add {LAN_INTERFACE} address {ROUTER_MAC_LAN} type bridge mcast_snooping 0 forward_delay 0",
            f"link set {LAN_INTERFACE} up",
            f"address add {ROUTER_LAN}/24 dev {LAN_INTERFACE}",
            f"address add {ROUTER_LAN6}/64 dev {LAN_INTERFACE}",
            f"address add {ROUTER_WAN}/30 dev {WAN_INTERFACE}",
            f"address add {ROUTER_WAN6}/64 dev {WAN_INTERFACE}",
            f"route add default via {ISP}",
            f"route add default via {ISP6}",
        )
        self.router.run("nft", "-f", "-", input=_FIREWALL)
        # Both exist only once connection tracking (or br_netfilter, which not every kernel has) is in use.
        self.router.sysctl(net__netfilter__nf_conntrack_acct=1)
        if Path("/proc/sys/net/bridge").exists():
            self.router.sysctl(net__bridge__bridge___nf___call___iptables=0)

    def _make_nas(self) -> None:
        self.nas = self._host("nas")
        veth(self.router, DMZ_INTERFACE, self.nas, "eth0")
        self.router.ip("address", "add", f"{ROUTER_DMZ}/24", "dev", DMZ_INTERFACE)
        self.nas.ip_batch(f"address add {NAS}/24 dev eth0", f"route add default via {ROUTER_DMZ}")

    def _make_client(self, name: str, mac: str, port: str) -> None:
        host = self._host(name)
        # Router solicitations at once and soon again; and none before the router is there to answer.
        host.sysctl(
            net__ipv6__conf__default__router_solicitation_delay=0,
            net__ipv6__conf__default__router_solicitation_interval=1,
            net__ipv6__conf__default__disable_ipv6=1,
        )
        veth(host, CLIENT_INTERFACE, self.router, port, macs=(mac, None))
        self.router.ip("link", "set", port, "master", LAN_INTERFACE)
        resolv_conf = self.directory / f"resolv.conf.{name}"
        resolv_conf.touch()
        host.mount_over(resolv_conf, "/etc/resolv.conf")
        self.clients[name] = Client(name, mac, host, resolv_conf)

    def _start_dnsmasq(self) -> None:
        lan = ipaddress.ip_network(LAN_NETWORKS[0])
        log = (self.directory / "dnsmasq.log").open("wb")
        options = {
            "interface": LAN_INTERFACE,
            "conf-file": "",
            "dhcp-leasefile": str(self.lease_file),
            "dhcp-range": f"{lan[100]},{lan[199]},255.255.255.0,12h",
            "server": SERVER_ADDRESSES["dns"][0],
        }
        argv = [f"--{key}={value}" if value else f"--{key}=" for key, value in options.items()]
        # --no-daemon: no change of user or group, which a user namespace would refuse; logs to standard error.
        flags = ["--no-daemon", "--no-resolv", "--no-hosts", "--bind-interfaces", "--dhcp-authoritative"]
        ipv6 = ["--enable-ra", f"--dhcp-range={ROUTER_LAN6.rstrip('1')},ra-only,64,12h"]
        hosts = [f"--dhcp-host={mac},{lan[100 + i]}" for i, mac in enumerate(CLIENT_MACS.values())]
        # The free-address check by ICMP echo would take three seconds; what each advertisement says, a full disk.
        quick = ["--no-ping", "--quiet-ra"]
        command = ["dnsmasq", *argv, *flags, *ipv6, *hosts, *quick]
        with log:
            self._watched["dnsmasq"] = self.router.popen(*command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._wait_until(lambda: "started" in (self.directory / "dnsmasq.log").read_text(), "dnsmasq to start")

    def _lease_addresses(self) -> None:
        script = self.directory / "udhcpc.sh"
        script.write_text(_DHCP_SCRIPT)
        script.chmod(0o755)
        for client in self.clients.values():
            # Stays to renew the lease; ends, which is noticed below, when it gets none.
            command = ["busybox", "udhcpc", "-f", "-n", "-t", "5", "-T", "1", "-i", CLIENT_INTERFACE]
            command += ["-s", str(script), "-x", f"hostname:{client.name}"]
            environment = {**os.environ, "RESOLV_CONF": str(client.resolv_conf)}
            with (self.directory / f"udhcpc.{client.name}.log").open("wb") as log:
                self._watched[f"udhcpc {client.name}"] = client.host.popen(
                    *command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
        for client in self.clients.values():
            asking = self._watched[f"udhcpc {client.name}"]
            self._wait_until(partial(_told, client, asking), f"a DHCP lease for {client.name}", seconds=20)
            if asking.poll() is not None:
                said = (self.directory / f"udhcpc.{client.name}.log").read_text()
                raise OSError(f"{client.name} got no DHCP lease: {said.strip()}")
        # The kernel tells IPv6 of a bridge's carrier up to a second late; before, the router could not advertise.
        show = ("-6", "address", "show", "dev", LAN_INTERFACE, "scope", "link")
        self._wait_until(lambda: self.router.ip(*show), f"a link-local address of {LAN_INTERFACE}")
        for client in self.clients.values():
            client.host.sysctl(**{f"net__ipv6__conf__{CLIENT_INTERFACE}__disable_ipv6": 0})
        for client in self.clients.values():
            self._wait_until(partial(client.addresses, 6), f"an IPv6 address for {client.name}")

    @staticmethod
    def _wait_until(condition: Any, what: str, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
            time.sleep(0.02)


def _told(client: Client, asking: subprocess.Popen[Any]) -> bool:
    return bool(client.resolv_conf.read_text()) or asking.poll() is not None


def why_not() -> str | None:
    """Why this process cannot make the lab's namespaces, in words for its owner; None when it can."""
    probe = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    return None if probe.returncode == 0 else probe.stderr.strip()


def rootless(argv: Sequence[str]) -> list[str]:
    """`argv` wrapped for an ordinary user: root in a user namespace, with a /run it may write to (same process id)."""
    prepare = 'mount -t tmpfs tmpfs /run && exec "$@"'
    return ["unshare", "-Urnm", "--", "sh", "-c", prepare, "sh", *argv]
