"""The init script validates every option, with the type that the schema gives it."""

from __future__ import annotations

import pytest

from dpi_dual.schema.values import schema
from openwrt import validation


def test_the_init_script_has_the_block_as_the_schema_has_it() -> None:
    script = validation.SCRIPT.read_text()
    assert validation.written(script) == script, "make generate"


def _sections() -> list[tuple[str, str]]:
    specs = schema()
    plain = [(name, name) for name in specs if name != "secrets"]
    return plain + [(f"secret_{name}", f"secrets.{name}") for name in specs["secrets"]["properties"]]


@pytest.mark.parametrize(("function", "section"), _sections())
def test_every_option_is_validated(function: str, section: str) -> None:
    specs = schema()
    name = section.removeprefix("secrets.")
    spec = specs["secrets"]["properties"][name] if section.startswith("secrets.") else specs[name]
    items = spec["items"] if spec["type"] == "array" else spec
    block = validation.block()
    body = block[block.index(f"validate_{function}() {{") :].split("\n}\n", 1)[0]
    for option in items["properties"]:
        assert f"\t\t'{option}:" in body


def test_a_default_with_a_colon_is_left_to_the_script() -> None:
    """`validate_data` takes a colon for the end of the default."""
    assert "'listen:string'" in validation.block()
    assert "127.0.0.1" not in validation.block()


def test_nothing_in_the_block_ends_the_shell_s_quotes() -> None:
    for line in validation.block().splitlines():
        assert line.count("'") in (0, 2), line
