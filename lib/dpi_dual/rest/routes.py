"""The paths of the HTTP API: each is one ubus method, with its parameters in path, query or body."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from dpi_dual.rest.errors import HttpError
from dpi_dual.rpc.signatures import Method, methods

#: Where the web server serves us; what follows is matched below.
BASE = "/api/dpi"

#: Answers text, not JSON.
METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Route:
    """`path` may end in one `{name}`, which becomes that parameter. Of a POST the other parameters are its body."""

    verb: str
    path: str
    name: str
    """operationId of the OpenAPI document."""
    target: tuple[str, str]
    help: str

    def method(self) -> Method:
        """The ubus method behind it."""
        return methods()[self.target[0]][self.target[1]]

    def path_parameter(self) -> str:
        """The name in braces, '' if there is none."""
        return self.path.rpartition("{")[2].rstrip("}") if self.path.endswith("}") else ""

    def properties(self) -> dict[str, Any]:
        """The parameters outside the path, with their schemas."""
        # A request is named by its path, so that what is done to whom stands in every log.
        hidden = {self.path_parameter(), "id"} if self.path_parameter() else set()
        found: dict[str, Any] = self.method().params["properties"]
        return {name: rule for name, rule in found.items() if name not in hidden}


ROUTES = (
    Route("GET", "/status", "status", ("dpi.status", "status"), "both streams, LAN and correlation at a glance"),
    Route("GET", "/mitm/buffer", "buffer", ("dpi.status", "buffer"), "state of the buffer of requests"),
    Route("GET", "/tap/flows", "flows", ("dpi.status", "flows"), "flows of the WAN, newest first"),
    Route("GET", "/correlated", "correlated", ("dpi.correlator", "timeline"), "correlated threats, newest first"),
    Route("GET", "/metrics", METRICS, ("dpi.status", "metrics"), "figures for Prometheus, in its text format"),
    Route(
        "POST", "/replay/{ip}", "replay", ("dpi.status", "replay"), "judge the buffered requests of an address again"
    ),
)


def find(verb: str, path: str) -> tuple[Route, dict[str, str]]:
    """The route and what its path holds; raises HttpError 404 or 405."""
    allowed: list[str] = []
    for route in ROUTES:
        given = _match(route, path)
        if given is None:
            continue
        if route.verb == verb or (route.verb == "GET" and verb == "HEAD"):
            return route, given
        allowed += ["GET", "HEAD"] if route.verb == "GET" else [route.verb]
    raise missing(path) if not allowed else wrong_verb(verb, (*allowed, "OPTIONS"))


def missing(path: str) -> HttpError:
    """404."""
    return HttpError(404, "no_such_path", f"there is no {(BASE + path)[:128]!r}; see {BASE}/openapi.json")


def wrong_verb(verb: str, allowed: tuple[str, ...]) -> HttpError:
    """405, with what would do."""
    return HttpError(405, "bad_verb", f"this path takes {', '.join(allowed)}", {"Allow": ", ".join(allowed)})


def _match(route: Route, path: str) -> dict[str, str] | None:
    name = route.path_parameter()
    if not name:
        return {} if path == route.path else None
    head = route.path[: -len(name) - 2]
    value = path.removeprefix(head)
    return {name: value} if path.startswith(head) and value and "/" not in value else None


def address(text: str) -> str:
    """An address of a path as it is; raises HttpError 400 for anything else."""
    try:
        ip_address(text)
    except ValueError:
        raise HttpError(400, "bad_address", f"{text[:64]!r} is not an IPv4 or IPv6 address") from None
    return text
