"""The connection to LAPI: who we are there, the login that lasts an hour, and whether LAPI answers at all."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dpi_dual.correlation import lapi
from dpi_dual.correlation.crowdsec_wire import CrowdsecError, decoded, token_lifetime_s
from dpi_dual.correlation.lapi import LapiError
from dpi_dual.model import Problem
from dpi_dual.settings import Crowdsec, CrowdsecSecrets

log = logging.getLogger(__name__)

#: A login or key that LAPI refuses is not tried again before that.
REFUSED_RETRY_S = 60.0
#: One question from beginning to end; the decision stream of a large blocklist may take longer.
QUESTION_S = 20.0
STREAM_S = 180.0
#: A token is renewed when this share of its life is over.
TOKEN_SHARE = 0.8

_SETUP = "Run 'dpi-dualctl crowdsec setup' on the machine where CrowdSec's cscli is."
_RENEW = "Run 'dpi-dualctl crowdsec setup --force' on the machine where CrowdSec's cscli is."


class Session:
    """Asks LAPI as a machine (with a token) or as a bouncer (with a key)."""

    def __init__(self, settings: Crowdsec, secrets: CrowdsecSecrets) -> None:
        self.settings = settings
        self.secrets = secrets
        self.down = ""
        """Why LAPI gave no answer when last asked; empty when it did."""
        self.down_code = ""
        self.contact_at = 0.0
        self.refused: dict[str, float] = {}
        """`machine` or `bouncer` → when (monotonic) to try again."""
        self.counts: Counter[str] = Counter()
        self._token = ""
        self._token_ends = 0.0
        self._lock = asyncio.Lock()

    @property
    def has_login(self) -> bool:
        return bool(self.settings.machine_id and self.secrets.password)

    def reconfigure(self, settings: Crowdsec, secrets: CrowdsecSecrets) -> None:
        """Takes other settings; nothing of what was said under the old ones counts."""
        self.settings, self.secrets = settings, secrets
        self._token = self.down = self.down_code = ""
        self.contact_at = 0.0
        self.refused.clear()

    # --- questions

    @asynccontextmanager
    async def as_bouncer(self, path: str) -> AsyncIterator[lapi.Answer]:
        """`GET path`; the answer comes piece by piece. CrowdsecError when there is no good one."""
        if not self.secrets.bouncer_key:
            raise CrowdsecError("crowdsec_not_set_up", "no bouncer key: run 'dpi-dualctl crowdsec setup'")
        async with self._asking("GET", path, {"X-Api-Key": self.secrets.bouncer_key}, b"", STREAM_S) as answer:
            if answer.status in (401, 403):
                raise self._refuse("bouncer")
            if answer.status != 200:
                raise LapiError("bad_answer", f"it answers {path[:60]} with status {answer.status}")
            self.refused.pop("bouncer", None)
            yield answer

    async def as_machine(self, method: str, path: str, content: object = None) -> tuple[int, Any]:
        """Status and decoded answer; logs in where needed, and once more when LAPI knows the token no longer."""
        body = b"" if content is None else json.dumps(content, separators=(",", ":")).encode("utf-8")
        status, text = 0, b""
        for _ in range(2):
            try:
                token = await self._login()
            except CrowdsecError as error:
                error.sent = False  # the login may have been, what we are here for was not
                raise
            async with self._asking(method, path, {"Authorization": f"Bearer {token}"}, body) as answer:
                status, text = answer.status, await answer.read()
            if status != 401:
                break
            if token == self._token:
                self._token = ""
        if status in (401, 403):
            raise self._refuse("machine")
        return status, decoded(text)

    async def _login(self) -> str:
        async with self._lock:
            if self._token and time.monotonic() < self._token_ends:
                return self._token
            if not self.has_login:
                raise CrowdsecError("crowdsec_not_set_up", "no login for CrowdSec: run 'dpi-dualctl crowdsec setup'")
            if time.monotonic() < self.refused.get("machine", 0.0):
                raise self._refusal("machine")
            given = {"machine_id": self.settings.machine_id, "password": self.secrets.password, "scenarios": []}
            async with self._asking("POST", "/v1/watchers/login", {}, json.dumps(given).encode("utf-8")) as answer:
                said = decoded(await answer.read())
                if answer.status in (401, 403):
                    raise self._refuse("machine")
                token = said.get("token") if isinstance(said, dict) else None
                if answer.status != 200 or not isinstance(token, str) or not 0 < len(token) <= 4096:
                    raise LapiError("bad_answer", f"it answers a login with status {answer.status} and no token")
            self._token = token
            self._token_ends = time.monotonic() + token_lifetime_s(said.get("expire")) * TOKEN_SHARE
            self.refused.pop("machine", None)
            self.counts["crowdsec_logins"] += 1
            return token

    @asynccontextmanager
    async def _asking(
        self, method: str, path: str, headers: dict[str, str], body: bytes, within_s: float = 0.0
    ) -> AsyncIterator[lapi.Answer]:
        given = {**headers, "Content-Type": "application/json"} if body else headers
        within_s = within_s or QUESTION_S
        try:
            endpoint = lapi.Endpoint.parse(self.settings.url)
            async with asyncio.timeout(within_s), lapi.request(endpoint, method, path, given, body) as answer:
                if answer.status in (429, 502, 503, 504):  # a proxy before it, or its own brake
                    raise LapiError("unreachable", f"it answers with status {answer.status}", answer.status != 429)
                yield answer
        except TimeoutError:
            raise self.fault(LapiError("timeout", f"no answer within {within_s:g} s", True)) from None
        except LapiError as error:
            raise self.fault(error) from None
        except CrowdsecError:
            self._met()  # it did answer
            raise
        else:
            self._met()

    def _met(self) -> None:
        if self.down:
            log.warning("CrowdSec's local API answers again")
        self.down = self.down_code = ""
        self.contact_at = time.time()

    def fault(self, error: LapiError) -> CrowdsecError:
        """Remembers that there was no usable answer; as the error that callers see."""
        if not self.down:
            log.warning("CrowdSec's local API: %s", error)
        self.down, self.down_code = str(error), error.code
        self.counts["crowdsec_faults"] += 1
        code = error.code if error.code in ("https", "bad_url") else "unreachable"
        return CrowdsecError(f"crowdsec_{code}", f"CrowdSec's local API: {error}", error.sent)

    def _refuse(self, who: str) -> CrowdsecError:
        if who not in self.refused:
            log.error("%s", self._refusal(who))
        self.refused[who] = time.monotonic() + REFUSED_RETRY_S
        if who == "machine":
            self._token = ""
        return self._refusal(who)

    def _refusal(self, who: str) -> CrowdsecError:
        what = "key as a bouncer" if who == "bouncer" else "login as a machine"
        text = f"CrowdSec refuses our {what}: run 'dpi-dualctl crowdsec setup --force'"
        return CrowdsecError("crowdsec_refused", text)

    # --- health

    @property
    def state(self) -> str:
        """not_set_up, unsupported, unreachable, refused, connecting or connected."""
        if not self.has_login and not self.secrets.bouncer_key:
            return "not_set_up"
        if self.down:
            return "unsupported" if self.down_code in ("https", "bad_url") else "unreachable"
        if self.refused:
            return "refused"
        return "connected" if self.contact_at else "connecting"

    def problems(self, waiting: int) -> list[Problem]:
        """What is wrong with the connection; `waiting` alerts cannot be sent meanwhile."""
        later = f" {waiting} alerts wait and are sent later." if waiting else ""
        found = []
        missing = ([] if self.has_login else ["login"]) + ([] if self.secrets.bouncer_key else ["bouncer key"])
        if missing:
            without = {"login": "nobody can be banned", "bouncer key": "its decisions are not seen"}
            effect = ", ".join(without[name] for name in missing)
            text = f"CrowdSec is not set up ({' and '.join(missing)} missing): {effect}.{later}"
            found.append(Problem("crowdsec_not_set_up", text, _SETUP, "info" if len(missing) == 2 else "warning"))
        if self.down_code == "https":
            hint = "Put a TLS tunnel in between (stunnel, HAProxy, WireGuard) and give its http address."
            found.append(Problem("crowdsec_https_unsupported", f"{self.down}.{later}", hint, "error"))
        elif self.down:
            hint = f"Start CrowdSec, or correct dpi-dual.crowdsec.url (now {self.settings.url[:200]})."
            text = f"CrowdSec's local API gives no answer ({self.down}).{later}"
            found.append(Problem("crowdsec_unreachable", text, hint, "error" if waiting else "warning"))
        for who in self.refused:
            text = f"{self._refusal(who).message.partition(':')[0]}; its database may be a new one.{later}"
            found.append(Problem(f"crowdsec_{who}_refused", text, _RENEW, "error"))
        return found + self._clear_text(bool(missing))

    def _clear_text(self, idle: bool) -> list[Problem]:
        try:
            local = idle or lapi.Endpoint.parse(self.settings.url).is_loopback
        except LapiError:
            return []  # named above once it was tried
        if local:
            return []
        text = "CrowdSec's local API is on another machine: our password and key cross the network unencrypted."
        return [Problem("crowdsec_clear_text", text, "Use a tunnel (WireGuard, HAProxy) if others share it.", "info")]
