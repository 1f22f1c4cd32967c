"""What a request that fails is answered: a status of HTTP, and our `error` and `code`."""

from __future__ import annotations

from collections.abc import Mapping

REASONS = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

#: What the ubus methods refuse, as HTTP says it; every other code means that something is not there now.
_STATUSES = {
    "not_found": 404,
    "gone": 404,
    "unknown_object": 404,
    "unknown_method": 404,
    "too_large": 400,
    "too_long": 413,
    "internal": 500,
    "never_banned": 400,
    "prometheus_off": 404,
}

RETRY_S = 10


class HttpError(Exception):
    """A request that is refused; `headers` tell the client more."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def of_answer(answer: Mapping[str, object]) -> HttpError | None:
    """The failure that an answer of the bus is, None if it is none."""
    if "error" not in answer or "code" not in answer:
        return None
    code = str(answer["code"])
    status = _STATUSES.get(code, 400 if code.startswith("bad_") else 503)
    headers = {"Retry-After": str(RETRY_S)} if status == 503 else {}
    return HttpError(status, code, str(answer["error"]), headers)
