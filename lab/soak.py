"""`python -m lab.soak`: the lab under traffic and attacks, a fault every 20 s, and what must hold afterwards.

The order of the faults follows from the seed; every one comes once before any comes again. At the end the traffic
stops, and it is checked that nothing reported was lost, that memory and descriptors have not grown, and that what the
suite counts equals what the kernel's interfaces counted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.clock import faketime_library
from lab.faults import AT_ONCE, FAULTS, LASTS_S, fault, filters, seconds_to_recover
from lab.gateway.client import CallError
from lab.isolated import IsolatedLab, IsolatedLabError, isolated_lab, why_not
from lab.network import LAN_INTERFACE
from lab.waiting import NeverError

EVERY_S = 20.0
RECOVERY_S = 60.0

#: The product's own processes; what the lab adds is not measured.
WATCHED = ("engine", "mitmdump", "analyser")

#: Growth that is none: of the memory of a process from its first round to the last, and of its open files.
FLAT_RATIO, FLAT_BYTES, FLAT_FILES = 1.15, 6 << 20, 20

#: How far bytes may be apart that were counted by the suite and by the kernel.
EQUAL = 0.01

#: How long traffic is compared, and how long the last of it may take to be accounted: ticks of agent and aggregate.
COMPARE_S, SETTLE_S = 20.0, 20.0

#: What a corrupted database costs at most: the age of the last copy, and one more for the copy that was being made.
CHECKPOINT_S = 10


@dataclass
class Ledger:
    """What the suite has said it recorded or banned."""

    records: list[tuple[float, int, str]] = field(default_factory=list)
    """When, number, address."""
    bans: list[tuple[float, str]] = field(default_factory=list)
    refused: int = 0
    """Answered with an error, or not at all: nothing was promised."""
    number: int = 0

    def write(self, lab: IsolatedLab) -> None:
        """One more event by hand; every tenth time a ban too."""
        self.number += 1
        # Documentation's (RFC 9637), and no group of it is zero: it is told as it is written here.
        address = f"3fff:{(self.number >> 8) + 1:x}:{(self.number & 255) + 1:x}::1"
        given = {"event_type": "soak", "reason": f"soak {self.number}", "score": 20}
        if answer := self._said(lab, "correlate", ip=address, **given):
            self.records.append((time.monotonic(), int(answer["threat"]["id"]), address))
        if self.number % 10 == 0:
            # 198.51.100.128/25 and what follows has no server of the lab.
            target = f"198.51.{100 + self.number // 1000}.{self.number // 10 % 100 + 128}"
            if self._said(lab, "ban", ip=target, duration="2h", reason="soak"):
                self.bans.append((time.monotonic(), target))

    def forget_since(self, moment: float) -> None:
        """What a damaged database may have cost."""
        self.records = [entry for entry in self.records if entry[0] < moment]

    def lost(self, lab: IsolatedLab) -> list[str]:
        """What was said and is no more."""
        missing = []
        for _, number, address in self.records:
            answer = lab.call("dpi.correlator", "context", id=number)
            if f'"{address}"' not in json.dumps(answer):
                missing.append(f"record {number} of {address}: {answer.get('error', 'another one')}")
        listed = {
            decision["value"]
            for alert in json.loads(lab.cscli("decisions", "list", "-a", "-l", "0", "-o", "json")) or []
            for decision in alert["decisions"]
        }
        missing += [f"the ban of {target}" for _, target in self.bans if target not in listed]
        return missing

    def _said(self, lab: IsolatedLab, method: str, **given: Any) -> dict[str, Any] | None:
        try:
            answer = lab.call("dpi.correlator", method, **given)
        except (OSError, CallError):
            answer = {"error": "no answer"}
        if "error" in answer:
            self.refused += 1
            return None
        return answer


@dataclass
class Samples:
    """Memory and open files of the watched processes, by round of faults."""

    taken: dict[str, list[tuple[int, int, int]]] = field(default_factory=lambda: {name: [] for name in WATCHED})

    def take(self, lab: IsolatedLab, round_: int) -> None:
        """One sample of each that runs."""
        for name in WATCHED:
            try:
                pid = lab.pid(name)
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                files = len(os.listdir(f"/proc/{pid}/fd"))
            except (OSError, IsolatedLabError):
                continue  # it is being started again
            self.taken[name].append((round_, pages * os.sysconf("SC_PAGE_SIZE"), files))

    def growth(self) -> tuple[list[str], list[str]]:
        """A line for each process, and a complaint for each that grew from the first round to the last."""
        lines, complaints = [], []
        for name, samples in self.taken.items():
            if not samples:
                complaints.append(f"{name} never ran")
                continue
            first, last = samples[0][0], samples[-1][0]
            (begin, begin_files), (end, end_files) = (self._middle(samples, round_) for round_ in (first, last))
            lines.append(
                f"{name}: {begin / 2**20:.1f} MiB and {begin_files:.0f} files in the first round, "
                f"{end / 2**20:.1f} MiB and {end_files:.0f} files in the last"
            )
            # A single round has the flood of connections somewhere in it: before and after cannot be compared.
            if last > first and end > begin * FLAT_RATIO + FLAT_BYTES:
                complaints.append(f"the memory of {name} grew")
            if end_files > begin_files + FLAT_FILES:
                complaints.append(f"the open files of {name} grew")
        return lines, complaints

    @staticmethod
    def _middle(samples: list[tuple[int, int, int]], round_: int) -> tuple[float, float]:
        of_round = [sample for sample in samples if sample[0] == round_]
        return statistics.median(s[1] for s in of_round), statistics.median(s[2] for s in of_round)


class Soak:
    """One run; `problems` is what did not hold."""

    def __init__(self, lab: IsolatedLab, chance: random.Random, names: list[str]) -> None:
        self._lab = lab
        self._chance = chance
        self._names = names
        self._began = time.monotonic()
        self.ledger = Ledger()
        self.samples = Samples()
        self.problems: list[str] = []
        self.caused = 0
        self.slowest: tuple[float, str] = (0.0, "")

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.0f} s   {text}", flush=True)

    def run(self, seconds: float) -> None:
        """Faults until the time is over, then the checks of the end."""
        since = time.time() - 10
        seconds_to_recover(self._lab, since, RECOVERY_S)
        for round_, name in self._order():
            self._one(round_, name)
            if time.monotonic() - self._began >= seconds:
                break
        self._after()

    def _order(self) -> Iterator[tuple[int, str]]:
        round_ = 0
        while True:
            for name in self._chance.sample(self._names, len(self._names)):
                yield round_, name
            round_ += 1

    def _one(self, round_: int, name: str) -> None:
        due = time.monotonic() + EVERY_S
        self.caused += 1
        if name == "database-corrupted":
            self.ledger.forget_since(time.monotonic() - 2 * CHECKPOINT_S)
        try:
            with fault(self._lab, name, self._chance):
                self._busy(0 if name in AT_ONCE else LASTS_S, round_)
            since = time.time()
            took = seconds_to_recover(self._lab, since, RECOVERY_S)
        except (IsolatedLabError, NeverError) as error:
            self.problems.append(f"{name}: {error}")
            self.say(f"{name}: {error}")
        else:
            self.slowest = max(self.slowest, (took, name))
            self.say(f"{name}: all runs again {took:.1f} s after its end")
        if (found := filters(self._lab)) != [1, 1]:
            self.problems.append(f"{name}: the mirror has {found} filters")
        self._busy(max(due - time.monotonic(), 0), round_)

    def _busy(self, seconds: float, round_: int) -> None:
        """Time passes: events are recorded, memory is watched."""
        end = time.monotonic() + seconds
        while True:
            self.ledger.write(self._lab)
            self.samples.take(self._lab, round_)
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(1.0, left))

    def _after(self) -> None:
        """Nothing lost, nothing grown, figures equal."""
        lost = self.ledger.lost(self._lab)
        self.say(
            f"recorded {len(self.ledger.records)}, banned {len(self.ledger.bans)}, not accepted {self.ledger.refused}; "
            f"lost {len(lost)}"
        )
        self.problems += [f"lost: {what}" for what in lost]
        lines, complaints = self.samples.growth()
        for line in lines:
            self.say(line)
        self.problems += complaints
        self._compare()

    def _compare(self) -> None:
        """What the suite counts of the LAN against what the router's ports to the clients count, over the same time."""
        self._traffic("stop")
        time.sleep(SETTLE_S)
        own, kernel = self._lan_bytes(), self._port_bytes()
        self._traffic("start")
        time.sleep(COMPARE_S)
        self._traffic("stop")
        deadline = time.monotonic() + 2 * SETTLE_S
        counted = moved = 0
        while time.monotonic() < deadline:
            time.sleep(2)
            counted, moved = self._lan_bytes() - own, self._port_bytes() - kernel
            if counted and abs(counted - moved) <= EQUAL * moved:
                break
        self.say(f"LAN, {COMPARE_S:g} s of traffic: {counted:,} bytes counted, {moved:,} on the interfaces")
        if not moved or abs(counted - moved) > EQUAL * moved:
            self.problems.append(f"the LAN's bytes differ: {counted} counted, {moved} on the interfaces")

    def _traffic(self, action: str) -> None:
        for name in self._lab.services():
            if name.startswith("traffic-"):
                self._lab.order(name, action)

    def _lan_bytes(self) -> int:
        rows = self._lab.call("dpi.lan", "clients", limit=500)["clients"]
        return sum(int(row["bytes"]) for row in rows)

    def _port_bytes(self) -> int:
        links = json.loads(self._lab.inside_router("ip", "-j", "-s", "link", "show", "master", LAN_INTERFACE))
        return sum(int(link["stats64"][way]["bytes"]) for link in links for way in ("rx", "tx"))


