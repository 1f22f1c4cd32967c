"""The product's answers over the gateway's unix socket, as the report and the lab itself want them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.gateway.client import CallError, Client
from lab.report import ProductError


class Ubus:
    """One connection a call: the gateway may be started anew at any time. Raises `ProductError`."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def call(self, name: str, method: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            with Client(self._path) as client:
                return client.call(name, method, arguments)
        except (OSError, CallError) as error:
            raise ProductError(f"{name} {method}: {error}") from error

    def statistics(self) -> dict[str, Any]:
        try:
            with Client(self._path) as client:
                return client.statistics()
        except OSError as error:
            raise ProductError(f"the gateway's statistics: {error}") from error
