"""What the lab publishes: a shop, a wiki and a cloud with an API, on one small web server behind the router.

python -m lab.origin --listen 192.168.2.10:80        inside the nas; prints `ready` once it serves
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lab.network import NAS, LabNetwork

PORT = 80
SHOP, WIKI, CLOUD = "shop.example.org", "wiki.example.org", "cloud.example.org"
HOSTS = (SHOP, WIKI, CLOUD)

#: The one account of each site.
USER, PASSWORD, TOKEN = "anna", "correct horse battery", "lab-4711-token"

MAX_BODY = 1 << 20
_ITEMS = ("Kettle", "Teapot", "Bread knife", "Rain coat", "Fountain pen", "Chess set", "Lamp", "Wool socks")


@dataclass(frozen=True)
class Asked:
    """A request, read."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Any
    body: bytes

    def first(self, name: str) -> str:
        """The first value of a parameter, of the query or of a form."""
        form = parse_qs(self.body.decode("utf-8", "replace")) if self.method == "POST" else {}
        return (self.query.get(name) or form.get(name) or [""])[0]


@dataclass
class Page:
    """An answer."""

    content: str = ""
    status: int = 200
    kind: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


def _html(title: str, text: str, status: int = 200, **headers: str) -> Page:
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><h1>{escape(title)}</h1>"
    return Page(f"{head}{text}\n", status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def _json(content: Any, status: int = 200) -> Page:
    return Page(json.dumps(content) + "\n", status, "application/json")


def _missing(asked: Asked) -> Page:
    return _html("Not found", f"<p>There is no {escape(asked.path)} here.</p>", 404)


def _search(asked: Asked) -> Page:
    wanted = asked.first("q")
    found = [item for item in _ITEMS if wanted.lower() in item.lower()]
    return _html("Search", f"<p>{len(found)} results for “{escape(wanted)}”.</p>{_list(found)}")


def _list(items: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def _login(asked: Asked) -> Page:
    form = "<form method=post><input name=user><input name=password type=password><button>Log in</button></form>"
    if asked.method != "POST":
        return _html("Log in", form)
    if (asked.first("user"), asked.first("password")) != (USER, PASSWORD):
        return _html("Log in", f"<p>Wrong name or password.</p>{form}", 401)
    return _html("Welcome", "<p>Hello.</p>", 303, Location="/", Set_Cookie="session=7f3a91c2; HttpOnly; Secure")


def shop(asked: Asked) -> Page:
    """Products, search, basket, reviews, log-in."""
    match asked.path.strip("/").split("/"):
        case [""]:
            return _html("Shop", _list(list(_ITEMS)))
        case ["search"]:
            return _search(asked)
        case ["login"]:
            return _login(asked)
        case ["product", number] if number.isdigit() and int(number) < len(_ITEMS):
            return _html(_ITEMS[int(number)], "<p>In stock.</p>")
        case ["basket"] | ["order"]:
            return _html("Basket", "<p>Noted.</p>", Set_Cookie="basket=3; Secure")
        case ["reviews"] if asked.method == "POST":
            return _html("Thank you", f"<p>{len(asked.body)} bytes of praise.</p>", 201)
        case ["static", *_]:
            return Page("body { font-family: serif }\n", kind="text/css", headers={"Cache-Control": "max-age=600"})
    return _missing(asked)


def wiki(asked: Asked) -> Page:
    """Articles, search, edits."""
    match asked.path.strip("/").split("/"):
        case [""] | ["wiki"]:
            return _html("Wiki", "<p>Everything that anybody knew.</p>")
        case ["wiki", title]:
            return _html(unquote(title), "<p>An article.</p>" + "<p>Text and more text.</p>" * (len(title) % 20))
        case ["search"]:
            return _search(asked)
        case ["edit", title]:
            return _html(unquote(title), f"<p>{len(asked.body)} bytes saved.</p>")
    return _missing(asked)


def cloud(asked: Asked) -> Page:
    """An API with JSON, uploads and downloads."""
    match asked.path.strip("/").split("/"):
        case ["api", "v1", "status"]:
            return _json({"ok": True, "at": int(time.time())})
        case ["api", "v1", *_] if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _json({"error": "no valid token"}, 401)
        case ["api", "v1", "notes"]:
            return _json({"stored": len(asked.body)} if asked.method == "POST" else {"notes": list(_ITEMS)})
        case ["upload"] if asked.method in ("POST", "PUT"):
            return _json({"received": len(asked.body)}, 201)
        case ["download", size] if size.isdigit():
            return Page("x" * min(int(size), MAX_BODY), kind="application/octet-stream")
    return _missing(asked)


SITES: dict[str, Callable[[Asked], Page]] = {SHOP: shop, WIKI: wiki, CLOUD: cloud}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nas", ""
    timeout = 60
    # Head and body are two writes: the second would wait for the client's delayed acknowledgement of the first.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self._body()
        url = urlsplit(self.path)
        asked = Asked(self.command, url.path, parse_qs(url.query), self.headers, body)
        host = str(self.headers.get("Host")).partition(":")[0].lower()
        page = SITES.get(host, _missing)(asked)
        data = page.content.encode()
        self.send_response(page.status)
        for name, value in {**page.headers, "Content-Type": page.kind, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> bytes:
        """The body however it is framed (RFC 9112, 6); what is too long to take is left, and the connection ended."""
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            length = int(self.headers.get("Content-Length") or 0)
            self.close_connection = self.close_connection or length > MAX_BODY
            return self.rfile.read(min(length, MAX_BODY))
        body = b""
        while size := int(self.rfile.readline(32).partition(b";")[0], 16):
            if size + len(body) > MAX_BODY:
                self.close_connection = True
                return body
            body += self.rfile.read(size)
            self.rfile.readline(32)
        self.rfile.readline(32)
        return body

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who asks for what is shown by the product."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor who goes away in the middle of an answer is no fault of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def server_bind(self) -> None:
        """Without asking DNS for our own name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]


def start(network: LabNetwork) -> subprocess.Popen[str]:
    """Starts it in the nas and waits until it serves."""
    command = [sys.executable, "-m", "lab.origin", "--listen", f"{NAS}:{PORT}"]
    with (network.directory / "origin.log").open("ab") as log:
        process = network.nas.popen(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout as said:
        if said.readline() != "ready\n":
            raise OSError(f"the published services did not start: {(network.directory / 'origin.log').read_text()}")
    return process


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", required=True, help="address:port")
    host, _, port = parser.parse_args().listen.rpartition(":")
    with _Server((host, int(port)), _Handler) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
