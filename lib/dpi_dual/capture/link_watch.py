"""Tells when interfaces or traffic control change, without saying what: whoever waits looks at the kernel itself."""

from __future__ import annotations

import asyncio
import errno
import socket
from types import TracebackType

from dpi_dual.capture.netlink import NETLINK_ROUTE

RTMGRP_LINK = 0x1
RTMGRP_NEIGH = 0x4
RTMGRP_TC = 0x8
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV6_IFADDR = 0x100


class LinkWatch:
    """A subscription to the kernel's notices. Many of them close together are one change. A context manager.

    Needs a running loop. Lost notices (ENOBUFS) count as a change like any other: that is why nothing is parsed.
    """

    def __init__(self, groups: int = RTMGRP_LINK | RTMGRP_TC, settle_s: float = 0.2) -> None:
        self._settle_s = settle_s
        self._changed = asyncio.Event()
        self.overruns = 0
        """How often notices were lost because more came than were read."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_ROUTE
        )
        try:
            self._socket.bind((0, groups))
        except OSError:
            self._socket.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._drain)

    def close(self) -> None:
        """Ends the subscription; safe to call twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def __enter__(self) -> LinkWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Waits for a change and until it has settled; False when there was none in time.

        A change before the call counts, unless `forget` was called since.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        # More notices of the same change follow within moments; a storm of them must not delay us for ever.
        for _ in range(5):
            self._changed.clear()
            await asyncio.sleep(self._settle_s)
            if not self._changed.is_set():
                break
        self._changed.clear()
        return True

    def forget(self) -> None:
        """Forgets the changes up to now: for whoever made them, or has just looked."""
        self._drain()
        self._changed.clear()

    def _drain(self) -> None:
        while True:
            try:
                if not self._socket.recv(1):  # the rest of a notice is cut off: only that it came matters
                    return
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1
            self._changed.set()
