"""The part of OpenWrt's python3-ubus that programs of the product use, over the lab's gateway."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from lab.gateway.client import CallError, Client

_clients: list[Client] = []


def connect(socket_path: str = "") -> bool:
    """Raises OSError when nobody listens."""
    _clients.append(Client(socket_path or os.environ["DPI_LAB_UBUS_SOCKET"]))
    return True


def call(obj: str, method: str, arguments: dict[str, Any], timeout: int = 0) -> list[dict[str, Any]]:
    """The answers; RuntimeError with libubus's words for a status that is not OK. `timeout` in ms, 0 for ever."""
    client = _clients[-1]
    client.set_timeout(timeout / 1000 or None)
    try:
        return list(client.answers(obj, method, arguments))
    except CallError as error:
        if not error.object_found:
            raise RuntimeError(f"Object '{obj}' was not found.") from None
        raise RuntimeError(f"ubus error occured: {error.status.message}") from None
