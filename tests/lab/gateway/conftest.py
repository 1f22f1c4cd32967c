"""Gateways with plugins that answer what a test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.conftest import Gateway
from tests.lab.gateway.echo import ACL, RunGateway

#: A plugin whose method NAME prints what the file NAME beside it holds, as it is.
CANNED = """#!/bin/sh
here=$(dirname "$0")
case $1 in
list) cat "$here/../signature" ;;
call) cat "$here/../answers/$2"; exit 3 ;;
esac
"""


@pytest.fixture
def canned(tmp_path: Path, run_gateway: RunGateway) -> Callable[[dict[str, bytes]], Gateway]:
    """A gateway with one plugin that answers each method with the given bytes."""

    def start(answers: dict[str, bytes]) -> Gateway:
        (tmp_path / "answers").mkdir()
        (tmp_path / "signature").write_text(json.dumps({name: {} for name in answers}))
        for name, answer in answers.items():
            (tmp_path / "answers" / name).write_bytes(answer)
        return run_gateway({"canned": CANNED}, ACL)

    return start
