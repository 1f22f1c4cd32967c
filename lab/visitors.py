"""Visitors of the published services: people who browse, and attackers, over TLS, at a gentle constant rate.

    python -m lab.visitors --seed 1 --rate 3 --ca DIR/ca.crt     inside the internet host

Prints one JSON line for each thing done (`kind ip requests seconds ok`, `error` when it failed) and a last one with
the sums; with `--report FILE` it keeps the sums and the latest errors in that file instead. Dealt like cards: a deck
holds an attack of every category and as much ordinary browsing.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from lab.attacks import ATTACKS, SERIES, Sent, forged
from lab.network import ROUTER_WAN, ROUTER_WAN6, VISITORS, VISITORS6, LabNetwork
from lab.origin import CLOUD, PASSWORD, SHOP, TOKEN, USER, WIKI
from lab.progress import Progress

SEED = 1
TIMEOUT_S = 10.0
#: A flood in the first deck, then only now and then: it takes the place of what is more worth seeing.
FLOOD_EVERY = 10
#: How many visitors are up to no good.
ATTACKERS = 8

#: What the published services may answer to somebody; 502 to 504 would be our own failure.
_FINE = frozenset({200, 201, 303})
_TO_ATTACKS = frozenset({*_FINE, 400, 401, 403, 404, 413, 414})

_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
)
_SEARCHES = (
    "rock 'n' roll",
    "O'Reilly",
    "women's shoes size 38",
    "tea & coffee",
    "Ludwig van Beethoven",
    "price < 20 €",
    "Große Bäume",
    "bread knife (serrated)",
    "select the best kettle",
    "how to order a union flag",
    "什么是茶",
    "L'Île-d'Orléans",
    "50% off",
)
_REVIEWS = (
    "It's the best kettle I've had; my wife's mother wants one too! 10/10 – would buy again.",
    "The \"rain coat\" isn't waterproof... I'd return it, but the shop's closed on Sunday & Monday.",
    "Works as described. Delivery took 3-4 days (not 1-2); still < a week, so I'm happy :-)",
    "Schöne Lampe, leider ohne Stecker. Preis/Leistung: 4/5",
)
_ARTICLES = ("Tea", "Rock 'n' roll", "C++", "São Paulo", "AT&T", "Queen's Gambit")
_TEXT = (
    "== History ==\nThe union of the two towns was agreed in 1874; those who didn't agree left and set up a table of "
    "their own.\n* [[Tea|the drink]]\n* see https://www.example.com/wiki?title=Tea&action=view\n\n"
)


def _form(**values: str) -> bytes:
    return "&".join(f"{name}={quote_plus(value)}" for name, value in values.items()).encode()


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON = {"Content-Type": "application/json"}


def shopping(dice: random.Random) -> Iterator[Sent]:
    """Looks at products, searches, buys."""
    cookie = {"Cookie": f"visitor={dice.randrange(16**12):012x}; theme=dark; consent=all%2Cmarketing"}
    yield Sent(SHOP, "/", headers=cookie)
    yield Sent(SHOP, "/static/shop.css?v=3.2.1", headers=cookie)
    yield Sent(SHOP, f"/search?q={quote_plus(dice.choice(_SEARCHES))}&sort=price-asc&page=1", headers=cookie)
    yield Sent(SHOP, f"/product/{dice.randrange(8)}", headers={**cookie, "Referer": f"https://{SHOP}/search"})
    yield Sent(SHOP, "/basket", "POST", {**_FORM, **cookie}, _form(item=str(dice.randrange(8)), amount="1", gift=""))


def reviewing(dice: random.Random) -> Iterator[Sent]:
    """Logs in and writes a review."""
    yield Sent(SHOP, "/login")
    yield Sent(SHOP, "/login", "POST", _FORM, _form(user=USER, password=PASSWORD))
    body = _form(title="My opinion", text=dice.choice(_REVIEWS), stars=str(dice.randrange(1, 6)), name="Anna O'Neill")
    yield Sent(SHOP, "/reviews", "POST", {**_FORM, "Cookie": "session=7f3a91c2"}, body)


def reading(dice: random.Random) -> Iterator[Sent]:
    """Reads the wiki, and searches it."""
    yield Sent(WIKI, "/")
    for title in dice.sample(_ARTICLES, 2):
        yield Sent(WIKI, f"/wiki/{quote(title)}", headers={"Accept-Language": "de-DE,de;q=0.9,en;q=0.8"})
    yield Sent(WIKI, f"/search?q={quote(dice.choice(_SEARCHES))}")


def editing(dice: random.Random) -> Iterator[Sent]:
    """Edits an article."""
    title = dice.choice(_ARTICLES)
    body = _form(text=_TEXT * dice.randrange(1, 6), summary="it's -> its; typo", minor="on", token=f"{dice.random()}")
    yield Sent(WIKI, f"/wiki/{quote(title)}")
    yield Sent(WIKI, f"/edit/{quote(title)}", "POST", {**_FORM, "Referer": f"https://{WIKI}/wiki/{quote(title)}"}, body)


def working(dice: random.Random) -> Iterator[Sent]:
    """An app that talks to the API."""
    token = {"Authorization": f"Bearer {TOKEN}"}
    note = {
        "title": dice.choice(_SEARCHES),
        "text": dice.choice(_REVIEWS),
        "tags": ["home", "to do"],
        "place": {"lat": 48.2 + dice.random(), "lon": 16.4},
        "at": "2026-03-01T12:30:00+01:00",
        "done": False,
        "link": None,
    }
    yield Sent(CLOUD, "/api/v1/status")
    yield Sent(CLOUD, "/api/v1/notes?since=2026-02-28T00%3A00%3A00Z&fields=title,text", headers=token)
    yield Sent(CLOUD, "/api/v1/notes", "POST", {**_JSON, **token}, json.dumps(note).encode())


def uploading(dice: random.Random) -> Iterator[Sent]:
    """Sends a picture, and fetches a file."""
    mark = f"----lab{dice.randrange(10**9)}"
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="album"\r\n\r\nSummer at Peter\'s\r\n--{mark}\r\n'
        'Content-Disposition: form-data; name="file"; filename="IMG_2041 (1).png"\r\nContent-Type: image/png\r\n\r\n'
    )
    picture = b"\x89PNG\r\n\x1a\n" + dice.randbytes(dice.randrange(2_000, 90_000))
    body = head.encode() + picture + f"\r\n--{mark}--\r\n".encode()
    yield Sent(CLOUD, "/upload", "POST", {"Content-Type": f"multipart/form-data; boundary={mark}"}, body)
    yield Sent(CLOUD, f"/download/{dice.randrange(1_000, 60_000)}")


ORDINARY = {visit.__name__: visit for visit in (shopping, reviewing, reading, editing, working, uploading)}


def attackers(seed: int = SEED, ipv6: bool = True) -> list[str]:
    """The addresses that attack; all others only browse."""
    return _everybody(seed, ipv6)[:ATTACKERS]


def _everybody(seed: int, ipv6: bool) -> list[str]:
    """Attackers first."""
    addresses = [*VISITORS, *VISITORS6] if ipv6 else list(VISITORS)
    random.Random(f"{seed}:addresses").shuffle(addresses)
    return addresses


class VisitError(Exception):
    """An answer that nobody should have got."""


class Visitors:
    """All of them, one after another in one process."""

    def __init__(self, seed: int, tls: ssl.SSLContext, ipv6: bool = True) -> None:
        self.dice = random.Random(f"{seed}:visitors")
        self._tls = tls
        self.attackers, self.people = attackers(seed, ipv6), _everybody(seed, ipv6)[ATTACKERS:]

    def deal(self, kinds: Iterable[str] = ()) -> Iterator[str]:
        """Without end: kinds of things to do, in shuffled decks."""
        wanted = list(kinds) or [*ATTACKS, *SERIES, *ORDINARY]
        browsing = [kind for kind in wanted if kind in ORDINARY]
        attacking = [kind for kind in wanted if kind not in ORDINARY]
        number = 0
        while True:
            bad = [kind for kind in attacking if kind != "flood" or number % FLOOD_EVERY == 0]
            good = [browsing[n % len(browsing)] for n in range(max(len(bad), len(browsing)))] if browsing else []
            deck = bad + good
            self.dice.shuffle(deck)
            yield from deck
            number += 1

    def do(self, kind: str) -> dict[str, Any]:
        """One visit; what came of it."""
        dice, started = self.dice, time.monotonic()
        attack = kind not in ORDINARY
        ip = dice.choice(self.attackers if attack else self.people)
        agent = dice.choice(_AGENTS)
        if kind in ATTACKS:
            requests: Iterable[Sent] = (dice.choice(ATTACKS[kind]),)
        else:
            requests = SERIES[kind][0](dice) if attack else ORDINARY[kind](dice)
        lies = forged(dice) if attack and dice.random() < 0.3 else {}
        line: dict[str, Any] = {"kind": kind, "attack": attack, "ip": ip, "requests": 0, "refused": 0, "ok": True}
        line["forged"] = bool(lies)
        try:
            for status in self.visit(ip, {"User-Agent": agent, **lies}, requests):
                line["requests"] += 1
                line["refused"] += status in (403, 429)
                if attack and status == 429:
                    break
                if status not in (_TO_ATTACKS if attack else _FINE):
                    raise VisitError(f"answered with {status}")
        except (OSError, http.client.HTTPException, VisitError) as error:
            line |= {"ok": False, "error": f"{type(error).__name__}: {error}"}
        return line | {"at": round(time.time(), 3), "seconds": round(time.monotonic() - started, 4)}

    def visit(self, ip: str, headers: dict[str, str], requests: Iterable[Sent]) -> Iterator[int]:
        """Sends them over one connection that tells the name by SNI; yields the answers' statuses."""
        router = ROUTER_WAN6 if ":" in ip else ROUTER_WAN
        connection: http.client.HTTPConnection | None = None
        try:
            for request in requests:
                if connection is None:
                    raw = socket.create_connection((router, 443), TIMEOUT_S, source_address=(ip, 0))
                    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connection = http.client.HTTPConnection(router, timeout=TIMEOUT_S)
                    connection.sock = self._tls.wrap_socket(raw, server_hostname=request.host)
                fields = {"Host": request.host, "Accept": "*/*", **headers, **request.headers}
                connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
                if request.body or request.method == "POST":
                    fields["Content-Length"] = str(len(request.body))
                for name, value in fields.items():
                    connection.putheader(name, value)
                connection.endheaders(request.body or None)
                answer = connection.getresponse()
                answer.read()
                yield answer.status
                if answer.will_close:
                    connection.close()
                    connection = None
        finally:
            if connection is not None:
                connection.close()


