"""The segments of the half-open flows are what they say."""

from __future__ import annotations

import random
import socket
import struct

from lab.half_open import PORTS, checksum, syn


def test_a_segment_has_right_checksums_and_is_a_syn() -> None:
    source, target = socket.inet_aton("192.168.1.100"), socket.inet_aton("198.18.7.9")
    packet = syn(source, target, random.Random(1))
    head, segment = packet[:20], packet[20:]
    assert checksum(head) == 0
    assert checksum(source + target + struct.pack("!BBH", 0, 6, len(segment)) + segment) == 0
    assert struct.unpack("!H", head[2:4])[0] == len(packet)
    assert (head[12:16], head[16:20]) == (source, target)
    assert segment[13] == 2
    assert struct.unpack("!H", segment[2:4])[0] in PORTS


def test_the_checksum_is_that_of_the_standard() -> None:
    # the example of RFC 1071, section 3
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF ^ 0xDDF2
