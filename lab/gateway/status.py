"""ubus status codes and the words that `ubus` and uhttpd print for them."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Result of a ubus operation; `message` is the text that ubus shows for it."""

    OK = 0
    INVALID_COMMAND = 1
    INVALID_ARGUMENT = 2
    METHOD_NOT_FOUND = 3
    NOT_FOUND = 4
    NO_DATA = 5
    PERMISSION_DENIED = 6
    TIMEOUT = 7
    NOT_SUPPORTED = 8
    UNKNOWN_ERROR = 9
    CONNECTION_FAILED = 10
    NO_MEMORY = 11
    PARSE_ERROR = 12
    SYSTEM_ERROR = 13

    @property
    def message(self) -> str:
        return _MESSAGES[self]


_MESSAGES = {
    Status.OK: "Success",
    Status.INVALID_COMMAND: "Invalid command",
    Status.INVALID_ARGUMENT: "Invalid argument",
    Status.METHOD_NOT_FOUND: "Method not found",
    Status.NOT_FOUND: "Not found",
    Status.NO_DATA: "No response",
    Status.PERMISSION_DENIED: "Permission denied",
    Status.TIMEOUT: "Request timed out",
    Status.NOT_SUPPORTED: "Operation not supported",
    Status.UNKNOWN_ERROR: "Unknown error",
    Status.CONNECTION_FAILED: "Connection failed",
    Status.NO_MEMORY: "Out of memory",
    Status.PARSE_ERROR: "Parsing message data failed",
    Status.SYSTEM_ERROR: "System error",
}
