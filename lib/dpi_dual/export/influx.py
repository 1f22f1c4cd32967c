"""Figures as InfluxDB's line protocol, and the short-lived process that posts them: HTTP and TLS cost megabytes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from dpi_dual.export.figures import Family

TIMEOUT_S = 15
_IN_TAGS = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ ", "\n": r"\ ", "\r": r"\ ", "\\": "/"})


def lines(found: Iterable[Family], sensor: str, at: float) -> str:
    """One line a value: the metric is the measurement, its labels and the sensor are tags."""
    nanoseconds = int(at * 1000) * 1_000_000
    rows = []
    for family in found:
        for labels, value in family.values:
            tags = {"sensor": sensor, **{name: content for name, content in labels.items() if content}}
            inside = ",".join(f"{name}={content.translate(_IN_TAGS)}" for name, content in sorted(tags.items()))
            rows.append(f"{family.name},{inside} value={float(value)!r} {nanoseconds}")
    return "\n".join(rows) + "\n"


def post(url: str, token: str, body: bytes) -> str:
    """Posts once; '' if it was taken, else why not."""
    import urllib.error
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """A redirect would carry the token to a place that the owner did not name."""

        def redirect_request(self, *given: object) -> None:
            return None

    headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "dpi-dual"}
    if token:
        headers["Authorization"] = f"Token {token}"
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - the schema allows http and https
    if request.type not in ("http", "https"):
        return "not an http or https address"
    try:
        with urllib.request.build_opener(NoRedirect).open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    return ""


def main() -> int:
    """Reads `{"url", "token", "bodies"}` from standard input; prints how many were taken and what went wrong."""
    job = json.load(sys.stdin)
    taken, failure = 0, ""
    for body in job["bodies"]:
        failure = post(job["url"], job["token"], body.encode("utf-8"))
        if failure:
            break
        taken += 1
    print(json.dumps({"taken": taken, "failure": failure[:200]}))
    return 0
