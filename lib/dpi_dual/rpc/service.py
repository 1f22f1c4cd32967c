"""`start`, `stop` and `restart`: runs the init script and says what really happened."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time

from dpi_dual.errors import QueryError
from dpi_dual.paths import ENGINE_SOCKET, INIT_SCRIPT
from dpi_dual.rpc.validate import Validator

#: How long the init script and the engine may take together, to appear or to go; LuCI gives the whole call 20 s.
PATIENCE_S = 12.0


def engine_runs() -> bool:
    """True if something listens on the engine's socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(ENGINE_SOCKET)
        except (BlockingIOError, TimeoutError):
            return True  # one that hangs: its backlog is full
        except OSError:
            return False
        return True


def _act(action: str) -> dict[str, object]:
    if not os.access(INIT_SCRIPT, os.X_OK):
        raise QueryError("no_init_script", f"{INIT_SCRIPT} is not there or not executable; is the package installed?")
    deadline = time.monotonic() + PATIENCE_S
    try:
        done = subprocess.run(
            [INIT_SCRIPT, action], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QueryError("init_failed", f"{INIT_SCRIPT} {action} failed: {error}") from error
    if done.returncode:
        complaint = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-300:]
        raise QueryError("init_failed", f"{INIT_SCRIPT} {action} ended with {done.returncode}: {complaint}")
    wanted = action != "stop"
    while engine_runs() != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    running = engine_runs()
    answer: dict[str, object] = {"ok": running == wanted, "running": running, "action": action}
    if running != wanted:
        state = "runs" if running else "does not run"
        answer["error"] = f"{INIT_SCRIPT} {action} was accepted, but the engine {state} still; see logread -e dpi-dual"
        answer["code"] = "init_without_effect"
    return answer


def answer(action: str, arguments: bytes) -> bytes:
    """The answer to a service action as one line of JSON."""
    try:
        try:
            params = json.loads(arguments or b"{}")
        except (ValueError, RecursionError):
            raise QueryError("bad_json", "the arguments are not valid JSON") from None
        Validator().check("dpi.status", action, params)
        result = _act(action)
    except QueryError as error:
        result = dict(error.answer())
    return json.dumps(result).encode("ascii") + b"\n"
