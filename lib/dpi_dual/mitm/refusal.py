"""The page that a visitor gets instead of the service."""

from __future__ import annotations

from html import escape

from mitmproxy import http

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"></head>
<body><h1>{title}</h1><p>{text}</p>{reference}</body></html>
"""


def page(
    status: int, title: str, text: str, headers: dict[str, str] | None = None, reference: str = ""
) -> http.Response:
    """`title` and `text` are ours; a reference lets the visitor ask the owner about this very request."""
    shown = f"<p>Reference: <code>{escape(reference)}</code></p>" if reference else ""
    fields = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", **(headers or {})}
    return http.Response.make(status, _PAGE.format(title=title, text=text, reference=shown), fields)
