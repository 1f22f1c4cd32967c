"""The short-lived process that posts notifications to a webhook; HTTP and TLS would cost the engine megabytes."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 10


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the notification to a place that the owner did not name."""

    def redirect_request(self, *given: object) -> None:
        return None


def post(url: str, body: bytes) -> str:
    """Posts one JSON document; '' if it was taken, else why not."""
    request = urllib.request.Request(  # noqa: S310 - the settings allow http and https only, and so do we
        url, body, {"Content-Type": "application/json", "User-Agent": "dpi-dual"}, method="POST"
    )
    if request.type not in ("http", "https"):
        return "not an http or https address"
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    return ""


def main() -> int:
    """Reads `{"url": …, "notifications": […]}` from standard input; prints how many were taken and what went wrong."""
    job = json.load(sys.stdin)
    taken, failure = 0, ""
    for notification in job["notifications"]:
        failure = post(job["url"], json.dumps(notification).encode("ascii"))
        if failure:
            break
        taken += 1
    print(json.dumps({"taken": taken, "failure": failure[:200]}))
    return 0
