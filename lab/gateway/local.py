"""The unix socket of `lab/bin/ubus`: one JSON line a request, one or more JSON lines back; no ACL, as for root."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

from lab.gateway import blobmsg
from lab.gateway.bus import Bus, Listener
from lab.gateway.status import Status

MAX_LINE = 2 << 20


class LocalServer:
    """Answers `list`, `call`, `send`, `listen` and `statistics` on a socket that only its owner may open."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        os.chmod(path, 0o600)
        self._server = await asyncio.start_unix_server(self._connected, sock=listener, limit=MAX_LINE)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                await self._request(json.loads(line), reader, writer)
        except (ConnectionError, ValueError, KeyError, TypeError) as error:
            if not isinstance(error, ConnectionError):
                self._bus.fault(f"a request on the local socket was not understood: {error!r}")
        finally:
            writer.close()

    async def _request(
        self, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if "list" in request:
            found = [[item.name, item.number, item.signature] for item in self._bus.lookup(request["list"])]
            await _reply(writer, Status.OK if found else Status.NOT_FOUND, objects=found)
        elif "call" in request:
            await self._call(request, writer)
        elif "send" in request:
            kind, data = request["send"]
            self._bus.send(str(kind), blobmsg.normalise(dict(data)))
            await _reply(writer, Status.OK)
        elif "listen" in request:
            listener = self._bus.listen([str(pattern) for pattern in request["listen"]])
            try:
                await _reply(writer, Status.OK)
                await _forward(listener, reader, writer)
            finally:
                self._bus.leave(listener)
        else:
            await _reply(writer, Status.OK, statistics=self._bus.statistics.as_dict())

    async def _call(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        name, method, arguments = request["call"]
        target = self._bus.find(name)
        if target is None:
            await _reply(writer, Status.NOT_FOUND, found=False)
            return
        answers = await self._bus.call(target, method, blobmsg.normalise(dict(arguments)))
        data = [answer for _, answer in answers if answer is not None]
        await _reply(writer, answers[-1][0], found=True, data=data)


async def _reply(writer: asyncio.StreamWriter, status: Status, **more: Any) -> None:
    writer.write(json.dumps({"status": int(status), **more}).encode() + b"\n")
    await writer.drain()


async def _forward(listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Events to one listener until it closes its end."""
    gone = asyncio.ensure_future(reader.read(1))
    try:
        while not gone.done():
            event = asyncio.ensure_future(listener.queue.get())
            await asyncio.wait((gone, event), return_when=asyncio.FIRST_COMPLETED)
            if not event.done():
                event.cancel()
                return
            kind, data = event.result()
            writer.write(json.dumps({"event": kind, "data": data}).encode() + b"\n")
            await writer.drain()
    finally:
        gone.cancel()