class Report(Progress):
    """What has come of it all."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(path, ("visits", "errors", "requests", "attacks", "refused", "forged"))

    def add(self, line: dict[str, Any]) -> None:
        """One thing done, or tried."""
        self.sums["visits"] += 1
        self.sums[line["kind"]] += 1
        for name in ("requests", "refused"):
            self.sums[name] += line[name]
        self.sums["attacks"] += line["attack"]
        self.sums["forged"] += line["forged"]
        self.note(line)


def _report_path(directory: Path) -> Path:
    return directory / "visitors.json"


def read_report(directory: Path) -> dict[str, Any]:
    """What the visitors have done so far: `sums` (by kind) and the latest `errors`."""
    path = _report_path(directory)
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"sums": {}, "errors": []}
    return report


def start(network: LabNetwork, *, seed: int = SEED, rate: float = 3) -> subprocess.Popen[bytes]:
    """Starts them in the network's internet; `read_report` tells what they have done."""
    command = [sys.executable, "-m", "lab.visitors", "--seed", str(seed), "--rate", str(rate)]
    command += ["--ca", str(network.directory / "ca.crt"), "--report", str(_report_path(network.directory))]
    with (network.directory / "visitors.log").open("ab") as log:
        return network.internet.popen(
            *command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


class _Stopped(BaseException):
    """SIGTERM came."""


def _stop(*_: object) -> None:
    raise _Stopped


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--rate", type=float, default=3, help="visits begun a second, at most")
    parser.add_argument("--kinds", default="", help=f"some of: {','.join([*ATTACKS, *SERIES, *ORDINARY])}")
    parser.add_argument("--count", type=int, help="stop after that many visits")
    parser.add_argument("--ca", type=Path, required=True, help="authority that signed the services' certificates")
    parser.add_argument("--report", type=Path, help="keep sums and errors in this file instead of printing lines")
    options = parser.parse_args()
    kinds = [kind for kind in options.kinds.split(",") if kind]
    if unknown := set(kinds) - {*ATTACKS, *SERIES, *ORDINARY}:
        parser.error(f"no such kind of visit: {', '.join(sorted(unknown))}")
    if options.rate <= 0:
        parser.error("--rate must be above zero")
    visitors = Visitors(options.seed, ssl.create_default_context(cafile=str(options.ca)))
    report = Report(options.report)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    due = time.monotonic()
    try:
        for number, kind in enumerate(visitors.deal(kinds)):
            if options.count is not None and number >= options.count:
                break
            report.add(visitors.do(kind))
            # Who came late does not hurry afterwards: the rate is a bound.
            due = max(due + 1 / options.rate, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    except _Stopped:
        pass
    report.write()


if __name__ == "__main__":
    main()
