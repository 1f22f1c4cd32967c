"""A DPI agent's side of the agent socket, enough to give the engine something to show: netifyd 4.4's frames."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

#: (client, its MAC, its address, server name, server, port, nDPI protocol, application, bytes sent, received)
FLOWS = (
    (
        "02:00:5e:00:01:64",
        "192.168.1.100",
        "www.youtube.com",
        "198.51.100.20",
        443,
        "HTTP/S",
        "netify.youtube",
        1800,
        903_000,
    ),
    ("02:00:5e:00:01:65", "192.168.1.101", "\x1b[2J\u202eevil.example", "198.51.100.30", 443, "HTTP/S", "", 700, 5_000),
    ("02:00:5e:00:01:65", "fdaa:1::101", "", "2001:db8:5100::10", 53, "DNS", "", 90, 210),
)


def _frames() -> bytes:
    now = int(time.time() * 1000)
    messages: list[dict[str, Any]] = [
        {"type": "agent_hello", "agent_version": "4.4.7", "json_version": 1.9},
        {
            "type": "agent_status",
            "uptime": 30,
            "timestamp": now // 1000,
            "flow_count": len(FLOWS),
            "update_interval": 15,
        },
    ]
    for number, (mac, ip, name, server, port, protocol, application, sent, received) in enumerate(FLOWS):
        key = {"digest": f"{number:040x}", "last_seen_at": now}
        about = {"interface": "lo", "internal": True, "established": False}
        flow = {
            **key,
            "first_seen_at": now - 1000,
            "ip_version": 6 if ":" in ip else 4,
            "ip_protocol": 17 if port == 53 else 6,
            "local_ip": ip,
            "local_mac": mac,
            "local_port": 40_000 + number,
            "local_origin": True,
            "other_ip": server,
            "other_mac": "02:00:5e:00:01:01",
            "other_port": port,
            "other_type": "remote",
            "detected_protocol": 196,
            "detected_protocol_name": protocol,
            "detected_application": 124 if application else 0,
            "detected_application_name": application or "Unknown",
            "detection_guessed": False,
            "host_server_name": name,
            "vlan_id": 0,
        }
        counted = {
            **key,
            "local_bytes": sent,
            "other_bytes": received,
            "total_bytes": sent + received,
            "local_packets": 5,
            "other_packets": 9,
            "total_packets": 14,
        }
        messages += [{**about, "type": "flow", "flow": flow}, {**about, "type": "flow_stats", "flow": counted}]
    return framed(messages)


def framed(messages: list[dict[str, Any]]) -> bytes:
    """As they go over the socket: each after its length."""
    lines = (json.dumps(message).encode() for message in messages)
    return b"".join(b'{"length": %d}\n%b\n' % (len(line) + 1, line) for line in lines)


class Agent:
    """Listens on `path` while the `with` block runs; each that connects gets the same flows, and no end."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._connected: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connected.append(connection)
            connection.sendall(self.said())

    def said(self) -> bytes:
        """What each that connects is told."""
        return _frames()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing alone does not wake `accept`.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._connected:
            connection.close()
