"""Who asks, and whether they may: rpcd's sessions and access rights, by token or by name and password."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from dpi_dual.rest.errors import RETRY_S, HttpError
from dpi_dual.rest.request import Request
from dpi_dual.rest.throttle import Throttle

#: A session made for one request with name and password; it is destroyed after it.
LOGIN_TIMEOUT_S = 60
MAX_CREDENTIALS = 1024

_TOKEN = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NOBODY = "0" * 32


class Bus(Protocol):
    """rpcd's `session` object."""

    def session(self, method: str, **arguments: Any) -> dict[str, Any] | None:
        """Its answer; None if it refused: an unknown session, a wrong password."""


class UbusBus:
    """Over OpenWrt's python3-ubus; not over the `ubus` command, whose arguments every process may read."""

    TIMEOUT_MS = 10_000

    def __init__(self) -> None:
        """Raises HttpError 503 when ubus cannot be reached."""
        try:
            import ubus
        except ImportError:
            raise _no_ubus("the module ubus is not installed (package python3-ubus)") from None
        try:
            ubus.connect()
        except OSError as error:
            raise _no_ubus(str(error).strip()) from None
        self._ubus = ubus

    def session(self, method: str, **arguments: Any) -> dict[str, Any] | None:
        try:
            answers = self._ubus.call("session", method, arguments, timeout=self.TIMEOUT_MS)
        except RuntimeError as error:
            # libubus's words; a refusal is an answer, anything else is not.
            if str(error).endswith(("Not found", "Permission denied", "Invalid argument")):
                return None
            raise _no_ubus(str(error)) from None
        return dict(answers[0]) if answers else {}


def _no_ubus(why: str) -> HttpError:
    message = f"access rights cannot be checked: {why[:200]}"
    return HttpError(503, "no_ubus", message, {"Retry-After": str(RETRY_S)})


def challenge(code: str, message: str, problem: str = "") -> HttpError:
    """401 with both ways to log in."""
    bearer = 'Bearer realm="dpi-dual"' + (f', error="{problem}"' if problem else "")
    return HttpError(401, code, message, {"WWW-Authenticate": f'{bearer}, Basic realm="dpi-dual", charset="UTF-8"'})


@contextmanager
def opened(request: Request, bus: Bus, throttle: Throttle) -> Iterator[str]:
    """The session that the request acts in; raises HttpError 401 or 429."""
    scheme, _, value = request.authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            token = value.strip()
            if not _TOKEN.fullmatch(token) or token == _NOBODY:
                raise challenge("bad_token", "the token is not that of an rpcd session", "invalid_token")
            yield token
        case "basic":
            sid = _login(value.strip(), request.remote, bus, throttle)
            try:
                yield sid
            finally:
                bus.session("destroy", ubus_rpc_session=sid)
        case "":
            raise challenge("no_credentials", "log in: Authorization: Bearer <ubus_rpc_session>, or Basic")
        case _:
            raise challenge("bad_scheme", "Authorization must be Bearer or Basic")


def _login(value: str, remote: str, bus: Bus, throttle: Throttle) -> str:
    name, password = _credentials(value)
    wait_s = throttle.tried(remote)
    if wait_s:
        raise HttpError(429, "too_many_logins", f"too many logins; wait {wait_s} s", {"Retry-After": str(wait_s)})
    answer = bus.session("login", username=name, password=password, timeout=LOGIN_TIMEOUT_S)
    if not answer or not _TOKEN.fullmatch(str(answer.get("ubus_rpc_session", ""))):
        raise challenge("bad_credentials", "wrong name or password")
    throttle.passed(remote)
    return str(answer["ubus_rpc_session"])


def _credentials(value: str) -> tuple[str, str]:
    """RFC 7617: base64 of name, colon, password, in UTF-8."""
    try:
        plain = base64.b64decode(value[:MAX_CREDENTIALS], validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise challenge("bad_credentials", "the credentials are not base64 of UTF-8") from None
    name, colon, password = plain.partition(":")
    if not colon or not name or any(ord(char) < 32 or ord(char) == 127 for char in plain):
        raise challenge("bad_credentials", "the credentials are not name:password")
    return name, password


def require(bus: Bus, sid: str, target: tuple[str, str]) -> None:
    """Raises HttpError 401 for a session that is over, 403 for one without the right."""
    obj, method = target
    answer = bus.session("access", ubus_rpc_session=sid, scope="ubus", object=obj, function=method)
    if answer is None:
        raise challenge("session_over", "there is no such session, or it is over", "invalid_token")
    if answer.get("access") is not True:
        raise HttpError(403, "forbidden", f"this login may not call {obj} {method}")
