"""The OpenAPI document: true to the schema, up to date in docs/, and what the running API does."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dpi_dual.rest import markdown
from dpi_dual.rest.openapi import document
from dpi_dual.rest.routes import BASE, ROUTES
from dpi_dual.rpc.signatures import methods

from .conftest import Api

DOCS = Path(__file__).resolve().parents[2] / "docs"
#: `before` is opaque and an address is more than a string: text that fits the schema can still be refused. TRACE and
#: the like are refused by the web server itself, with 400. Without an analyser a replay is answered 503. The bounds of
#: each parameter are tried on one list; the other goes the same way.
CONFIG = """
workers = 2

[checks]
positive_data_acceptance.enabled = false
unsupported_method.enabled = false

[phases.coverage]
unexpected-methods = []

[[operations]]
include-name = "GET /api/dpi/correlated"
phases.coverage.enabled = false

[[operations]]
include-name = "POST /api/dpi/replay/{ip}"
checks.not_a_server_error.enabled = false
"""


def test_the_pages_are_up_to_date() -> None:
    assert json.loads((DOCS / "openapi.json").read_text()) == document(), "make generate"
    assert (DOCS / "rest.md").read_text() == markdown.page(), "make generate"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_each_route_is_a_method_with_its_access(route: object) -> None:
    assert hasattr(route, "target")
    obj, name = route.target
    assert methods()[obj][name].access == ("write" if getattr(route, "verb", "") == "POST" else "read")


def test_references_lead_somewhere() -> None:
    text = json.dumps(document())
    whole = document()["components"]
    assert "$defs" not in text
    for part in text.split('"$ref": "#/components/')[1:]:
        kind, name = part.partition('"')[0].split("/")
        assert name in whole[kind]


def test_the_router_serves_the_same_document(api: Api) -> None:
    answer = api.ask("GET", f"{BASE}/openapi.json")
    assert answer.status == 200
    assert answer.json() == document()


def test_the_api_does_what_the_document_says(api: Api, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("schemathesis is not installed")
    # Not its script, which names the interpreter by the path that the environment once had.
    program = [sys.executable, "-m", "schemathesis.cli"]
    command = [*program, "--config-file", tmp_path / "schemathesis.toml", "run", DOCS / "openapi.json"]
    command += ["--url", f"http://127.0.0.1:{api.port}", "--header", f"Authorization: Bearer {api.login('root', 7200)}"]
    command += ["--max-examples", "4", "--generation-deterministic", "--no-color", "--request-timeout", "60"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "0 generated" not in done.stdout
