"""From a checked call to its answer: each ubus method is a function of engine and parameters, named here once."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from dpi_dual.engine.service import Engine
from dpi_dual.errors import QueryError
from dpi_dual.rpc import correlator, lan, legacy, overview, status
from dpi_dual.rpc.validate import Validator

log = logging.getLogger(__name__)

Answer = dict[str, Any]
Handler = Callable[..., Answer | Awaitable[Answer]]

#: Handlers take the engine and, as keywords, the parameters that `schema/ubus.json` declares for the method.
HANDLERS: dict[str, dict[str, Handler]] = {
    "dpi.status": {
        "overview": overview.overview,
        "status": status.status,
        "flows": status.flows,
        "buffer": status.buffer,
        "alerts": status.alerts,
        "mirror": status.mirror,
        "mirror_start": status.mirror_start,
        "mirror_stop": status.mirror_stop,
        "replay": status.replay,
        "history": status.history,
        "health": status.health,
        "metrics": status.metrics,
        "version": status.version,
    },
    "dpi.lan": {
        "status": lan.status,
        "clients": lan.clients,
        "client": lan.client,
        "destinations": lan.destinations,
        "protocols": lan.protocols,
        "applications": lan.applications,
        "flows": lan.flows,
        "history": lan.history,
    },
    "dpi.correlator": {
        "stats": correlator.stats,
        "timeline": correlator.timeline,
        "search": correlator.search,
        "context": correlator.context,
        "reputation": correlator.reputation,
        "correlate": correlator.correlate,
        "ban": correlator.ban,
        "unban": correlator.unban,
        "bans": correlator.bans,
        "whitelist": correlator.whitelist,
        "whitelist_add": correlator.whitelist_add,
        "whitelist_remove": correlator.whitelist_remove,
        "reset_reputation": correlator.reset_reputation,
        "tuning": correlator.tuning,
        "set_tuning": correlator.set_tuning,
        "set_auto_ban": correlator.set_auto_ban,
        "acknowledge": correlator.acknowledge,
        "decay": correlator.decay,
        "notifications": correlator.notifications,
        "scorecard": correlator.scorecard,
    },
}


class Dispatcher:
    """Answers the control socket's calls."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._validator = Validator()

    async def __call__(self, obj: str, name: str, params: object) -> Answer:
        try:
            method, values = self._validator.check(obj, name, params)
            target, verb = method.target
            if target == legacy.OBJECT:
                return legacy.shaped(verb, values, await self(*legacy.question(verb, values)))
            handler = HANDLERS[target].get(verb)
            if handler is None:
                raise QueryError("not_here", f"{target} {verb} is answered by the plugin, not by the engine")
            answer = handler(self._engine, **values)
            return await answer if inspect.isawaitable(answer) else answer
        except QueryError as error:
            return legacy.refused(obj, name, dict(error.answer()))
        except Exception as error:
            log.error("%s %s failed", obj, name, exc_info=error)
            return {"error": f"{obj} {name} failed inside the engine: {error}", "code": "internal"}
