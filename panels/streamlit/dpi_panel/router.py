"""Asks a router's ubus objects over uhttpd's JSON-RPC (`/ubus`): login, one call, errors a person can act on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import requests

#: libubus sends no longer message (UBUS_MAX_MSGLEN); ours are far smaller.
MAX_ANSWER_BYTES = 1 << 20
#: LuCI waits as long.
TIMEOUT_S = 20.0
NO_SESSION = "0" * 32

#: libubus' status codes (ubusmsg.h) that a caller can do something about.
_STATUS = {
    2: "the router refuses the arguments",
    3: "the router does not know this method; is its DPI Dual-Stream older than this panel?",
    4: "the router has no such object; is DPI Dual-Stream installed, and rpcd restarted since?",
    6: "this login may not ask that",
    7: "the router took too long",
}
_NOT_FOUND = -32000
_ACCESS_DENIED = -32002


class RouterError(Exception):
    """No usable answer. `message` is for people; it may hold text from the router: show it as text, not as markup."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class LoginError(RouterError):
    """Wrong name or password, or the session ended."""


@dataclass
class Router:
    """A router with a session on it.

    `url` is where LuCI is (`https://192.168.1.1`), `verify` what `requests` takes: True, False or the path of the
    router's certificate.
    """

    url: str
    session: str = NO_SESSION
    verify: bool | str = True
    _http: requests.Session = field(default_factory=requests.Session, repr=False)

    def login(self, user: str, password: str) -> None:
        """Opens a session; `LoginError` when the router does not know the two."""
        try:
            answer = self._ask("session", "login", {"username": user, "password": password}, NO_SESSION)
        except LoginError:
            raise
        except RouterError as error:
            raise LoginError(error.message) from None
        token = answer.get("ubus_rpc_session")
        if not isinstance(token, str) or not token:
            raise LoginError(f"{self.url} gives no session for this name and password")
        self.session = token

    def call(self, name: str, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer of a ubus method. `LoginError` when the session ended, `RouterError` for everything else."""
        answer = self._ask(name, method, parameters, self.session)
        if "error" in answer and "code" in answer:
            raise RouterError(str(answer["error"]))
        return answer

    def close(self) -> None:
        self._http.close()

    def _ask(self, name: str, method: str, parameters: dict[str, Any], session: str) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": [session, name, method, parameters]}
        reply = self._post(json.dumps(request).encode())
        error, result = reply.get("error"), reply.get("result")
        if isinstance(error, dict):
            if error.get("code") == _ACCESS_DENIED:
                raise LoginError(f"the session on {self.url} ended, or may not call {name} {method}")
            why = _STATUS[4] if error.get("code") == _NOT_FOUND else error.get("message")
            raise RouterError(f"{name} {method}: {why}")
        if not isinstance(result, list) or not result or not isinstance(result[0], int):
            raise RouterError(f"{self.url}/ubus does not answer as ubus does")
        if result[0]:
            why = _STATUS.get(result[0], f"ubus status {result[0]}")
            kind = LoginError if result[0] == 6 else RouterError
            raise kind(f"{name} {method}: {why}")
        answer = result[1] if len(result) > 1 else {}
        if not isinstance(answer, dict):
            raise RouterError(f"{name} {method} answered something else than an object")
        return answer

    def _post(self, body: bytes) -> dict[str, Any]:
        try:
            with self._http.post(
                f"{self.url.rstrip('/')}/ubus",
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=TIMEOUT_S,
                verify=self.verify,
                stream=True,
                # A password must not follow a redirect, and a redirected POST becomes a GET.
                allow_redirects=False,
            ) as response:
                if response.is_redirect:
                    raise RouterError(
                        f"{self.url} redirects to {response.headers.get('location', '')}: use that address"
                    )
                if response.status_code != 200:
                    raise RouterError(f"{self.url}/ubus answers {response.status_code}; is uhttpd-mod-ubus installed?")
                text = b""
                for piece in response.iter_content(65536):
                    text += piece
                    if len(text) > MAX_ANSWER_BYTES:
                        raise RouterError(f"{self.url} answers with more than {MAX_ANSWER_BYTES} bytes")
        except requests.exceptions.SSLError as error:
            raise RouterError(
                f"the certificate of {self.url} is not trusted; name the router's own in DPI_PANEL_CA ({error})"
            ) from error
        except requests.RequestException as error:
            raise RouterError(f"{self.url} cannot be reached: {error}") from error
        try:
            reply = json.loads(text)
        except (ValueError, RecursionError):
            raise RouterError(f"{self.url}/ubus does not answer with JSON") from None
        if not isinstance(reply, dict):
            raise RouterError(f"{self.url}/ubus does not answer as ubus does")
        return reply
