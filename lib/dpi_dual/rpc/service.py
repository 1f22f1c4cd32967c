"""`start`, `stop` and `restart`: runs the init script and says what really happened."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import time

from dpi_dual import config
from dpi_dual.errors import QueryError
from dpi_dual.paths import ENGINE_SOCKET, INIT_SCRIPT
from dpi_dual.rpc import legacy
from dpi_dual.rpc.validate import Validator

#: How long the init script and the engine may take together, to appear or to go; LuCI gives the whole call 20 s.
PATIENCE_S = 12.0


#: The engine hangs: nobody can ask the kernel who listens.
UNKNOWN = -1


def engine_process() -> int:
    """The process that listens on the engine's socket; 0 if none does, UNKNOWN if it hangs."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(ENGINE_SOCKET)
        except (BlockingIOError, TimeoutError):
            return UNKNOWN  # its backlog is full
        except OSError:
            return 0
        # struct ucred (socket(7)): process, user, group; of the process that called listen().
        process: int
        process, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return process or UNKNOWN  # 0: it lives in another PID namespace


def reload_engine() -> bool:
    """Has the engine read its settings again where procd does not see to it; False if that cannot be."""
    process = engine_process()
    if process <= 0:
        return False
    try:
        os.kill(process, signal.SIGHUP)
    except (PermissionError, ProcessLookupError):
        return False
    return True


def _act(action: str) -> dict[str, object]:
    if not os.access(INIT_SCRIPT, os.X_OK):
        raise QueryError("no_init_script", f"{INIT_SCRIPT} is not there or not executable; is the package installed?")
    deadline = time.monotonic() + PATIENCE_S
    switched_off = action != "stop" and not config.load().settings.enabled
    if switched_off and action == "start":
        return _switched_off(action)
    before = engine_process()
    try:
        done = subprocess.run(
            [INIT_SCRIPT, action], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QueryError("init_failed", f"{INIT_SCRIPT} {action} failed: {error}") from error
    if done.returncode:
        complaint = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-300:]
        raise QueryError("init_failed", f"{INIT_SCRIPT} {action} ended with {done.returncode}: {complaint}")
    if switched_off:
        return _switched_off(action)  # what ran under the settings before is stopped by the init script
    while not (done_as_asked := _is_done(action, before, now := engine_process())) and time.monotonic() < deadline:
        time.sleep(0.1)
    answer: dict[str, object] = {"ok": done_as_asked, "running": now != 0, "action": action}
    if not done_as_asked:
        state = {"start": "does not run yet", "stop": "runs still"}.get(action, "has not been replaced yet")
        said = done.stderr.decode("utf-8", "replace").strip()[-300:]
        why = f" ({said})" if said else ""
        answer["error"] = f"{INIT_SCRIPT} {action} was accepted, but the engine {state}{why}; see logread -e dpi-dual"
        answer["code"] = "init_without_effect"
    return answer


def _switched_off(action: str) -> dict[str, object]:
    """The init script starts nothing then, however long one waits."""
    return {
        "ok": False,
        "running": engine_process() != 0,
        "action": action,
        "error": "it is switched off (dpi-dual.settings.enabled is 0): nothing is started",
        "code": "switched_off",
    }


def _is_done(action: str, before: int, now: int) -> bool:
    """Whether the engine's process is as the action wants it; a stop takes effect some time after it was accepted."""
    if action == "restart" and UNKNOWN not in (before, now):
        return now not in (0, before)
    return (now != 0) == (action != "stop")


def answer(obj: str, action: str, arguments: bytes) -> bytes:
    """The answer to a service action as one line of JSON."""
    try:
        try:
            params = json.loads(arguments or b"{}")
        except (ValueError, RecursionError):
            raise QueryError("bad_json", "the arguments are not valid JSON") from None
        Validator().check(obj, action, params)
        result = _act(action)
    except QueryError as error:
        result = dict(error.answer())
    if obj == legacy.OBJECT and action in legacy.TABLE:
        result = legacy.shaped(action, {}, result)
    return json.dumps(result).encode("ascii") + b"\n"
