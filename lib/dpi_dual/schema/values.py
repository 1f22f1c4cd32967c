"""One option's value: UCI text → bool, int or str by its entry in `uci.json`, and back."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

Spec = dict[str, Any]
"""One option's entry in `uci.json`."""

MAX_TEXT = 1024

_BOOLEANS = {
    **dict.fromkeys(("1", "on", "yes", "true", "enabled"), True),
    **dict.fromkeys(("0", "off", "no", "false", "disabled"), False),
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_HOST = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?"
_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhd])+|[0-9]{1,9}")

#: Nothing is written below these: the system's own, and devices. What programs read as a script or a setting is below
#: /etc, and text of attackers is in what we write.
_RESERVED = re.compile(
    r"/(?:bin|boot|dev|lib|lib64|overlay|proc|rom|root|sbin|sys|usr|www)(?:/|$)|/etc(?!/dpi-dual(?:/|$))(?:/|$)"
)


@cache
def schema() -> dict[str, Spec]:
    """The sections of `uci.json` by their names in `Settings`."""
    properties: dict[str, Spec] = json.loads(Path(__file__).with_name("uci.json").read_bytes())["properties"]
    return properties


def duration_seconds(text: str) -> int:
    """`4h`, `1h30m`, `90s`, `7d` or `3600` in seconds; ValueError for anything else."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r:.60} is not a duration")
    if text.isdigit():
        return int(text)
    return sum(int(number) * _DURATION_UNITS[unit] for number, unit in re.findall(r"([0-9]+)([smhd])", text))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    if re.fullmatch(r"[0-9.]+|.*:.*", text):
        return _is_address(text)
    return len(text) <= 253 and re.fullmatch(_HOST, text) is not None


def _is_endpoint(text: str, host_optional: bool = False) -> bool:
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        return False
    if not host:
        return host_optional
    if host.startswith("[") and host.endswith("]"):
        return ":" in host and _is_address(host[1:-1])
    return ":" not in host and _is_host(host)


def _is_path(text: str) -> bool:
    return text.startswith("/") and ".." not in text.split("/")


def _is_output_path(text: str) -> bool:
    plain = re.sub(r"/(?:\.?/)+|/\.$", "/", text).rstrip("/")
    return _is_path(text) and plain.count("/") >= 2 and not _RESERVED.match(plain)


def _is_duration(text: str) -> bool:
    return _DURATION.fullmatch(text) is not None and 1 <= duration_seconds(text) <= 365 * 86400


def _is_url(text: str) -> bool:
    parts = re.fullmatch(r"https?://([^/?#\s@]+)(?:[/?#]\S*)?", text)
    return parts is not None and (_is_bare_host(parts[1]) or _is_endpoint(parts[1]))


def _is_bare_host(text: str) -> bool:
    if text.startswith("["):
        return text.endswith("]") and ":" in text and _is_address(text[1:-1])
    return ":" not in text and _is_host(text)


class Format(NamedTuple):
    """What a `format` of `uci.json` accepts, in words that follow "is not" in a message, and for a table."""

    accepts: Callable[[str], bool]
    words: str
    label: str
    datatype: str = "string"
    """What LuCI's `datatype` and procd's `uci_validate_section` call it."""


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


#: Every `format` that `uci.json` uses.
FORMATS = {
    "text": Format(lambda text: True, "text", "text"),
    "token": Format(_matches(r"[!#$%&*+.^_|~0-9A-Za-z-]{1,128}"), "one word of letters, digits and -_.", "word"),
    "interface": Format(
        lambda text: re.fullmatch(r"[!-.0-9;-~]{1,15}", text) is not None and text not in (".", ".."),
        "the name of a network interface",
        "interface",
    ),
    "host": Format(_is_host, "a host name or address", "host"),
    "host-pattern": Format(
        lambda text: _is_host(text.removeprefix("*.")), "a host name, an address or *.domain", "host or *.domain"
    ),
    "network": Format(_is_network, "an IP address or network", "address or network", "or(ipaddr, cidr)"),
    "listen": Format(lambda text: _is_endpoint(text, True), "address:port", "address:port"),
    "origin": Format(lambda text: _is_endpoint(re.sub(r"^https?://", "", text)), "address:port", "address:port"),
    "path": Format(_is_path, "an absolute path without ..", "path"),
    "output-path": Format(
        _is_output_path,
        "an absolute path without .., at least two levels deep and outside the system's own directories",
        "path to write",
    ),
    "url-path": Format(_matches(r"/\S*"), "a path that begins with /", "path of a URL"),
    "url": Format(_is_url, "an http:// or https:// address", "http(s) address"),
    "duration": Format(_is_duration, "a duration such as 30m, 4h or 7d, at most a year", "duration: 30m, 4h, 7d"),
    "topic": Format(_matches(r"[^#+]+"), "an MQTT topic without # and +", "MQTT topic"),
}


class BadValueError(ValueError):
    """Why a value will not do, to follow the value in a sentence: `is not a number of seconds`."""


def parse(text: str, spec: Spec) -> bool | int | str:
    """One UCI text as the type that `spec` (of an option, or of a list's items) asks for."""
    kind = spec["type"]
    if kind == "boolean":
        if text.lower() not in _BOOLEANS:
            raise BadValueError("is not 0 or 1")
        return _BOOLEANS[text.lower()]
    if kind == "integer":
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            raise BadValueError(f"is not {_number_words(spec)}")
        number = int(text)
        if not spec["minimum"] <= number <= spec["maximum"]:
            unit = f" {spec['unit']}" if spec.get("unit", "port") != "port" else ""
            raise BadValueError(f"is not between {spec['minimum']} and {spec['maximum']}{unit}")
        return number
    if "enum" in spec:
        if text not in spec["enum"]:
            raise BadValueError(f"is not one of {', '.join(spec['enum'])}")
        return text
    if _CONTROL.search(text):
        raise BadValueError("has characters that are not text")
    if len(text) > MAX_TEXT:
        raise BadValueError(f"is longer than {MAX_TEXT} characters")
    form = FORMATS[spec["format"]]
    if not form.accepts(text):
        raise BadValueError(f"is not {form.words}")
    return text


def _number_words(spec: Spec) -> str:
    unit = spec.get("unit", "")
    return "a port number" if unit == "port" else f"a number of {unit}" if unit else "a whole number"


def show(value: object) -> str:
    """A typed value as an owner would write it in the file, for messages and documents."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (tuple, list)):
        return " ".join(map(str, value)) or "nothing"
    return str(value) if value != "" else "nothing"


def to_uci(value: object) -> str | tuple[str, ...] | None:
    """A typed value as UCI stores it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(map(str, value))
    return str(value)


def datatype(spec: Spec) -> str:
    """What LuCI's `datatype` and procd's `uci_validate_section` call this option's type."""
    if spec["type"] == "array":
        return datatype(spec["items"])
    if spec["type"] == "boolean":
        return "bool"
    if spec["type"] == "integer":
        return "port" if spec.get("unit") == "port" else f"range({spec['minimum']},{spec['maximum']})"
    if "enum" in spec:
        return "or({})".format(", ".join(f'"{choice}"' for choice in spec["enum"]))
    return FORMATS[spec["format"]].datatype
