"""Wrong calls are refused by name, in words a person can act on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dpi_dual.errors import QueryError
from dpi_dual.rpc.signatures import methods
from dpi_dual.rpc.validate import Validator, plain_errors

VALIDATOR = Validator()


def test_defaults_are_filled_in() -> None:
    method, values = VALIDATOR.check("dpi.lan", "clients", {"limit": 2})
    assert method.target == ("dpi.lan", "clients")
    assert values == {"limit": 2, "sort": "bytes"}


def test_the_short_object_means_its_long_form() -> None:
    method, values = VALIDATOR.check("dpi", "clients", {})
    assert method.target == ("dpi.lan", "clients")
    assert values["limit"] == 50


def test_the_session_rpcd_adds_is_never_refused() -> None:
    _, values = VALIDATOR.check("dpi.status", "status", {"ubus_rpc_session": "0" * 32})
    assert values == {}


@pytest.mark.parametrize(
    ("obj", "method", "params", "code", "words"),
    [
        ("dpi.nothing", "status", {}, "unknown_object", "'dpi.nothing'"),
        ("dpi.lan", "statsu", {}, "unknown_method", "'statsu'"),
        ("dpi.lan", "clients", {"limt": 2}, "bad_parameter", "'limt'; it takes limit, before, sort, search"),
        ("dpi.status", "health", {"x": 1}, "bad_parameter", "'x'; it takes no parameters"),
        ("dpi.lan", "clients", {"limit": "2"}, "bad_parameter", "limit must be an integer, not a string"),
        ("dpi.lan", "clients", {"limit": True}, "bad_parameter", "limit must be an integer, not a boolean"),
        ("dpi.lan", "clients", {"limit": 2.0}, "bad_parameter", "limit must be an integer, not a number"),
        ("dpi.lan", "clients", {"limit": 0}, "bad_parameter", "limit must be at least 1, not 0"),
        ("dpi.lan", "clients", {"limit": 10**9}, "bad_parameter", "limit must be at most 500"),
        ("dpi.lan", "clients", {"sort": "age"}, "bad_parameter", "sort must be one of bytes, rate"),
        ("dpi.lan", "clients", {"search": "x" * 65}, "bad_parameter", "search has 65 characters; at most 64"),
        ("dpi.lan", "client", {}, "bad_parameter", "dpi.lan client needs client"),
        ("dpi.lan", "client", [], "bad_parameter", "takes one JSON object, not an array"),
        ("dpi.lan", "client", None, "bad_parameter", "takes one JSON object, not null"),
    ],
)
def test_wrong_calls_are_named(obj: str, method: str, params: Any, code: str, words: str) -> None:
    with pytest.raises(QueryError) as refused:
        VALIDATOR.check(obj, method, params)
    assert refused.value.code == code
    assert words in refused.value.message


def test_hostile_names_are_cut() -> None:
    with pytest.raises(QueryError) as refused:
        VALIDATOR.check("dpi.lan", "clients", {"x" * 10_000: 1})
    assert len(refused.value.message) < 300


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 600),
    st.text(max_size=70),
    st.sampled_from(["bytes", "live", "10m", "day"]),
    st.lists(st.integers(), max_size=2),
)
_PARAMS = [method.params for entries in methods().values() for method in entries.values()]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(_PARAMS), st.data())
def test_without_jsonschema_the_same_calls_are_refused(params: dict[str, Any], data: st.DataObject) -> None:
    names = [*params["properties"], "other"]
    call = data.draw(st.one_of(st.dictionaries(st.sampled_from(names), _VALUES, max_size=4), _VALUES))
    assert bool(list(plain_errors(params, call))) == bool(list(Draft202012Validator(params).iter_errors(call)))
