"""The answers of `dpi.correlator`."""

from __future__ import annotations

import asyncio
from typing import Any

from dpi_dual import config, config_edit
from dpi_dual.correlation import answers
from dpi_dual.correlation.actors import parse_network, shown
from dpi_dual.correlation.events import plain
from dpi_dual.correlation.policy import weights
from dpi_dual.engine.service import Engine
from dpi_dual.errors import QueryError

Answer = dict[str, Any]

#: Options of `dpi-dual.correlation` that `tuning` shows and `set_tuning` sets.
TUNED = (
    "sensitivity",
    "window",
    "reputation_decay",
    "decay_interval",
    "notifications",
    "notification_threshold",
    "watch_crowdsec",
)
AUTO_BAN = ("auto_ban", "auto_ban_threshold", "auto_ban_duration")


def stats(engine: Engine) -> Answer:
    return answers.stats(engine.correlator)


def timeline(engine: Engine, **wanted: Any) -> Answer:
    return answers.timeline(engine.correlator, **wanted)


def search(engine: Engine, **wanted: Any) -> Answer:
    return answers.search(engine.correlator, **wanted)


async def context(engine: Engine, **wanted: Any) -> Answer:
    return await answers.context(engine.correlator, **wanted)


def reputation(engine: Engine, **wanted: Any) -> Answer:
    return answers.reputation(engine.correlator, **wanted)


async def correlate(engine: Engine, **event: Any) -> Answer:
    return await answers.correlate(engine.correlator, **event)


def notifications(engine: Engine, limit: int) -> Answer:
    return answers.notifications(engine.correlator, limit)


def scorecard(engine: Engine, period: str) -> Answer:
    return answers.scorecard(engine.correlator, period)


def acknowledge(engine: Engine, **wanted: Any) -> Answer:
    return answers.acknowledge(engine.correlator, **wanted)


async def ban(engine: Engine, ip: str, duration: str = "", reason: str = "") -> Answer:
    answer = await engine.correlator.bans.ban(ip, duration, plain(reason, 200))
    engine.correlator.changed()
    return answer


async def unban(engine: Engine, ip: str) -> Answer:
    answer = await engine.correlator.bans.unban(ip)
    engine.correlator.changed()
    return answer


async def bans(engine: Engine, limit: int, before: str = "") -> Answer:
    return await engine.correlator.bans.listed(limit, before)


def reset_reputation(engine: Engine, ip: str) -> Answer:
    actor = answers.resolve(engine.correlator, ip)
    known = engine.correlator.reputation.reset(actor.key)
    engine.correlator.changed()
    return {"ok": True, "ip": ip, "actor": actor.key, "known": known}


def decay(engine: Engine) -> Answer:
    points = engine.settings.correlation.reputation_decay
    lowered = engine.correlator.reputation.lower_all(float(points), engine.now())
    engine.correlator.changed()
    return {"ok": True, "points": points, "addresses": lowered}


# --- settings


async def _write(engine: Engine, changes: dict[str, dict[str, object]]) -> None:
    """Writes to UCI, and takes the new settings at once."""
    try:
        await asyncio.to_thread(config_edit.write, changes, engine.config_dir)
    except config_edit.ConfigError as error:
        raise QueryError("bad_parameter", str(error)) from None
    except (OSError, ValueError) as error:
        raise QueryError("not_written", f"the configuration cannot be written: {error}") from None
    await _take(engine)


async def _take(engine: Engine) -> None:
    engine.correlator.reconfigure(await asyncio.to_thread(config.load, engine.config_dir))
    engine.request_reload()


def tuning(engine: Engine) -> Answer:
    settings = engine.correlator.settings
    own = settings.correlation
    return {
        **{name: getattr(own, name) for name in (*TUNED, *AUTO_BAN)},
        "weights": weights(settings),
        "scoring": {name: getattr(settings.scoring, name) for name in weights(settings)},
        "mutes": answers.mutes(engine.correlator),
    }


async def set_tuning(engine: Engine, **given: Any) -> Answer:
    scoring = {name: given.pop(name) for name in weights(engine.correlator.settings) if name in given}
    if not given and not scoring:
        raise QueryError("bad_parameter", "set_tuning needs at least one of its parameters")
    changes = {"correlation": given, "scoring": scoring}
    await _write(engine, {section: options for section, options in changes.items() if options})
    return tuning(engine)


async def set_auto_ban(engine: Engine, enabled: bool, threshold: int = 0, duration: str = "") -> Answer:
    options: dict[str, object] = {"auto_ban": enabled}
    if threshold:
        options["auto_ban_threshold"] = threshold
    if duration:
        options["auto_ban_duration"] = duration
    await _write(engine, {"correlation": options})
    own = engine.correlator.settings.correlation
    return {"ok": True, **{name: getattr(own, name) for name in AUTO_BAN}}


def whitelist(engine: Engine) -> Answer:
    return {"whitelist": list(engine.correlator.bans.whitelist.entries), "implicit": engine.correlator.home.ours()}


async def _change_whitelist(engine: Engine, add: list[str], remove: list[str]) -> None:
    try:
        await asyncio.to_thread(config_edit.change_list, "whitelist", "ip", add, remove, engine.config_dir)
    except config_edit.ConfigError as error:
        raise QueryError("bad_parameter", str(error)) from None
    except (OSError, ValueError) as error:
        raise QueryError("not_written", f"the configuration cannot be written: {error}") from None
    await _take(engine)


async def whitelist_add(engine: Engine, ip: str) -> Answer:
    network = parse_network(ip)
    bans = engine.correlator.bans
    if network.prefixlen == 0:
        raise QueryError("bad_address", f"{ip!r} is every address there is: that would switch all bans off")
    if not bans.whitelist.find(network):
        await _change_whitelist(engine, [shown(network)], [])
    answer: Answer = {"ok": True, "ip": shown(network), "whitelist": list(bans.whitelist.entries)}
    # Who is on the whitelist is not banned, so a ban that holds is undone, and one that waits is withdrawn.
    if bans.crowdsec is not None and bans.crowdsec.status()["state"] != "not_set_up":
        try:
            answer["unbanned"] = (await bans.unban(shown(network)))["removed"]
        except QueryError as error:
            answer["warning"] = f"whether a ban of it holds could not be cleared up: {error.message}"
    return answer


async def whitelist_remove(engine: Engine, ip: str) -> Answer:
    network = parse_network(ip)
    spelled = engine.correlator.bans.whitelist.find(network)
    if not spelled:
        raise QueryError("not_found", f"{ip[:64]} is not on the whitelist")
    await _change_whitelist(engine, [], spelled)
    return {"ok": True, "ip": shown(network), "whitelist": list(engine.correlator.bans.whitelist.entries)}
