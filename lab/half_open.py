"""`python -m lab.half_open COUNT SEED`, in a client's namespace: SYNs to addresses where nobody answers."""

from __future__ import annotations

import json
import random
import socket
import struct
import subprocess
import sys

from lab.network import CLIENT_INTERFACE, ROUTER_MAC_LAN

#: For benchmarks (RFC 2544): nobody answers there.
TARGETS = socket.inet_aton("198.18.0.0")[:2]
PORTS = (22, 23, 80, 443, 445, 8080)


def send(count: int, source: bytes, chance: random.Random) -> None:
    """So many first segments, each from and to other ports and addresses."""
    router = bytes.fromhex(ROUTER_MAC_LAN.replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((CLIENT_INTERFACE, 0))
        frame = router + raw.getsockname()[4] + b"\x08\x00"
        for _ in range(count):
            raw.send(frame + syn(source, TARGETS + chance.randbytes(2), chance))


def syn(source: bytes, target: bytes, chance: random.Random) -> bytes:
    """An IPv4 packet (RFC 791) with the first segment of a TCP connection (RFC 9293) from and to random ports."""
    ports = (chance.randrange(1024, 65536), chance.choice(PORTS))
    segment = struct.pack("!HHIIBBHHH", *ports, chance.getrandbits(32), 0, 5 << 4, 2, 64240, 0, 0)
    pseudo = source + target + struct.pack("!BBH", 0, 6, len(segment))
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0, source, target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + segment


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def own_address() -> bytes:
    """This client's IPv4 address."""
    show = ["ip", "-j", "-4", "address", "show", "dev", CLIENT_INTERFACE, "scope", "global"]
    listing = json.loads(subprocess.run(show, capture_output=True, text=True, check=True).stdout)
    return socket.inet_aton(listing[0]["addr_info"][0]["local"])


if __name__ == "__main__":
    send(int(sys.argv[1]), own_address(), random.Random(int(sys.argv[2])))
