"""The agent: captures, classifies, tells.

    python -m lab.netifyd --socket PATH --internal br-lan --external tap0 [--tick 15]

Interfaces may be missing at the start, vanish and come back: each is opened again within a second. SIGTERM ends it
cleanly, every flow purged. What it did and what a packet cost is said on standard error at the end.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lab.netifyd import wire
from lab.netifyd.addresses import Inside, Interface, read_interfaces
from lab.netifyd.capture import EVENTS, Capture
from lab.netifyd.flows import Flow, FlowTable
from lab.netifyd.hints import DnsHints
from lab.netifyd.ndpi import Engine
from lab.netifyd.server import AgentSocket

#: netifyd's times, as shares of its 15 s tick: what has no end of its own expires after 28 s, TCP after 300 s;
#: a closed TCP connection is purged after 18 s; a flow that nDPI does not recognise is announced as such after 5 s,
#: with short ticks no sooner than a slow connection needs to say what it is.
_IDLE, _IDLE_TCP, _CLOSED, _GIVE_UP = 28 / 15, 300 / 15, 18 / 15, 5 / 15
_GIVE_UP_LEAST_S = 2
_REOPEN_S = 0.5
_SWEEPS_A_TICK = 15
_STATS = (
    *("capture_dropped", "capture_filtered", "discarded", "discarded_bytes", "ethernet", "fragmented", "icmp", "igmp"),
    *("ip", "ip_bytes", "largest_bytes", "mpls", "pcap_drop", "pcap_ifdrop", "pcap_recv", "pppoe", "queue_dropped"),
    *("raw", "tcp", "tcp_resets", "tcp_seq_error", "udp", "vlan", "wire_bytes"),
)
#: What an Ethernet frame takes on the wire besides the bytes captured: preamble, FCS, gap between packets.
_WIRE_OVERHEAD = 24


@dataclass
class Link:
    """One interface to watch."""

    table: FlowTable
    capture: Capture | None = None


class Agent:
    """Everything in one thread around one epoll."""

    def __init__(self, path: Path, roles: dict[str, bool], tick_s: float) -> None:
        self._tick_s = tick_s
        self._give_up_ms = 1000 * max(_GIVE_UP * tick_s, _GIVE_UP_LEAST_S)
        self._begin = time.monotonic()
        self._poll = select.epoll()
        self._engine = Engine()
        self._hints = DnsHints()
        self._interfaces: dict[str, Interface] = read_interfaces()
        inside = Inside(self._interfaces)
        self._links = {
            name: Link(FlowTable(name, internal, self._engine, inside, self._hints, self._announce))
            for name, internal in roles.items()
        }
        self._previous = {"cpu_user": 0.0, "cpu_system": 0.0, "flow_count": 0, "maxrss_kb": 0}
        self._stopping = False
        self._packets = 0
        self._busy_s = 0.0
        self._wake = socket.socketpair()
        self._socket = AgentSocket(path, self._poll)

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for end in self._wake:
            end.setblocking(False)
        self._poll.register(self._wake[0], select.EPOLLIN)
        signal.set_wakeup_fd(self._wake[1].fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        now = time.monotonic()
        due = {"reopen": now, "sweep": now, "tick": now + self._tick_s}
        try:
            while not self._stopping:
                timeout = max(0.0, min(due.values()) - time.monotonic())
                for descriptor, events in self._poll.poll(timeout):
                    self._handle(descriptor, events)
                now = time.monotonic()
                if now >= due["reopen"]:
                    due["reopen"] = now + _REOPEN_S
                    self._reopen()
                if now >= due["sweep"]:
                    due["sweep"] = now + self._tick_s / _SWEEPS_A_TICK
                    self._sweep()
                if now >= due["tick"]:
                    due["tick"] += self._tick_s
                    self._tick()
        finally:
            self._close()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _handle(self, descriptor: int, events: int) -> None:
        for link in self._links.values():
            if link.capture is not None and link.capture.fileno() == descriptor:
                if events & select.EPOLLERR:
                    self._reopen()
                else:
                    self._read(link, link.capture)
                return
        if self._socket.handle(descriptor, events):
            return
        reader = self._socket.accept(descriptor)
        if reader is not None:
            for message in (wire.hello(), self._status(), wire.definitions()):
                self._socket.send(wire.frame(message), reader)
        elif descriptor == self._wake[0].fileno():
            self._wake[0].recv(64)

    def _read(self, link: Link, capture: Capture) -> None:
        began = time.perf_counter()
        table, ring = link.table, capture.ring
        number = 0
        for start, captured, length, now_ms, vlan in capture.packets():
            number += 1
            table.packet(ring, start, captured, length, now_ms, vlan)
        for flow in table.evicted:
            self._purge(flow, "terminated")
        table.evicted.clear()
        self._packets += number
        self._busy_s += time.perf_counter() - began

    def _reopen(self) -> None:
        for name, link in self._links.items():
            if link.capture is not None:
                try:
                    link.capture.check()
                    continue
                except OSError:
                    self._poll.unregister(link.capture)
                    link.capture.close()
                    link.capture = None
            try:
                link.capture = Capture(name)
            except OSError:
                continue  # not there yet: once more in half a second
            self._poll.register(link.capture, EVENTS)
            self._read_interfaces()

    def _read_interfaces(self) -> None:
        self._interfaces = read_interfaces()
        inside = Inside(self._interfaces)
        for link in self._links.values():
            link.table.inside = inside

    def _announce(self, flow: Flow) -> None:
        self._socket.send(wire.frame(wire.flow_message(flow)))
        flow.announcements += 1

    def _purge(self, flow: Flow, reason: str) -> None:
        if not flow.announcements:
            flow.give_up()
            self._announce(flow)
        flow.end_detection()
        self._socket.send(wire.frame(wire.purge_message(flow, reason)))
        flow.tell()

    def _sweep(self) -> None:
        now_ms = time.time() * 1000
        tick_ms = self._tick_s * 1000

        def over(flow: Flow) -> str:
            idle = (now_ms - flow.last_seen_ms) / tick_ms
            if flow.closed:
                return "closed" if idle >= _CLOSED else ""
            return "expired" if idle >= (_IDLE_TCP if flow.protocol == socket.IPPROTO_TCP else _IDLE) else ""

        for link in self._links.values():
            for flow, reason in link.table.remove(over):
                self._purge(flow, reason)
            for flow in link.table:
                if not flow.announcements and now_ms - flow.first_seen_ms >= self._give_up_ms:
                    flow.give_up()
                    self._announce(flow)
                elif flow.detection is not None and now_ms - flow.last_seen_ms >= self._give_up_ms:
                    flow.end_detection()  # 10 kB of nDPI's for what will hardly tell more

    def _tick(self) -> None:
        self._read_interfaces()
        for link in self._links.values():
            for flow in link.table:
                if flow.announcements and flow.untold:
                    self._socket.send(wire.frame(wire.stats_message(flow)))
                    flow.tell()
        self._socket.send(wire.frame(self._status(full=True)))

    def _status(self, full: bool = False) -> dict[str, Any]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        now = {
            "cpu_user": round(usage.ru_utime, 6),
            "cpu_system": round(usage.ru_stime, 6),
            "flow_count": sum(len(link.table) for link in self._links.values()),
            "maxrss_kb": usage.ru_maxrss,
        }
        status: dict[str, Any] = {
            "type": "agent_status",
            **now,
            **{f"{key}_prev": value for key, value in self._previous.items()},
            "cpu_cores": os.cpu_count(),
            "dhc_size": len(self._hints),
            "dhc_status": True,
            "sink_status": False,
            "sink_uploads": False,
            "timestamp": int(time.time()),
            "update_imf": 1,
            "update_interval": int(self._tick_s) or 1,
            "uptime": int(time.monotonic() - self._begin),
            "version": 1.9,
        }
        if full:
            self._previous = now
            status["agent_version"] = wire.AGENT_VERSION
            status["interfaces"] = {name: self._interface(name) for name in self._links}
            status["stats"] = {name: self._stats(link) for name, link in self._links.items()}
            status["devices"] = self._devices() or None
        return status

    def _interface(self, name: str) -> dict[str, Any]:
        link = self._links[name]
        role = {"role": "LAN" if link.table.internal else "WAN"}
        interface = self._interfaces.get(name)
        if interface is None or link.capture is None:
            return {**role, "state": 0}
        return {**role, "state": 1, "mac": interface.mac, "addr": list(interface.addresses)}

    def _stats(self, link: Link) -> dict[str, int]:
        table = link.table
        counts, largest = table.counts.copy(), table.largest
        table.counts.clear()
        table.largest = 0
        dropped = link.capture.count_drops() if link.capture is not None else 0
        counts |= {
            "ethernet": counts["raw"],
            "pcap_recv": counts["raw"],
            "pcap_drop": dropped,
            "largest_bytes": largest,
            "wire_bytes": counts["ip_bytes"] + counts["ip"] * _WIRE_OVERHEAD,
        }
        return {key: counts[key] for key in _STATS}

    def _devices(self) -> dict[str, list[str]]:
        devices: dict[str, list[str]] = {}
        for link in self._links.values():
            for mac, addresses in link.table.devices.items():
                devices.setdefault(mac.hex(":"), []).extend(str(ip_address(packed)) for packed in addresses)
            link.table.devices.clear()
        return devices

    def _close(self) -> None:
        for link in self._links.values():
            if link.capture is not None:
                self._read(link, link.capture)
            for flow, reason in link.table.remove(lambda _: "terminated"):
                self._purge(flow, reason)
        self._socket.send(wire.frame(self._status(full=True)))
        self._socket.close()
        for link in self._links.values():
            if link.capture is not None:
                link.capture.close()
        cost = 1e6 * self._busy_s / max(1, self._packets)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{self._packets} packets, {cost:.1f} µs each, {memory:.0f} MB", file=sys.stderr)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="lab.netifyd", description=__doc__.splitlines()[0])
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to serve")
    parser.add_argument("--internal", action="append", default=[], metavar="IF", help="LAN interface, as netifyd's -I")
    parser.add_argument("--external", action="append", default=[], metavar="IF", help="WAN interface, as netifyd's -E")
    parser.add_argument("--tick", type=float, default=15, help="seconds between updates; flows expire in proportion")
    options = parser.parse_args()
    roles = dict.fromkeys(options.internal, True) | dict.fromkeys(options.external, False)
    if not roles:
        parser.error("at least one --internal or --external")
    if options.tick <= 0:
        parser.error("--tick must be above zero")
    Agent(options.socket, roles, options.tick).run()


if __name__ == "__main__":
    main()
