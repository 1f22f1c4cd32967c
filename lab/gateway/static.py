"""Files under `/luci-static`: the application's own ones first, then those of the lab's runtime."""

from __future__ import annotations

from pathlib import Path

from lab.gateway.http import Handler, Request, Response, not_found

MAX_FILE = 2 << 20

TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}

#: The pages are being worked on while one looks at them: nothing is kept.
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def static_handler(prefix: str, *roots: Path) -> Handler:
    """Serves what lies below one of the roots, by known types only; the first root that has a file wins."""

    async def handle(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(405, "Method Not Allowed", "text/html", b"<h1>Method Not Allowed</h1>")
        path = find(request.path[len(prefix) :].lstrip("/"), *roots)
        if path is None:
            return await not_found(request)
        return Response(content_type=TYPES[path.suffix], body=path.read_bytes(), headers=dict(HEADERS))

    return handle


def find(name: str, *roots: Path) -> Path | None:
    """The file of that name, if it lies within a root in truth: no `..`, and no link that leads out."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        return None
    for root in roots:
        path = root.joinpath(*parts)
        if path.suffix not in TYPES or not path.is_file() or path.stat().st_size > MAX_FILE:
            continue
        if path.resolve().is_relative_to(root.resolve()):
            return path
    return None
