"""`crowdsec setup`, `crowdsec status`: this router's login at CrowdSec's local API, and whether it works."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dpi_dual.cli.command import OK, PROBLEM, REFUSED, Answer, View, listed
from dpi_dual.cli.health import problem_lines
from dpi_dual.cli.local import Local
from dpi_dual.cli.terminal import safe
from dpi_dual.cli.units import count, span
from dpi_dual.errors import QueryError

if TYPE_CHECKING:
    from dpi_dual.settings import Settings


def setup(given: argparse.Namespace) -> Answer:
    """Registers machine and bouncer with cscli, stores the keys, and tries them."""
    from dpi_dual.correlation import crowdsec_setup
    from dpi_dual.rpc import service

    cscli = crowdsec_setup.Cscli.find(given.config or "")
    done = crowdsec_setup.setup(cscli, given.name or "", given.url or "", given.force)
    service.reload_engine()  # one that runs takes the keys at once, also where no procd tells it to; twice does no harm
    now = _probe()
    notes = [] if now["state"] == "connected" else [problem["message"] for problem in now["problems"]]
    return {**done, "state": now["state"], "notes": notes}


def status(given: argparse.Namespace) -> Answer:
    """Asks LAPI with the stored login and key."""
    del given
    return _probe()


def _probe() -> Answer:
    import asyncio

    from dpi_dual import config

    settings = config.load()
    return asyncio.run(_ask(settings))


async def _ask(settings: Settings) -> Answer:
    """What LAPI says to our login and key, and what of ours waits in the engine's database.

    Not through the decision stream: LAPI remembers what each key has read there, and the engine would miss that.
    """
    import contextlib
    import logging
    import sqlite3

    from dpi_dual.correlation.crowdsec import CrowdSec

    logging.disable()  # what it would log, the answer's problems say
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        crowdsec = CrowdSec(settings.crowdsec, settings.secrets.crowdsec, db)
        figures: dict[str, Any] = {"bans": None, "community": None}
        for ask in (crowdsec.check_login, crowdsec.count_decisions):
            try:
                figures |= await ask()
            except QueryError as error:
                figures["error_code"] = error.code
        state = crowdsec.status()
        problems = [problem.answer() for problem in crowdsec.problems()]
    queued, oldest_at = _waiting(settings)
    code = figures.pop("error_code", "")
    known = {key: state[key] for key in ("state", "url", "machine_id", "mode")}
    if code and known["state"] == "connected":
        known["state"] = "refused" if code == "crowdsec_refused" else "incomplete"
    return {**known, **figures, "queued": queued, "oldest_queued_at": oldest_at, "problems": problems}


def _waiting(settings: Settings) -> tuple[int | None, float]:
    """How many alerts wait in the engine's database, and since when; None if it cannot be read."""
    import contextlib
    import json
    import sqlite3
    from pathlib import Path

    file = Path(settings.settings.stats_dir, "state.db")
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as db:
            rows = db.execute("SELECT alert FROM crowdsec_queue ORDER BY number").fetchall()
        return len(rows), float(json.loads(rows[0][0])["started_at"]) if rows else 0.0
    except (sqlite3.Error, ValueError, KeyError, TypeError):
        return None, 0.0


def _show_setup(answer: Answer, view: View) -> Iterator[str]:
    for kind in ("machine", "bouncer"):
        what = "registered" if answer[kind] == "made" else "there already, kept"
        yield f"{kind} {safe(answer['name'])}: {what}"
    if answer["state"] == "connected":
        yield view.style.good(f"CrowdSec at {safe(answer['url'])} accepts both.")
    else:
        yield view.style.warn(f"CrowdSec at {safe(answer['url'])} could not be asked: {answer['state']}.")


def _show_status(answer: Answer, view: View) -> Iterator[str]:
    good = answer["state"] == "connected"
    style = view.style.good if good else view.style.warn
    state = style(answer["state"].replace("_", " "))
    yield f"{state}  {safe(answer['url'])}, machine {safe(answer['machine_id'] or '-')}"
    if answer["bans"] is not None:
        yield f"bans: {count(answer['bans'])}, from community lists: {count(answer['community'])}"
    how = "decided by CrowdSec's profiles" if answer["mode"] == "profile" else "made at once"
    yield f"bans by us are {how} (dpi-dual.crowdsec.ban_mode {answer['mode']})"
    queued = answer["queued"]
    if queued:
        age = span(max(view.now - answer["oldest_queued_at"], 0))
        yield view.style.warn(f"waiting to be sent: {count(queued)}, the oldest for {age}")
    else:
        yield "waiting to be sent: " + ("not known, no engine has run" if queued is None else "nothing")
    for problem in listed(answer["problems"]):
        yield ""
        yield from problem_lines(problem, view)


def _judge(answer: Answer) -> int:
    if "error" in answer:
        return REFUSED
    return OK if answer["state"] == "connected" else PROBLEM


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="make login and key anew, also where there are some")
    parser.add_argument("--name", help="what this router is called in CrowdSec's lists (default: dpi-dual-HOSTNAME)")
    parser.add_argument("--url", help="address of the local API, if not the one that cscli names")
    parser.add_argument("--config", metavar="FILE", help="configuration of a CrowdSec that is not the system's own")


COMMANDS = (
    Local(
        ("crowdsec", "setup"),
        "register this router with CrowdSec and keep the keys",
        setup,
        _show_setup,
        _options,
        (
            ("crowdsec setup", "once, where CrowdSec's cscli is; nothing happens a second time"),
            ("crowdsec setup --force", "new login and key, after CrowdSec was installed anew"),
        ),
        _judge,
    ),
    Local(
        ("crowdsec", "status"),
        "does CrowdSec accept us, how many bans are there, what waits",
        status,
        _show_status,
        examples=(("crowdsec status || echo look", "exit code 1: something is not as it should be"),),
        judge=_judge,
    ),
)
