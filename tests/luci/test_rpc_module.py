"""The pages' module of ubus calls: its methods and parameters are the schema's, and pages use none that it lacks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dpi_dual.rpc.signatures import methods

RESOURCES = Path(__file__).resolve().parents[2] / "luci-app-dpi-dual/htdocs/luci-static/resources"
CALL = re.compile(r"(\w+): method\('([\w.]+)', '(\w+)'(?:,\s*\[([^\]]*)\])?\)")
CALLS = CALL.findall((RESOURCES / "dpi-dual/rpc.js").read_text())


@pytest.mark.parametrize(("key", "obj", "name", "parameters"), CALLS)
def test_methods_and_parameters_are_the_schema_s(key: str, obj: str, name: str, parameters: str) -> None:
    assert key == name
    assert re.findall(r"'(\w+)'", parameters) == list(methods()[obj][name].params["properties"])


def test_pages_use_what_there_is() -> None:
    offered = {(obj.removeprefix("dpi."), name) for _, obj, name, _ in CALLS}
    assert len(offered) > 30
    for script in RESOURCES.rglob("*.js"):
        used = re.findall(
            r"\bdpi\.(status|lan|correlator)\.(\w+)\(", re.sub(r"/\*.*?\*/", "", script.read_text(), flags=re.DOTALL)
        )
        assert set(used) <= offered, script.name
