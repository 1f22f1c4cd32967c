"""HTTP posts through a process of their own: what is not taken is told in words. (Taken ones: outbox, exports.)"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dpi_dual.http_post import post_all


@pytest.mark.parametrize(
    ("url", "body", "why"),
    [
        ("ftp://192.0.2.1/x", "text", "not an http or https address"),
        ("http://127.0.0.1:1/x", "text", "Connection refused"),
        ("http://127.0.0.1:1/x", 5, "AttributeError"),
    ],
    ids=["scheme", "nobody-listens", "process-fails"],
)
def test_what_is_not_taken_is_told(url: str, body: Any, why: str) -> None:
    taken, failure = asyncio.run(post_all(url, {"Content-Type": "text/plain"}, [body], 30.0))
    assert taken == 0
    assert why in failure
