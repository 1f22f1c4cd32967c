"""What procd says about the service, for answers without an engine: stopped by somebody, switched off, or crashed."""

from __future__ import annotations

import json
import os
from typing import Any

from dpi_dual import uci

SERVICE = "dpi-dual"
INSTANCE = "engine"
PATIENCE_S = 3.0


def state(enabled: bool) -> dict[str, Any]:
    """`{"state": …, "text": …}`, with `pid` and `exit_code` where procd has them; `enabled`: in UCI.

    States: disabled, stopped, stopping, starting, respawning, unmanaged (there is no procd), unknown.
    """
    if not os.access(uci.UBUS, os.X_OK):
        return _answer("unmanaged", "no procd looks after it here")
    import subprocess  # heavy, and of no use where there is no procd

    question = json.dumps({"name": SERVICE})
    try:
        done = subprocess.run(
            [uci.UBUS, "-t", "2", "call", "service", "list", question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
        )
        instance = _instance(json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return _answer("unknown", f"procd does not say ({error})"[:200])
    if instance is None:
        if not enabled:
            return _answer("disabled", "it is switched off (dpi-dual.settings.enabled is 0)")
        return _answer("stopped", "it was stopped, or never started")
    figures = {key: instance[key] for key in ("pid", "exit_code") if type(instance.get(key)) is int}
    if instance.get("running") is True:
        if "respawn" in instance:
            return _answer("starting", "its process runs, but does not answer yet", **figures)
        return _answer("stopping", "it is being stopped", **figures)
    respawn = instance.get("respawn")
    ended = f"its process ended ({_ending(figures.get('exit_code'))})"
    if not isinstance(respawn, dict):
        return _answer("stopped", ended, **figures)
    return _answer("respawning", f"{ended}; procd starts it again within {respawn.get('timeout')} s", **figures)


def _instance(answer: object) -> dict[str, Any] | None:
    """The engine's instance in an answer of `service list`; None if procd has none."""
    found = answer
    for key in (SERVICE, "instances", INSTANCE):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _ending(code: int | None) -> str:
    if code is None:
        return "why is not known"
    return f"signal {code - 128}" if code > 128 else f"status {code}"


def _answer(name: str, text: str, **figures: int) -> dict[str, Any]:
    return {"state": name, "text": text, **figures}
