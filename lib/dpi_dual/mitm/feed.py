"""The addon's way to its analyser: a bounded queue that never waits, and the process at its other end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dpi_dual.mitm.policy import Policy
from dpi_dual.mitm.record import Record, encode_record, without_body
from dpi_dual.mitm.wire import Frames, WireError, encode_frame

log = logging.getLogger(__name__)

#: What may wait for the analyser. Ordinary copies leave the last quarter to those in which something was found.
QUEUE_BYTES = 4 * 1024 * 1024
ORDINARY_BYTES = QUEUE_BYTES * 3 // 4
#: Copies gather so long before they are sent: one system call, and one wake-up of the analyser, for many.
GATHER_S = 0.01
SEND_BYTES = 256 * 1024
FIRST_RESTART_S, LONGEST_RESTART_S, SETTLED_S = 0.5, 30.0, 30.0
#: Alerts that the analyser has not taken up yet, kept in case it dies.
UNCONFIRMED = 500

Message = Callable[[dict[str, Any], bytes], None]


class Feed:
    """Runs in mitmproxy's event loop; every method returns at once."""

    def __init__(self, directory: str, key: bytes, policy: Policy, heard: Message, counts: dict[str, int]) -> None:
        """`heard(head, body)` takes the analyser's messages; drops and restarts are added to `counts`."""
        self.policy = policy
        self._directory = directory
        self._key = key
        self._heard = heard
        self._counts = counts
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._partial = b""
        self._unconfirmed: OrderedDict[str, bytes] = OrderedDict()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: list[subprocess.Popen[bytes]] = []
        self._frames = Frames()
        self._flushing = False
        self._blocked = False
        self._delay = FIRST_RESTART_S
        self._started_at = 0.0
        self._again: asyncio.TimerHandle | None = None
        self._closed = False

    # --- the queue

    def copy(self, record: Record) -> None:
        """Queues a copy; drops it, counted, when the queue is full."""
        urgent = record.blocked or (record.quick is not None and record.quick.alert)
        frame = encode_record(record)
        if urgent:
            if self._bytes + len(frame) > ORDINARY_BYTES:
                frame = encode_record(without_body(record))
            self._unconfirmed[record.id] = encode_record(without_body(record))
            if len(self._unconfirmed) > UNCONFIRMED:
                self._unconfirmed.popitem(last=False)
        if self._bytes + len(frame) > (QUEUE_BYTES if urgent else ORDINARY_BYTES):
            self._counts["dropped_alerts" if urgent else "dropped"] += 1
            return
        self._add(frame)

    def tell(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Queues any other message; dropped as an ordinary copy would be."""
        frame = encode_frame(head, body)
        if self._bytes + len(frame) <= QUEUE_BYTES:
            self._add(frame)

    def _add(self, frame: bytes) -> None:
        self._queue.append(frame)
        self._bytes += len(frame)
        if not self._flushing and self._socket is not None:
            self._flushing = True
            asyncio.get_running_loop().call_later(GATHER_S, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._socket is None or self._blocked:
            return
        while self._partial or self._queue:
            if not self._partial:
                parts, size = [], 0
                while self._queue and size < SEND_BYTES:
                    parts.append(self._queue.popleft())
                    size += len(parts[-1])
                self._bytes -= size
                self._partial = b"".join(parts)
            try:
                sent = self._socket.send(self._partial)
            except BlockingIOError:
                self._blocked = True
                asyncio.get_running_loop().add_writer(self._socket, self._writable)
                return
            except OSError:
                self._lost()
                return
            self._partial = self._partial[sent:]

    def _writable(self) -> None:
        self._blocked = False
        if self._socket is not None:
            asyncio.get_running_loop().remove_writer(self._socket)
        self._flush()

    # --- the process

    def start(self) -> None:
        """Starts the analyser; called again by itself when it ends."""
        self._again = None
        if self._closed:
            return
        self._reap()
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "dpi_dual.mitm.analyser",
                        "--fd",
                        str(theirs.fileno()),
                        "--directory",
                        self._directory,
                    ],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                )
        except OSError as error:
            ours.close()
            log.error("the analyser cannot be started: %s", error)
            self._later()
            return
        ours.setblocking(False)
        self._socket = ours
        self._frames = Frames()
        self._started_at = time.monotonic()
        self._blocked = False
        first = encode_frame({"t": "start", "policy": self.policy.as_dict()}, self._key)
        self._partial = first + b"".join(self._unconfirmed.values())
        asyncio.get_running_loop().add_reader(ours, self._readable)
        self._flush()

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        try:
            for head, body in self._frames.feed(data):
                if head.get("t") == "took":
                    self._unconfirmed.pop(str(head.get("id")), None)
                else:
                    self._heard(head, body)
        except WireError as error:
            log.error("the analyser is not understood: %s", error)
            self._lost()

    def _lost(self) -> None:
        """The analyser has gone: what was half sent is lost with it, the queue waits for the next one."""
        self._drop_socket()
        self._reap()
        self._partial = b""
        if not self._closed:
            self._counts["analyser_restarts"] += 1
            if time.monotonic() - self._started_at > SETTLED_S:
                self._delay = FIRST_RESTART_S
            self._later()

    def _later(self) -> None:
        self._again = asyncio.get_running_loop().call_later(self._delay, self.start)
        self._delay = min(2 * self._delay, LONGEST_RESTART_S)

    def _drop_socket(self) -> None:
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None

    def _reap(self) -> None:
        """Ends what is left of it; its exit status is collected later, for waiting is not allowed here."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._ended.append(self._process)
            self._process = None
        self._ended = [process for process in self._ended if process.poll() is None]

    def close(self) -> None:
        """Sends what is queued as far as it goes at once, and ends the analyser."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        self._flush()
        self._drop_socket()
        process, self._process = self._process, None
        for ended in self._ended:
            ended.wait()
        if process is not None:
            try:
                process.wait(3.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