def main(argv: list[str]) -> int:
    """0 when all held."""
    parser = argparse.ArgumentParser(prog="python -m lab.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (default 20)")
    parser.add_argument("--seed", type=int, help="the order of the faults; without: another one each time")
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="this fault alone (may be repeated)")
    options = parser.parse_args(argv)
    if problem := why_not():
        print(f"soak: {problem}", file=sys.stderr)
        return 2
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    names = options.only or list(FAULTS)
    if not faketime_library() and not options.only:
        names = [name for name in names if not name.startswith("clock-")]
        print("soak: without Debian's faketime the clock is left alone")
    print(f"soak: {options.minutes:g} min, seed {seed}, {len(names)} kinds of faults; the lab starts", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="dpi-soak-"))
    try:
        with isolated_lab(directory, "--checkpoint", str(CHECKPOINT_S)) as lab:
            soak = Soak(lab, random.Random(seed), names)
            soak.run(options.minutes * 60)
    except (IsolatedLabError, NeverError) as error:
        print(f"soak: {error}", file=sys.stderr)
        print(f"soak: the lab's own words are in {directory / 'lab.log'}", file=sys.stderr)
        return 1
    shutil.rmtree(directory)
    for problem in soak.problems:
        print(f"FAILED: {problem}")
    took, name = soak.slowest
    print(
        f"soak: seed {seed}, {soak.caused} faults of {len(names)} kinds, slowest recovery {took:.1f} s ({name}); "
        + (f"{len(soak.problems)} problems" if soak.problems else "nothing lost, nothing grown, figures equal")
    )
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
