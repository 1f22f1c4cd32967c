"""`/cgi-bin/luci`: login, the page that a menu entry leads to, and the few addresses that LuCI's client code calls."""

from __future__ import annotations

import html
import json
import re
import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from lab.gateway import catalogue, menu
from lab.gateway.bus import Bus
from lab.gateway.http import Request, Response
from lab.gateway.sessions import Session
from lab.gateway.status import Status

SCRIPT = "/cgi-bin/luci"
RESOURCES = "/luci-static/resources"
MEDIA = "/luci-static/lab"
COOKIE = "sysauth_http"
SESSION_S = 3600
MAX_PATH_PARTS = 10

#: The pages change while one works on them, and no other site may frame them. There is no policy against inline
#: script on purpose: a text that becomes markup must be as harmful here as it is in LuCI, so that tests notice.
HEADERS = {"Cache-Control": "no-store", "X-Frame-Options": "SAMEORIGIN", "X-Content-Type-Options": "nosniff"}

#: How LuCI turns what ubus says into what HTTP says.
_HTTP = {
    Status.OK: (200, "OK"),
    Status.NO_DATA: (204, "No data"),
    Status.PERMISSION_DENIED: (403, "Permission denied"),
    Status.NOT_FOUND: (404, "Not found"),
    Status.TIMEOUT: (504, "Timeout"),
}


@dataclass(frozen=True)
class Site:
    """Where the pages' parts lie."""

    application: Path
    runtime: Path
    config: Path
    hostname: str

    @property
    def includes(self) -> Path:
        return self.application / "htdocs" / "luci-static" / "resources" / "view" / "status" / "include"


class Pages:
    """The handler of all addresses under `/cgi-bin/luci`."""

    def __init__(self, bus: Bus, site: Site) -> None:
        self._bus = bus
        self._site = site

    async def handle(self, request: Request) -> Response:
        path = [part for part in request.path[len(SCRIPT) :].split("/") if part]
        if len(path) > MAX_PATH_PARTS or not all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", part) for part in path):
            return _page("Not Found", "<h1>Not Found</h1>", 404, "Not Found")
        if path[:2] == ["admin", "translations"]:
            return self._translations(path[2] if len(path) == 3 else "")
        session = self._session(request)
        if session is None:
            return await self._login(request)
        match path:
            case ["admin", "menu"]:
                return Response(body=json.dumps(self._menu(session)).encode(), headers=dict(HEADERS))
            case ["admin", "uci", action]:
                return await self._uci(session, request, action)
            case ["admin", "logout"]:
                self._bus.sessions.call("destroy", {"ubus_rpc_session": session.sid})
                return _redirect(SCRIPT, f"{COOKIE}=; Path={SCRIPT}; Max-Age=0; HttpOnly; SameSite=Strict")
        return self._show(session, request, path)

    # --- who is there

    def _session(self, request: Request) -> Session | None:
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        session = self._bus.sessions.find(cookie.value) if cookie else None
        return session if session is not None and "token" in session.data else None

    async def _login(self, request: Request) -> Response:
        fields = _fields(request.body) if request.method == "POST" else {}
        name = fields.get("luci_username", "")
        if "luci_password" in fields:
            credentials = {"username": name, "password": fields["luci_password"], "timeout": SESSION_S}
            answer = self._bus.sessions.call("login", credentials)
            status, data = answer if isinstance(answer, tuple) else answer[0]
            session = self._bus.sessions.find(data["ubus_rpc_session"]) if status is Status.OK and data else None
            if session is not None:
                session.data["token"] = secrets.token_hex(16)
                cookie = f"{COOKIE}={session.sid}; Path={SCRIPT}; HttpOnly; SameSite=Strict"
                return _redirect(request.path, cookie)
        response = self._shell(request, "Log in", _login_form(name, failed="luci_password" in fields), None, [])
        response.code, response.reason = 403, "Forbidden"
        response.headers["X-LuCI-Login-Required"] = "yes"
        return response

    # --- pages

    def _menu(self, session: Session) -> menu.Node:
        entries = menu.read(
            self._site.runtime / "menu.d", self._site.application / "root" / "usr" / "share" / "luci" / "menu.d"
        )
        return menu.tree(entries, session.acls.get("access-group", {}), lambda package, _: self._has_package(package))

    def _has_package(self, name: str) -> bool:
        return (self._site.config / name).is_file()

    def _show(self, session: Session, request: Request, path: list[str]) -> Response:
        found = menu.resolve(self._menu(session), path)
        action = found.node.get("action", {}) if found else {}
        if found is None or action.get("type") != "view":
            page = "<h2>Not Found</h2><p>There is no such page, or this login may not see it.</p>"
            response = self._shell(request, "Not Found", page, session, path)
            response.code, response.reason = 404, "Not Found"
            return response
        view = f'<div id="view" data-view="{html.escape(str(action["path"]))}"></div>'
        return self._shell(request, str(found.node.get("title", "")), view, session, path, found)

    def _shell(
        self,
        request: Request,
        title: str,
        content: str,
        session: Session | None,
        path: list[str],
        found: menu.Resolved | None = None,
    ) -> Response:
        """A whole page; the runtime takes over from `#luci-env` and `#view`."""
        language = catalogue.best(request.headers.get("accept-language", ""), self._languages())
        env: dict[str, Any] = {
            "media": MEDIA,
            "resource": RESOURCES,
            "base_url": RESOURCES,
            "scriptname": SCRIPT,
            "documentroot": "/www",
            "ubuspath": "/ubus/",
            "pollinterval": 5,
            "rpctimeout": 20,
            "requestpath": path,
            "dispatchpath": found.path if found else path,
            "nodespec": {key: value for key, value in found.node.items() if key != "children"} if found else None,
            "sessionid": session.sid if session else None,
            "token": session.data["token"] if session else None,
            "apply_rollback": 30,
            "apply_holdoff": 1,
            "apply_timeout": 5,
            "apply_display": 1,
            "includes": sorted(file.stem for file in self._site.includes.glob("*.js")),
        }
        scripts = f"""
<script id="luci-env" type="application/json">{_script(env)}</script>
<script src="{SCRIPT}/admin/translations/{language}"></script>
<script src="{RESOURCES}/strings.js"></script>
<script src="{RESOURCES}/luci.js"></script>"""
        body = _SHELL.format(
            hostname=html.escape(self._site.hostname),
            page=html.escape("-".join(found.path if found else path)),
            content=content,
            scripts=scripts if session else "",
            out=f'<a href="{SCRIPT}/admin/logout">Log out {html.escape(str(session.data["username"]))}</a>'
            if session
            else "",
        )
        return _page(f"{self._site.hostname} | {title}", body, language=language)

    def _languages(self) -> dict[str, Path]:
        return catalogue.languages(self._site.application / "po")

    def _translations(self, language: str) -> Response:
        path = self._languages().get(language)
        body = f"window.TR = {_script(catalogue.read(path) if path else {})};\n"
        return Response(content_type="text/javascript; charset=utf-8", body=body.encode(), headers=dict(HEADERS))

    # --- what the indicator of unsaved changes calls

    async def _uci(self, session: Session, request: Request, action: str) -> Response:
        query = {name: values[-1] for name, values in parse_qs(request.query, max_num_fields=20).items()}
        if request.method != "POST" or not secrets.compare_digest(
            query.get("token", "").encode(), session.data["token"].encode()
        ):
            return Response(403, "Forbidden", "text/plain", b"Forbidden", dict(HEADERS))
        rights = {"apply_rollback": "apply", "apply_unchecked": "apply", "confirm": "confirm", "revert": "set"}
        if action not in rights or not session.allows("ubus", "uci", rights[action]):
            return _ubus_status(Status.PERMISSION_DENIED)
        sid = {"ubus_rpc_session": session.sid}
        match action:
            case "apply_rollback":
                status, _ = await self._call("apply", {**sid, "rollback": True, "timeout": 90})
                if status is Status.OK:
                    return Response(body=json.dumps({"token": session.data["token"]}).encode(), headers=dict(HEADERS))
            case "apply_unchecked":
                status, _ = await self._call("apply", {**sid, "rollback": False})
            case "confirm":
                status, _ = await self._call("confirm", sid)
            case _:
                status, data = await self._call("changes", sid)
                for package in (data or {}).get("changes", {}):
                    status, _ = await self._call("revert", {**sid, "config": package})
        return _ubus_status(status)

    async def _call(self, method: str, arguments: dict[str, Any]) -> tuple[Status, dict[str, Any] | None]:
        target = self._bus.find("uci")
        if target is None:
            return Status.NOT_FOUND, None
        return (await self._bus.call(target, method, arguments))[0]


