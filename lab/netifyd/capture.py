"""Packets off one interface through a ring shared with the kernel (packet(7), packet_mmap: TPACKET_V2)."""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
from collections.abc import Iterator

# linux/if_packet.h and linux/if_ether.h; the socket module does not name them.
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_RX_RING = 5
_PACKET_STATISTICS = 6
_PACKET_VERSION = 10
_PACKET_MR_PROMISC = 1
_TPACKET_V2 = 1
_TP_STATUS_USER = 1
_TP_STATUS_VLAN_VALID = 1 << 4
_ETH_P_ALL = 3

#: struct tpacket2_hdr without its padding: status, len, snaplen, mac, net, sec, nsec, vlan_tci, vlan_tpid.
_HEADER = struct.Struct("=IIIHHIIHH")

#: A frame holds one packet; longer ones (offloads) are cut for inspection but counted whole.
_FRAME_BYTES = 2048
_BLOCK_BYTES = 1 << 16
_FRAMES = 2048

#: Packets handed out at a time, so that one busy interface does not starve the other.
BATCH = 512


class Capture:
    """One interface, promiscuous. `packets()` gives what has arrived since; raises `OSError` once it is gone."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self.index = socket.if_nametoindex(interface)
        self.dropped = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
            blocks = _FRAMES * _FRAME_BYTES // _BLOCK_BYTES
            request = struct.pack("=IIII", _BLOCK_BYTES, blocks, _FRAME_BYTES, _FRAMES)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
            promiscuous = struct.pack("=iHH8s", self.index, _PACKET_MR_PROMISC, 0, b"")
            self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, promiscuous)
            self.ring = mmap.mmap(self._socket.fileno(), _FRAMES * _FRAME_BYTES)
            self._socket.bind((interface, _ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise
        self._frame = 0

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    def packets(self) -> Iterator[tuple[int, int, int, int, int]]:
        """(offset in `ring`, bytes captured, bytes on the wire, time in ms, VLAN id), each valid until the next."""
        ring, frame = self.ring, self._frame
        for _ in range(BATCH):
            start = frame * _FRAME_BYTES
            status, length, captured, mac, _net, seconds, nanoseconds, tci, _tpid = _HEADER.unpack_from(ring, start)
            if not status & _TP_STATUS_USER:
                break
            vlan = tci & 0x0FFF if status & _TP_STATUS_VLAN_VALID else 0
            yield start + mac, captured, length, seconds * 1000 + nanoseconds // 1_000_000, vlan
            ring[start : start + 4] = b"\0\0\0\0"  # back to the kernel
            frame = self._frame = (frame + 1) % _FRAMES

    def check(self) -> None:
        """Raises `OSError` when the interface has gone, gone down, or is another one by the same name."""
        problem = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            raise OSError(problem, os.strerror(problem), self.interface)
        if socket.if_nametoindex(self.interface) != self.index:
            raise OSError(f"{self.interface} was made anew")

    def count_drops(self) -> int:
        """Packets that found the ring full since the last call."""
        _seen, dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.dropped += dropped
        return int(dropped)

    def close(self) -> None:
        """Gives everything back to the kernel."""
        self.ring.close()
        self._socket.close()


EVENTS = select.EPOLLIN | select.EPOLLERR
