"""`replay`: what buffered requests would be judged today, by stricter rules, or by rules that are not live yet."""

from __future__ import annotations

import argparse
import ipaddress
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dpi_dual.cli.command import Answer, View, listed, mapping
from dpi_dual.cli.health import wrapped
from dpi_dual.cli.local import Local
from dpi_dual.cli.table import Column, table
from dpi_dual.cli.units import count, plural
from dpi_dual.errors import QueryError

#: rpcd cuts a call's arguments there, whoever makes it.
MAX_FILE = 60_000

_FILE = """a JSON file: {"exclusions": [{"rule", "host", "path", "param"}], "rules": [{"id", "category", "pattern",
"place", "score"}]}; a list of such objects will do; patterns see values decoded and in lower case"""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", nargs="?", default="", help="a request's reference number, or a client's address")
    parser.add_argument("--rules", metavar="FILE", type=Path, help=_FILE)
    parser.add_argument("--limit", metavar="N", type=int, default=None, help="requests at most, newest first (200)")
    parser.add_argument("--active", action="store_true", help="also send them to their origin again, and compare")
    parser.add_argument("--force", action="store_true", help="with --active: also methods that change something")


def candidates(path: Path) -> dict[str, Any]:
    """What a file of candidates asks for; raises QueryError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1)
        if len(text) > MAX_FILE:
            raise QueryError("bad_file", f"{path} has more than {MAX_FILE} bytes")
        given = json.loads(text)
    except OSError as error:
        raise QueryError("bad_file", f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise QueryError("bad_file", f"{path} is not JSON: {error}") from None
    if isinstance(given, list):
        given = {
            "rules": [entry for entry in given if isinstance(entry, dict) and "pattern" in entry],
            "exclusions": [entry for entry in given if not (isinstance(entry, dict) and "pattern" in entry)],
        }
    if not isinstance(given, dict) or not (given.get("rules") or given.get("exclusions")):
        raise QueryError("bad_file", f"{path} holds neither exclusions nor rules")
    unknown = sorted(set(given) - {"rules", "exclusions"})
    if unknown:
        raise QueryError("bad_file", f"{path} has {unknown[0]!r}; it may have exclusions and rules")
    return {name: entries for name, entries in given.items() if entries}


def _act(given: argparse.Namespace) -> Answer:
    params: dict[str, Any] = candidates(given.rules) if given.rules else {}
    if given.which:
        try:
            params["ip"] = str(ipaddress.ip_address(given.which))
        except ValueError:
            params["id"] = given.which
    if given.limit is not None:
        params["limit"] = given.limit
    if given.force and not given.active:
        raise QueryError("bad_parameter", "--force says what --active may send; alone it means nothing")
    params |= {name: True for name in ("active", "force") if getattr(given, name)}
    from dpi_dual.rpc import client

    return client.call("dpi.status", "replay", params)


def _judged(value: object) -> str:
    verdict = mapping(value)
    word = "blocks" if verdict.get("block") else "alerts" if verdict.get("alert") else "passes"
    return f"{word} {verdict.get('score', 0)}"


def show_replay(answer: Answer, view: View) -> Iterator[str]:
    """What changed, then what each request did when it was sent again."""
    if not answer.get("requests"):
        yield "The buffer has no such request: it keeps the newest, and not for long ('dpi-dualctl buffer')."
        return
    yield from wrapped(
        f"{plural(answer.get('requests', 0), 'request')} judged at paranoia {answer.get('paranoia', '?')}: "
        f"{count(answer.get('newly_alerting', 0))} newly alerting, "
        f"{count(answer.get('no_longer_alerting', 0))} no longer, "
        f"{count(answer.get('changed_total', 0))} judged otherwise",
        view,
        "",
        "  ",
    )
    if answer.get("truncated"):
        yield view.fit("Time ran out before the last; ask for fewer with --limit.")
    for key, text in (("unreadable", "could not be read"), ("too_slow", "took the rules too long")):
        if answer.get(key):
            yield view.fit(f"{count(answer[key])} {text}.")
    rows = listed(answer.get("changed"))
    if rows:
        layout = (
            Column("Reference", lambda row: row.get("id"), least=16),
            Column("Client", lambda row: row.get("client_ip"), least=15, keep_ends=True),
            Column("Before", lambda row: _judged(row.get("before")), least=10),
            Column("After", lambda row: _judged(row.get("after")), least=10),
            Column("Request", lambda row: f"{row.get('method')} {row.get('host')}{row.get('path')}", least=16),
            Column("Rules", _difference, least=12, rank=1),
        )
        yield ""
        yield from table(layout, rows, view.room, view.style)
    sent = listed(answer.get("active"))
    if sent:
        sent_layout = (
            Column("Sent again", lambda row: row.get("id"), least=16),
            Column("Request", lambda row: f"{row.get('method')} {row.get('host')}{row.get('path')}", least=16),
            Column("Outcome", _outcome, least=20),
        )
        yield ""
        yield from table(sent_layout, sent, view.room, view.style)


def _difference(row: Mapping[str, Any]) -> str:
    appeared, gone = row.get("appeared"), row.get("gone")
    signs = [("+", appeared), ("-", gone)]
    return ", ".join(sign + str(rule) for sign, rules in signs if isinstance(rules, list) for rule in rules)


def _outcome(row: Mapping[str, Any]) -> str:
    if "skipped" in row:
        return f"not sent: {row['skipped']}"
    before, after = mapping(row.get("before")), mapping(row.get("after"))
    differs = row.get("differs")
    if not isinstance(differs, list) or not differs:
        return f"{after.get('status')}, as before"
    return ", ".join(f"{name} {before.get(str(name))} → {after.get(str(name))}" for name in differs)


COMMANDS = (
    Local(
        ("replay",),
        "judge buffered requests again, more strictly or by new rules",
        _act,
        show_replay,
        _options,
        (
            ("replay 203.0.113.7", "an address's requests, at paranoia 3"),
            ("replay 5f0c2a9d1b7e4c30", "one request, by the reference number of its block page"),
            ("replay --rules try.json", "what these exclusions or rules would change"),
            ("replay 203.0.113.7 --active", "and send the harmless ones to their origin again"),
        ),
        positional="which",
    ),
)
