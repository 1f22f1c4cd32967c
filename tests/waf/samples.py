"""The WAF's own sample requests: those that tuned it, those that it was never tuned on, and a pair for each rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dpi_dual.waf.request import Request, parse

DATA = Path(__file__).with_name("data")


def load(name: str) -> list[dict[str, Any]]:
    """The records of `data/<name>.jsonl`."""
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]


def request_of(record: dict[str, Any]) -> Request:
    """A record as the WAF takes it."""
    return parse(record["method"], record["path"], record["headers"], record["body"])
