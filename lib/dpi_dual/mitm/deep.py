"""The deep tier in a process of its own: a request that takes it too long costs that process, nothing else.

The Core Rule Set's patterns need seconds for some bodies of 64 KiB, inside a C library that cannot be interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from dpi_dual.mitm import policy as policies
from dpi_dual.mitm.judge import candidates_of, deep_rules, merged, quick_rules
from dpi_dual.mitm.policy import Policy
from dpi_dual.mitm.record import Record, decode_verdict, encode_record, encode_verdict, record_of
from dpi_dual.mitm.wire import Frames, WireError, encode_frame
from dpi_dual.waf.crs import Rules
from dpi_dual.waf.verdict import Verdict

#: Of the processor, for one request. What takes longer than this keeps its quick verdict, and is counted.
LIMIT_S = 2.0
#: By the clock the wait may be this many times as long: a router that is busy with other things is no slow request.
PATIENCE = 5
#: Until the rules are loaded; on a router that takes seconds.
START_S = 60.0
AGAIN_S = 1.0
LONGEST_AGAIN_S = 60.0
CHUNK = 256 * 1024


class TooSlowError(RuntimeError):
    """The request took longer than LIMIT_S; the worker is replaced."""


class GoneError(RuntimeError):
    """The worker ended, or did not start."""


class DeepWorker:
    """Judges one request after another; an asynchronous context manager."""

    def __init__(
        self,
        policy: Policy,
        paranoia: int = 0,
        exclusions: Any = None,
        rules: Any = None,
        quick: bool = False,
        limit_s: float = LIMIT_S,
    ) -> None:
        """`exclusions` and `rules` are candidates as `judge.candidates_of` takes them; `quick`: both tiers, merged."""
        self.policy = policy
        self.tier = ""
        self.problem = ""
        self.counts = {"deep_too_slow": 0, "deep_crashes": 0}
        self._first = encode_frame(
            {
                "policy": policy.as_dict(),
                "paranoia": paranoia,
                "exclusions": exclusions or [],
                "rules": rules or [],
                "quick": quick,
            }
        )
        self._limit_s = limit_s
        self._process: asyncio.subprocess.Process | None = None
        self._frames = Frames()
        self._again_s = AGAIN_S
        self._not_before = 0.0

    async def __aenter__(self) -> DeepWorker:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def judge(self, record: Record) -> Verdict:
        """The verdict; raises TooSlowError or GoneError, after which the next call starts a new worker."""
        process = self._process or await self._start()
        try:
            answer = await self._judged(process, encode_record(record))
            return decode_verdict(answer.get("verdict"))
        except TimeoutError:
            self.counts["deep_too_slow"] += 1
            await self.close()
            raise TooSlowError(f"more than {self._limit_s:g} s") from None
        except (ConnectionError, WireError) as error:
            self.counts["deep_crashes"] += 1
            await self.close()
            self._wait_longer()
            raise GoneError(str(error)) from None

    async def _judged(self, process: asyncio.subprocess.Process, frame: bytes) -> dict[str, Any]:
        """The answer; TimeoutError once the worker worked on it for the limit."""
        before = _worked_s(process.pid)
        asking = asyncio.ensure_future(self._ask(process, frame, PATIENCE * self._limit_s))
        try:
            while not (await asyncio.wait({asking}, timeout=self._limit_s))[0]:
                if _worked_s(process.pid) - before >= self._limit_s:
                    raise TimeoutError
            return asking.result()
        finally:
            asking.cancel()

    def _wait_longer(self) -> None:
        self._not_before = asyncio.get_running_loop().time() + self._again_s
        self._again_s = min(2 * self._again_s, LONGEST_AGAIN_S)

    async def _start(self) -> asyncio.subprocess.Process:
        if asyncio.get_running_loop().time() < self._not_before:
            raise GoneError("it ended a moment ago")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dpi_dual.mitm.deep"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=CHUNK,
            )
            self._frames = Frames()
            hello = await self._ask(self._process, self._first, START_S)
        except (OSError, TimeoutError, WireError) as error:
            self.counts["deep_crashes"] += 1
            await self.close()
            self._wait_longer()
            raise GoneError(f"it does not start: {error}") from None
        self.tier, self.problem = str(hello.get("tier")), str(hello.get("problem"))
        self._again_s = AGAIN_S
        return self._process

    async def _ask(self, process: asyncio.subprocess.Process, frame: bytes, seconds: float) -> dict[str, Any]:
        if process.stdin is None or process.stdout is None:
            raise GoneError("it has no pipes")
        process.stdin.write(frame)
        async with asyncio.timeout(seconds):
            await process.stdin.drain()
            while data := await process.stdout.read(CHUNK):
                for head, _ in self._frames.feed(data):
                    return head
        raise ConnectionResetError("it ended")

    async def close(self) -> None:
        """Ends the worker at once."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if process.stdin is not None:
                process.stdin.close()


def _worked_s(pid: int) -> float:
    """Seconds of the processor that a process took; 0 for one that ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rules(head: dict[str, Any]) -> tuple[list[Rules], dict[str, Any], int]:
    policy = policies.from_dict(head["policy"])
    candidates = candidates_of(head["exclusions"], head["rules"])
    deep = deep_rules(policy, head["paranoia"], candidates)
    tiers: list[Rules] = [quick_rules(policy, head["paranoia"], candidates)] if head["quick"] else []
    hello = {"tier": deep.tier, "problem": deep.problem}
    return [*tiers, deep.rules], hello, policy.mitm.block_threshold


def _serve() -> None:
    frames = Frames()
    tiers: list[Rules] = []
    threshold = 50
    while data := os.read(0, CHUNK):
        for head, body in frames.feed(data):
            if not tiers:
                tiers, answer, threshold = _rules(head)
            else:
                request = record_of(head, body).request()
                verdict = merged([tier.judge(request) for tier in tiers], block_threshold=threshold)
                answer = {"verdict": encode_verdict(verdict)}
            out = encode_frame(answer)
            while out:
                out = out[os.write(1, out) :]


def _keep_c_libraries_quiet() -> None:
    """libxml2 under libmodsecurity prints what it cannot parse: the text of requests must not get into any log."""
    ours = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = open(ours, "w", buffering=1, encoding="utf-8", errors="replace")  # noqa: SIM115, PTH123 - for good


def main() -> int:
    """Started by the analyser; ends when its standard input does."""
    argparse.ArgumentParser(prog="dpi-dual-deep", description=__doc__).parse_args()
    os.nice(5)
    _keep_c_libraries_quiet()
    _serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
