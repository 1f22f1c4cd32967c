"""Sends the published services every attack of the lab once, each from an address of its own, and then goes on.

    python -m bench.rollcall --ca DIR/ca.crt --access-log FILE     inside the internet host

An address of its own tells beyond doubt which attack an alert belongs to. Then come attackers who do not stop, and
people who browse meanwhile. Prints a JSON line for each visit (`group kind attack ip at statuses`). The access log is
written as nginx writes one (its "combined" format), for programs that read logs.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TextIO

from lab.attacks import ATTACKS, SERIES, Sent
from lab.visitors import ORDINARY, SEED, Visitors

#: No other address of the lab is in 192.0.2.100 to 192.0.2.254.
FIRST, LAST = 100, 254

#: How often each kind of ordinary visit is made, by as many people.
ORDINARY_TIMES = 6

#: Attackers who go on: what each of them tries, again and again.
STUBBORN = ("sqli", "xss", "path_traversal", "lfi", "rce", "log4shell", "php", "scanner", "path_sweep", "login_guesses")
STUBBORN_REQUESTS = 30
#: People who browse while these attack, and how many visits each makes.
PEOPLE, PEOPLE_VISITS = 4, 6

PROBES = 8

PAUSE_S = 0.1
PROBE_PAUSE_S = 1.0

_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@dataclass(frozen=True, slots=True)
class Visit:
    """One connection."""

    group: str
    """`once`: an address that is not seen again; `again`: one that goes on; `probe`."""
    kind: str
    attack: bool
    ip: str
    requests: tuple[Sent, ...]


def _addresses() -> Iterator[str]:
    return (f"192.0.2.{number}" for number in range(FIRST, LAST + 1))


def _without_end(kind: str, dice: random.Random) -> Iterator[Sent]:
    """The attacks of a kind in turn; a series is made anew each time."""
    while True:
        yield from ATTACKS.get(kind) or SERIES[kind][0](dice)


def visits(seed: int = SEED) -> list[Visit]:
    """Everything that is sent, in its order."""
    dice = random.Random(f"{seed}:rollcall")
    free = _addresses()
    once = [Visit("once", kind, True, next(free), (sent,)) for kind, sent_ in ATTACKS.items() for sent in sent_]
    once += [Visit("once", kind, True, next(free), tuple(made(dice))) for kind, (made, _) in SERIES.items()]
    for kind, made in ORDINARY.items():
        once += [Visit("once", kind, False, next(free), tuple(made(dice))) for _ in range(ORDINARY_TIMES)]
    dice.shuffle(once)
    stubborn = []
    for kind in STUBBORN:
        ip = next(free)
        tried = islice(_without_end(kind, dice), STUBBORN_REQUESTS)
        stubborn.append([Visit("again", kind, True, ip, (sent,)) for sent in tried])
    for _ in range(PEOPLE):
        ip = next(free)
        kinds = islice(cycle(dice.sample(list(ORDINARY), len(ORDINARY))), PEOPLE_VISITS)
        stubborn.append([Visit("again", kind, False, ip, tuple(ORDINARY[kind](dice))) for kind in kinds])
    longest = max(map(len, stubborn))
    return once + [line[turn] for turn in range(longest) for line in stubborn if turn < len(line)]


def probes() -> list[Visit]:
    """The same attack from addresses that nobody has seen: for how long it takes until it shows."""
    sent = ATTACKS["lfi"][0]  # /etc/passwd: everybody knows that one
    return [Visit("probe", "lfi", True, f"192.0.2.{LAST - number}", (sent,)) for number in range(PROBES)]


def access_line(ip: str, at: float, sent: Sent, status: int) -> str:
    """As nginx logs a request; how many bytes it answered with is not told."""
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(at))
    referer, agent = sent.headers.get("Referer", "-"), sent.headers.get("User-Agent", _AGENT)
    escaped = (text.replace('"', "\\x22") for text in (sent.path, referer, agent))
    path, referer, agent = escaped
    return f'{ip} - - [{when}] "{sent.method} {path} HTTP/1.1" {status} 0 "{referer}" "{agent}"\n'


def send(visitors: Visitors, visit: Visit, access_log: TextIO | None) -> dict[str, object]:
    """One visit; what came of it."""
    statuses: list[int] = []
    line: dict[str, object] = {"group": visit.group, "kind": visit.kind, "attack": visit.attack, "ip": visit.ip}
    line |= {"at": time.time(), "statuses": statuses}
    try:
        answers = visitors.visit(visit.ip, {"User-Agent": _AGENT}, visit.requests)
        for sent, status in zip(visit.requests, answers, strict=False):
            statuses.append(status)
            if access_log is not None:
                access_log.write(access_line(visit.ip, time.time(), sent, status))
                access_log.flush()
            if status == 429:
                break
    except (OSError, http.client.HTTPException) as error:
        line["error"] = f"{type(error).__name__}: {error}"
    return line


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--ca", type=Path, required=True, help="authority that signed the services' certificates")
    parser.add_argument("--access-log", type=Path, help="where to log as nginx does")
    parser.add_argument("--probe", action="store_true", help="only the same attack, once a second")
    options = parser.parse_args()
    todo = probes() if options.probe else visits()
    ips = dict.fromkeys(visit.ip for visit in todo)
    batch = "".join(f"address replace {ip}/32 dev lo\n" for ip in ips)
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
    visitors = Visitors(SEED, ssl.create_default_context(cafile=str(options.ca)))
    access_log = options.access_log.open("a") if options.access_log else None
    for visit in todo:
        print(json.dumps(send(visitors, visit, access_log)), flush=True)
        time.sleep(PROBE_PAUSE_S if options.probe else PAUSE_S)
    if access_log is not None:
        access_log.close()


if __name__ == "__main__":
    main()
