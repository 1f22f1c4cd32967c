"""What a plugin lists is what the schema says, in the types rpcd knows."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from dpi_dual.rpc import legacy
from dpi_dual.rpc.dispatch import HANDLERS
from dpi_dual.rpc.plugin import SERVICE_ACTIONS
from dpi_dual.rpc.signatures import methods, of_object, schema

SCHEMA = schema()
METHODS = [(obj, name) for obj, entries in SCHEMA["objects"].items() for name in entries]


@pytest.mark.parametrize("obj", SCHEMA["objects"])
def test_list_is_one_json_object_of_example_values(obj: str) -> None:
    listed = json.loads(of_object(obj))
    assert list(listed) == list(SCHEMA["objects"][obj])
    for examples in listed.values():
        for example in examples.values():
            assert example not in (8, 16, 64), "these mean integers of other widths to rpcd"
            assert example in ("", 0, True) or example == [] or example == {}


@pytest.mark.parametrize(("obj", "name"), METHODS)
def test_schemas_are_schemas_and_refuse_unknown_parameters(obj: str, name: str) -> None:
    method = methods()[obj][name]
    Draft202012Validator.check_schema(method.params)
    assert method.params["additionalProperties"] is False
    assert method.access in ("read", "write")
    target, verb = method.target
    Draft202012Validator.check_schema({**SCHEMA["objects"][target][verb]["returns"], "$defs": SCHEMA["$defs"]})


@pytest.mark.parametrize(("obj", "name"), METHODS)
def test_each_method_has_its_handler(obj: str, name: str) -> None:
    target, verb = methods()[obj][name].target
    if target == legacy.OBJECT:
        assert verb in legacy.TABLE
    elif verb in SERVICE_ACTIONS and target == "dpi.status":
        assert verb not in HANDLERS[target]
    else:
        assert verb in HANDLERS[target]


def test_no_handler_is_without_its_schema() -> None:
    for obj, handlers in HANDLERS.items():
        assert set(handlers) <= set(SCHEMA["objects"][obj])
    assert set(legacy.TABLE) < set(SCHEMA["objects"][legacy.OBJECT])
