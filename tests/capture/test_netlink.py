"""Raw netlink: attributes from hostile bytes, dumps and errors from the real kernel."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual.capture import netlink
from dpi_dual.capture.netlink import Netlink, attribute, attributes, text

RTM_GETLINK, RTM_NEWLINK = 18, 16
IFINFO = struct.pack("=BxHiII", 0, 0, 0, 0, 0)


@given(st.binary(max_size=400), st.integers(0, 500), st.integers(0, 500))
def test_any_bytes_are_walked_without_an_exception_and_within_bounds(data: bytes, start: int, end: int) -> None:
    for kind, payload in attributes(data, start, end):
        assert 0 <= kind <= netlink.NLA_TYPE_MASK
        assert payload in data[start:end] and len(payload) <= len(data)


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=10))
def test_what_is_packed_is_read_again(pairs: list[tuple[int, bytes]]) -> None:
    packed = b"".join(attribute(kind, payload) for kind, payload in pairs)
    assert len(packed) % 4 == 0
    assert list(attributes(packed)) == pairs


def test_text_ends_at_its_nul_and_survives_anything() -> None:
    assert text(b"eth0\0\0") == "eth0"
    assert text(b"\xff\0") == "\ufffd"
    assert text(b"") == ""


def test_a_dump_lists_the_loopback_interface() -> None:
    with Netlink() as kernel:
        bodies = [body for kind, body in kernel.dump(RTM_GETLINK, IFINFO) if kind == RTM_NEWLINK]
        names = [text(dict(attributes(body, 16))[3]) for body in bodies]
        assert "lo" in names
        assert len(kernel.dump(RTM_GETLINK, IFINFO)) == len(bodies)  # the socket is ready for the next


def test_the_kernels_error_comes_as_oserror_with_its_words() -> None:
    with Netlink() as kernel, pytest.raises(OSError) as caught:
        kernel.request(RTM_GETLINK, struct.pack("=BxHiII", 0, 0, 0x7FFFFFF0, 0, 0))
    assert caught.value.errno == errno.ENODEV


def test_after_an_error_the_socket_goes_on() -> None:
    with Netlink() as kernel:
        with pytest.raises(OSError):
            kernel.request(9999, b"")
        assert kernel.dump(RTM_GETLINK, IFINFO)


def test_a_dump_that_was_given_up_does_not_mix_into_the_next() -> None:
    with Netlink() as kernel:
        for _ in kernel.stream(RTM_GETLINK, IFINFO):
            break
        answers = kernel.request(RTM_GETLINK, struct.pack("=BxHiII", 0, 0, 1, 0, 0))
        assert len(answers) == 1


def test_a_batch_says_of_each_request_what_became_of_it() -> None:
    exists, missing = (struct.pack("=BxHiII", 0, 0, index, 0, 0) for index in (1, 0x7FFFFFF0))
    with Netlink() as kernel:
        first, second, third = kernel.batch([(RTM_GETLINK, 0, exists), (RTM_GETLINK, 0, missing), (9999, 0, b"")])
    assert first is None
    assert isinstance(second, OSError) and second.errno == errno.ENODEV
    assert isinstance(third, OSError)


def test_a_kernel_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    with Netlink(timeout_s=0.05) as kernel, pytest.raises(TimeoutError):
        next(kernel._answers(1, dump=True))


class Fake:
    """A socket that hands out what a kernel might, where no real one can be made to."""

    def __init__(self, *datagrams: bytes, sender: int = 0, flags: int = 0) -> None:
        self.datagrams, self.sender, self.flags = list(datagrams), sender, flags

    def settimeout(self, _: float) -> None: ...

    def recvmsg_into(self, buffers: list[bytearray]) -> tuple[int, list[object], int, tuple[int, int]]:
        if not self.datagrams:
            raise TimeoutError
        data = self.datagrams.pop(0)
        buffers[0][: len(data)] = data
        return len(data), [], self.flags, (self.sender, 0)

    def close(self) -> None: ...


def message(kind: int, body: bytes, flags: int = 0, sequence: int = 7, length: int | None = None) -> bytes:
    return struct.pack("=IHHII", 16 + len(body) if length is None else length, kind, flags, sequence, 0) + body


def answers(*datagrams: bytes, **options: int) -> list[bytes]:
    kernel = Netlink(timeout_s=0.05)
    kernel.close()
    kernel._socket = Fake(*datagrams, **options)  # type: ignore[assignment]
    return [data[start:end] for data, _, start, end in kernel._answers(7, dump=True)]


DONE = message(3, struct.pack("=i", 0))


def test_messages_of_several_datagrams_are_put_together() -> None:
    assert answers(message(16, b"aaaa") + message(16, b"bbbb"), message(16, b"cc") + b"\0\0", DONE) == [
        b"aaaa",
        b"bbbb",
        b"cc",
    ]


def test_a_table_that_changed_meanwhile_is_told() -> None:
    with pytest.raises(netlink.DumpInterruptedError):
        answers(message(16, b"aaaa", flags=netlink.NLM_F_DUMP_INTR), DONE)


@pytest.mark.parametrize("length", [0, 15, 21, 0xFFFFFFFF])
def test_impossible_lengths_are_an_error(length: int) -> None:
    with pytest.raises(OSError, match="impossible length"):
        answers(message(16, b"aaaa", length=length))


def test_a_dump_that_fails_at_its_end_says_so() -> None:
    with pytest.raises(OSError) as caught:
        answers(message(16, b"aaaa"), message(3, struct.pack("=i", -errno.ENOMEM)))
    assert caught.value.errno == errno.ENOMEM


def test_an_overrun_and_a_cut_message_are_errors() -> None:
    with pytest.raises(OSError) as caught:
        answers(message(4, b""))
    assert caught.value.errno == errno.ENOBUFS
    with pytest.raises(OSError) as caught:
        answers(DONE, flags=socket.MSG_TRUNC)
    assert caught.value.errno == errno.EMSGSIZE


def test_other_processes_are_not_believed() -> None:
    with pytest.raises(TimeoutError):
        answers(message(16, b"aaaa"), DONE, sender=os.getpid())


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_garbage_ends_in_an_oserror_at_worst(datagrams: list[bytes]) -> None:
    try:
        answers(*datagrams)
    except OSError:
        pass
