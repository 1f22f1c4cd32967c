"""The agent socket: tells every reader the same, listens to none, and lets go of those that do not keep up."""

from __future__ import annotations

import contextlib
import select
import socket
from collections import deque
from pathlib import Path

#: Bytes waiting for one reader; more, and it has stalled. The real agent would grow without bound.
MAX_BACKLOG = 4 << 20
_CHUNK = 8192  # as much as the real agent writes at a time


class Reader:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._waiting: deque[bytes] = deque()
        self.backlog = 0

    def send(self, data: bytes) -> None:
        """Queues `data`."""
        self._waiting.append(data)
        self.backlog += len(data)

    def flush(self) -> bool:
        """Writes what the reader takes; True when nothing is left."""
        while self._waiting:
            data = self._waiting.popleft()
            try:
                sent = self.connection.send(data[:_CHUNK])
            except BlockingIOError:
                sent = 0
            self.backlog -= sent
            if sent < len(data):
                self._waiting.appendleft(data[sent:])
            if sent == 0:
                return False
        return True


class AgentSocket:
    """The listening Unix socket, 0660, and its readers; registers everything with the caller's epoll."""

    def __init__(self, path: Path, poll: select.epoll) -> None:
        self.path = path
        self._poll = poll
        self._readers: dict[int, Reader] = {}
        self.dropped_readers = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o660)
        self._listener.listen(16)
        self._listener.setblocking(False)
        poll.register(self._listener, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._readers)

    def accept(self, descriptor: int) -> Reader | None:
        """A new reader if `descriptor` is the listening socket."""
        if descriptor != self._listener.fileno():
            return None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return None
        connection.setblocking(False)
        reader = self._readers[connection.fileno()] = Reader(connection)
        self._poll.register(connection, select.EPOLLIN)
        return reader

    def handle(self, descriptor: int, events: int) -> bool:
        """Serves a reader's event; False if `descriptor` is none of the readers'."""
        reader = self._readers.get(descriptor)
        if reader is None:
            return False
        # There are no commands: what a reader says, or that it leaves, ends its connection.
        if events & ~select.EPOLLOUT:
            self._drop(reader)
        else:
            self._flush(reader)
        return True

    def send(self, data: bytes, to: Reader | None = None) -> None:
        """Sends to every reader, or to one."""
        for reader in [to] if to is not None else list(self._readers.values()):
            idle = not reader.backlog
            reader.send(data)
            if reader.backlog > MAX_BACKLOG:
                self.dropped_readers += 1
                self._drop(reader)
            elif idle:
                self._flush(reader)

    def _flush(self, reader: Reader) -> None:
        try:
            done = reader.flush()
        except OSError:
            self._drop(reader)
            return
        self._poll.modify(reader.connection, select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT)

    def _drop(self, reader: Reader) -> None:
        self._readers.pop(reader.connection.fileno(), None)
        self._poll.unregister(reader.connection)
        reader.connection.close()

    def close(self, patience_s: float = 1.0) -> None:
        """Gives readers a moment to take what is queued, then closes and removes the socket."""
        for reader in list(self._readers.values()):
            reader.connection.settimeout(patience_s)
            with contextlib.suppress(OSError):
                reader.flush()
            self._drop(reader)
        self._poll.unregister(self._listener)
        self._listener.close()
        self.path.unlink(missing_ok=True)
