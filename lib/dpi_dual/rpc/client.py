"""Calls a ubus method the way a plugin does, for the command line: through the engine, or offline without one."""

from __future__ import annotations

import json
from typing import Any

from dpi_dual.rpc import plugin


def call(obj: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The method's answer; a refused or failed call is `{"error": …, "code": …}`. Never raises for a missing engine."""
    arguments = json.dumps(params).encode("ascii")
    if method in plugin.SERVICE_ACTIONS and obj in plugin.SERVICE_OBJECTS:
        from dpi_dual.rpc import service

        line = service.answer(obj, method, arguments)
    else:
        try:
            line = plugin.ask_engine(obj, method, arguments)
        except OSError as error:
            from dpi_dual.rpc import offline

            line = offline.answer(obj, method, arguments, error)
    answer: dict[str, Any] = json.loads(line)
    return answer
