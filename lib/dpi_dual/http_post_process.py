"""The short-lived process that posts for the engine; HTTP and TLS would cost the engine megabytes."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry what is posted, and the token with it, to a place that the owner did not name."""

    def redirect_request(self, *given: object) -> None:
        return None


def post(url: str, headers: dict[str, str], body: bytes, timeout_s: float) -> str:
    """Posts once; '' if it was taken, else why not."""
    request = urllib.request.Request(  # noqa: S310 - the settings allow http and https only, and so do we
        url, body, {**headers, "User-Agent": "dpi-dual"}, method="POST"
    )
    if request.type not in ("http", "https"):
        return "not an http or https address"
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    return ""


def main() -> int:
    """Reads `{"url", "headers", "bodies", "timeout_s"}` from standard input.

    Posts until one is not taken; prints how many were and what went wrong.
    """
    job = json.load(sys.stdin)
    taken, failure = 0, ""
    for body in job["bodies"]:
        failure = post(job["url"], job["headers"], body.encode("utf-8"), job["timeout_s"])
        if failure:
            break
        taken += 1
    print(json.dumps({"taken": taken, "failure": failure[:200]}))
    return 0