def _ubus_status(status: Status) -> Response:
    code, reason = _HTTP.get(status, (500, status.message))
    headers = {**HEADERS, "Content-Length": "0"} if code == 204 else dict(HEADERS)
    return Response(code, reason, "text/plain", b"" if code == 204 else reason.encode(), headers)


def _fields(body: bytes) -> dict[str, str]:
    try:
        return {
            name: values[-1]
            for name, values in parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10).items()
        }
    except ValueError:  # not UTF-8, or too many fields
        return {}


def _script(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")


def _redirect(target: str, cookie: str) -> Response:
    return Response(302, "Found", "text/html", b"", {**HEADERS, "Location": target, "Set-Cookie": cookie})


def _page(title: str, body: str, code: int = 200, reason: str = "OK", language: str = "en") -> Response:
    text = f"""<!DOCTYPE html>
<html lang="{html.escape(language)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<link rel="stylesheet" href="{MEDIA}/cascade.css">
<link rel="icon" href="{MEDIA}/icon.svg" type="image/svg+xml">
</head>
{body}
</html>
"""
    return Response(code, reason, "text/html; charset=utf-8", text.encode(), dict(HEADERS))


def _login_form(name: str, failed: bool) -> str:
    wrong = '<div class="alert-message error" role="alert">Invalid username and/or password! Please try again.</div>'
    return _LOGIN.format(wrong=wrong if failed else "", name=html.escape(name or "root"))


_LOGIN = """<form method="post" class="cbi-map login">
<h2>Authorization required</h2>
{wrong}
<div class="cbi-value">
<label class="cbi-value-title" for="luci_username">Username</label>
<div class="cbi-value-field">
<input name="luci_username" id="luci_username" autocomplete="username" value="{name}">
</div>
</div>
<div class="cbi-value">
<label class="cbi-value-title" for="luci_password">Password</label>
<div class="cbi-value-field">
<input name="luci_password" id="luci_password" type="password" autocomplete="current-password" autofocus>
</div>
</div>
<div class="cbi-page-actions"><button class="btn cbi-button-positive important">Log in</button></div>
</form>"""


_SHELL = """<body data-page="{page}">
<header><a class="brand" href="/">{hostname}</a>
<nav><ul class="nav" id="topmenu" style="display:none"></ul></nav>
<div id="indicators"></div></header>
<main id="maincontent" class="container">
<noscript><div class="alert-message warning">These pages need JavaScript.</div></noscript>
<div id="tabmenu" style="display:none"></div>
{content}
</main>
<footer>{out}</footer>
{scripts}
</body>"""
