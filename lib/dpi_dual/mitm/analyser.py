"""The analyser's process: takes copies from the addon that started it, and serves the engine on a unix socket."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from dpi_dual import __version__
from dpi_dual.directory import private_socket
from dpi_dual.log import to_stderr
from dpi_dual.mitm import folder as disk
from dpi_dual.mitm import policy as policies
from dpi_dual.mitm import trees
from dpi_dual.mitm.analysis import Analysis
from dpi_dual.mitm.deep import DeepWorker, GoneError, TooSlowError
from dpi_dual.mitm.judge import CandidateError
from dpi_dual.mitm.policy import Policy, PolicyError
from dpi_dual.mitm.queries import Queries
from dpi_dual.mitm.record import record_of
from dpi_dual.mitm.replay import replay
from dpi_dual.mitm.wire import (
    MAX_LINE,
    SOCKET,
    Frames,
    WireError,
    decode_line,
    encode_frame,
    encode_line,
)

log = logging.getLogger(__name__)

#: The policy as the engine last sent it: what a restart beside a sleeping engine goes by.
POLICY_FILE = "policy.json"
TICK_S = 1.0
CHUNK = 256 * 1024
#: Unacknowledged events on their way to the engine, and how many one message takes.
WINDOW, BATCH = 256, 32
QUERIES = 8
#: What an engine may leave unread before its connection is given up.
MAX_UNREAD = 4 * 1024 * 1024
SECOND_LOOK_S, SECOND_LOOK_REQUESTS = 2.0, 20

Answer = dict[str, Any]


class Analyser:
    """Joins the two connections with the analysis."""

    def __init__(self, addon: socket.socket, folder: int, key: bytes, policy: Policy) -> None:
        self._addon = addon
        self._folder = folder
        self._session = secrets.token_hex(8)
        self.analysis = Analysis(folder, key, policy, self._limit)
        self._engine: asyncio.StreamWriter | None = None
        self._sent = 0
        self._down: asyncio.StreamWriter
        self._wake = asyncio.Event()
        self._queries = Queries(self.analysis, self._to_addon)
        self._turns = asyncio.Semaphore(QUERIES)
        self._worth_trees = asyncio.Event()
        self._malformed = 0
        self._deep_counts = {"deep_too_slow": 0, "deep_crashes": 0}
        self._shown: bytes = b""

    async def run(self) -> None:
        """Until the addon closes its end."""
        reader, self._down = await asyncio.open_connection(sock=self._addon, limit=2 * CHUNK)
        server = await self._listen()
        try:
            async with server:
                jobs = [
                    asyncio.ensure_future(job)
                    for job in (self._copies(reader), self._work(), self._ticks(), self._second_looks(), self._trees())
                ]
                try:
                    done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
                    for job in done:
                        job.result()
                finally:
                    for job in jobs:
                        job.cancel()
                    await asyncio.wait(jobs)
                    if self._engine is not None:
                        self._engine.close()
        finally:
            self.analysis.close()
            disk.remove_from(self._folder, SOCKET)

    async def _listen(self) -> asyncio.Server:
        # By descriptor, so that a renamed or replaced directory cannot lead elsewhere.
        path = f"/proc/self/fd/{self._folder}/{SOCKET}"
        disk.remove_from(self._folder, SOCKET)
        return await asyncio.start_unix_server(self._serve, sock=private_socket(path, 0o600), limit=MAX_LINE)

    # --- the addon

    async def _copies(self, reader: asyncio.StreamReader) -> None:
        frames = Frames()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                for head, body in frames.feed(data):
                    self._take(head, body)

    def _take(self, head: Answer, body: bytes) -> None:
        """One message; what cannot be one is counted, and costs no more."""
        try:
            self._frame(head, body)
        except (WireError, ValueError, TypeError, KeyError, OverflowError) as error:
            self._malformed += 1
            log.warning("a message of the addon is not understood: %s", error)

    def _frame(self, head: Answer, body: bytes) -> None:
        match head.get("t"):
            case "request":
                record = record_of(head, body)
                if self.analysis.request(record):
                    self._to_addon({"t": "took", "id": record.id})
                self._wake.set()
                self._pump()
            case "response":
                self.analysis.response(head)
                self._pump()
            case "counters":
                self.analysis.addon_counters(head)
            case "policy":
                self._take_policy(policies.from_dict(head.get("policy")), save=False)
            case "resent":
                self._queries.resent(head)

    def _to_addon(self, head: Answer, body: bytes = b"") -> None:
        self._down.write(encode_frame(head, body))

    def _limit(self, ip: str, until: float) -> None:
        self._to_addon({"t": "limit", "ip": ip, "until": until})

    async def _work(self) -> None:
        """The deep tier, one copy at a time, in a process of its own."""
        worker: DeepWorker | None = None
        try:
            while True:
                waiting = self.analysis.take()
                if waiting is None:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                if worker is None or worker.policy is not self.analysis.policy:
                    if worker is not None:
                        await worker.close()
                    worker = DeepWorker(self.analysis.policy)
                    worker.counts = self._deep_counts
                verdict = None
                try:
                    verdict = await worker.judge(waiting.record)
                except (TooSlowError, GoneError) as error:
                    log.warning("request %s keeps its quick verdict: %s", waiting.record.id, error)
                self.analysis.tier, self.analysis.problem = worker.tier, worker.problem
                self.analysis.finish(waiting, verdict)
                self._pump()
        finally:
            if worker is not None:
                await worker.close()

    async def _second_looks(self) -> None:
        """`replay_on_alert`: an address's earlier requests by stricter rules, one address at a time and unhurried."""
        while True:
            await asyncio.sleep(SECOND_LOOK_S)
            if self.analysis.suspects:
                ip = self.analysis.suspects.popleft()
                try:
                    answer = await replay(self.analysis, {"ip": ip, "limit": SECOND_LOOK_REQUESTS})
                except CandidateError as error:
                    log.warning("no second look at the requests of %s: %s", ip, error)
                else:
                    self.analysis.second_look(ip, answer)

    async def _trees(self) -> None:
        """The better anomaly model, if its library is there; loading it takes seconds, for which nothing waits."""
        await self._worth_trees.wait()
        make, self.analysis.anomaly_problem = await asyncio.to_thread(trees.find)
        if make is not None:
            self.analysis.anomaly.use(make)
        await asyncio.Event().wait()

    # --- the engine

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One engine at a time: a new one takes the place of the one before, which has probably died."""
        if self._engine is not None:
            self._engine.close()
        self._engine = writer
        self._sent = self.analysis.spool.acknowledged
        self._shown = b""
        running: set[asyncio.Task[None]] = set()
        try:
            self._send(
                {"hello": {"version": __version__, "session": self._session, "stream": self.analysis.spool.stream}}
            )
            self._figures()
            self._pump()
            while line := await reader.readline():
                message = decode_line(line)
                if "query" in message:
                    job = asyncio.ensure_future(self._answer(message, writer))
                    running.add(job)
                    job.add_done_callback(running.discard)
                else:
                    self._told(message)
        except (ConnectionError, ValueError) as error:
            log.info("the engine's connection ended: %s", error)
        finally:
            for job in running:
                job.cancel()
            if self._engine is writer:
                self._engine = None
            with contextlib.suppress(ConnectionError):
                writer.close()

    def _told(self, message: Answer) -> None:
        if type(message.get("ack")) is int:
            self.analysis.spool.acknowledge(message["ack"])
            self._pump()
        if "policy" in message:
            try:
                self._take_policy(policies.from_dict(message["policy"]), save=True)
            except PolicyError as error:
                log.error("the engine's policy is refused: %s", error)

    def _take_policy(self, policy: Policy, save: bool) -> None:
        if policy == self.analysis.policy:
            return
        self.analysis.reconfigure(policy)
        self._figures()
        if not save:
            return
        content = policy.as_dict()
        self._to_addon({"t": "policy", "policy": content})
        try:
            disk.replace_in(self._folder, POLICY_FILE, json.dumps(content).encode("ascii") + b"\n")
        except OSError as error:
            log.warning("the policy cannot be kept for a restart: %s", error)

    def _send(self, message: Answer) -> None:
        engine = self._engine
        if engine is None or engine.is_closing():
            return
        if engine.transport.get_write_buffer_size() > MAX_UNREAD:
            # It has stopped reading; whatever it has not acknowledged it will be told again.
            engine.transport.abort()
            return
        engine.write(encode_line(message))

    def _pump(self) -> None:
        """Sends events while the window has room; all that is not acknowledged stays in the spool.

        While some are on their way, others wait until they fill a batch: the engine reads only so many lines a second.
        """
        if self._engine is None:
            return
        spool = self.analysis.spool
        while self._sent < spool.last:
            waiting = list(spool.after(self._sent, BATCH))
            flying = self._in_flight()
            if not waiting or flying >= WINDOW or (flying and len(waiting) < BATCH):
                return
            self._sent = waiting[-1][0]
            self._send({"stream": spool.stream, "events": [{"n": number, **event} for number, event in waiting]})

    def _in_flight(self) -> int:
        return sum(number <= self._sent for number, _ in self.analysis.spool.after(0, WINDOW))

    def _figures(self) -> None:
        message = {
            "figures": self.analysis.figures(),
            "counters": {**self.analysis.counters(), **self._deep_counts, "addon_malformed": self._malformed},
            "problems": self.analysis.problems(),
        }
        line = encode_line(message)
        if line != self._shown:
            self._shown = line
            self._send(message)

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.analysis.tick()
            self._figures()
            if self.analysis.anomaly.worth_trees:
                self._worth_trees.set()

    async def _answer(self, message: Answer, writer: asyncio.StreamWriter) -> None:
        async with self._turns:
            answer = await self._queries.answer(str(message.get("name")), message.get("params"))
        line = encode_line({"answer": message["query"], "result": answer})
        if len(line) > MAX_LINE // 2:
            line = encode_line(
                {
                    "answer": message["query"],
                    "result": {"error": "the answer is too long; ask for less", "code": "too_large"},
                }
            )
        if not writer.is_closing():
            writer.write(line)


def saved_policy(folder: int) -> Policy | None:
    """The policy that an engine sent before the last restart; None if there is none that can be used."""
    try:
        return policies.from_dict(json.loads(disk.read_from(folder, POLICY_FILE, 1_000_000)))
    except (OSError, ValueError, RecursionError):
        return None


async def _main(descriptor: int, directory: str) -> None:
    addon = socket.socket(fileno=descriptor)
    addon.setblocking(True)
    frames = Frames()
    first: tuple[Answer, bytes] | None = None
    addon.settimeout(10.0)
    while first is None:
        # Exactly the first frame: what follows belongs to the stream reader.
        data = addon.recv(1)
        if not data:
            return
        first = next(iter(frames.feed(data)), None)
    head, key = first
    addon.setblocking(False)
    folder = disk.open_folder(directory)
    analyser = Analyser(addon, folder, key, policies.from_dict(head.get("policy")))
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(analyser.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> int:
    """Started by the addon, with one end of a socket pair; ends when the other end is closed."""
    parser = argparse.ArgumentParser(prog="dpi-dual-analyser", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the inherited end of the addon's socket pair")
    parser.add_argument("--directory", required=True, help="buffer_dir")
    options = parser.parse_args()
    to_stderr(logging.WARNING, "dpi-dual analyser: %(message)s")
    # The live path comes first, also for the scheduler and for the kernel that must free memory.
    os.nice(10)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    asyncio.run(_main(options.fd, options.directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
