"""Which origin serves a host: the `backend` sections, looked up once a request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dpi_dual.settings import Backend


class Origin(NamedTuple):
    """Where a published service really is."""

    name: str
    scheme: str
    host: str
    port: int


def host_only(authority: str) -> str:
    """`Host` without its port, in lower case; IPv6 without brackets."""
    text = authority[:300].strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".") if text.count(":") <= 1 else text


def parse_address(address: str) -> tuple[str, str, int]:
    """`(scheme, host, port)` of a backend's address; raises ValueError."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        scheme, rest = "http", address
    host, _, port = rest.rstrip("/").rpartition(":")
    if scheme not in ("http", "https") or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is no address:port")
    return scheme, host.strip("[]"), int(port)


class Origins:
    """An exact host wins over `*.domain`, a longer domain over a shorter one."""

    def __init__(self, backends: Iterable[Backend]) -> None:
        self._exact: dict[str, Origin] = {}
        self._below: dict[str, Origin] = {}
        for backend in backends:
            try:
                origin = Origin(backend.name or backend.section, *parse_address(backend.address))
            except ValueError:
                continue  # the settings' loader has named it
            host = backend.host.lower().strip("[]")
            if host.startswith("*."):
                self._below.setdefault(host[2:], origin)
            else:
                self._exact.setdefault(host.rstrip("."), origin)

    def __bool__(self) -> bool:
        return bool(self._exact or self._below)

    def of(self, host: str) -> Origin | None:
        """The origin of a host (as `host_only` gives it); None if nobody configured it."""
        found = self._exact.get(host)
        if found is not None or not self._below:
            return found
        while "." in host:
            host = host.partition(".")[2]
            if host in self._below:
                return self._below[host]
        return None
