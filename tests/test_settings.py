"""The settings' classes and the schema have the same sections and the same options of the same types."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from dpi_dual.schema.values import schema
from dpi_dual.settings import CLASSES, SECRET_CLASSES, Settings

SCHEMA = {"properties": schema()}


@pytest.mark.parametrize("name", [*CLASSES, *(f"secrets.{part}" for part in SECRET_CLASSES)])
def test_schema_and_class_have_the_same_options_of_the_same_types(name: str) -> None:
    if name.startswith("secrets."):
        cls, spec = SECRET_CLASSES[name[8:]], SCHEMA["properties"]["secrets"]["properties"][name[8:]]
    else:
        cls, spec = CLASSES[name], SCHEMA["properties"][name]
    options = spec.get("items", spec)["properties"]
    kinds = {"boolean": bool, "integer": int, "string": str, "array": tuple[str, ...]}
    hints = typing.get_type_hints(cls)
    section = {"section": str} if spec["type"] == "array" else {}
    assert hints == section | {option: kinds[entry["type"]] for option, entry in options.items()}


def test_every_section_of_the_schema_is_in_settings() -> None:
    fields = [f.name for f in dataclasses.fields(Settings)]
    assert fields == [*SCHEMA["properties"], "problems"]
    assert list(CLASSES) == [name for name in SCHEMA["properties"] if name != "secrets"]
