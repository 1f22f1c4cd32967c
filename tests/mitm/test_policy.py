"""The policy that travels to the addon, and a wrong one named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dpi_dual.mitm import policy as policies
from dpi_dual.settings import Backend, Modify


def _rule(**given: str) -> Modify:
    empty = dict.fromkeys(("section", "host", "path", "name", "match", "value"), "")
    return Modify(**{**empty, "phase": "request", "action": "set_header", **given})


def test_a_policy_travels_and_a_wrong_one_is_named() -> None:
    policy = replace(policies.default(), backend=(Backend("a", "n", "h", "1.1.1.1:80"),), modify=(_rule(),))
    assert policies.from_dict(policy.as_dict()) == policy
    for path, value in (("buffer_size", "10"), ("enabled", 1), ("trusted_proxy", "x"), ("redact_headers", [1])):
        wrong = policy.as_dict()
        wrong["mitm"][path] = value
        with pytest.raises(policies.PolicyError, match=path):
            policies.from_dict(wrong)
    for given_policy in (None, [], {}, {"mitm": {}}, {**policy.as_dict(), "backend": [{}]}):
        with pytest.raises(policies.PolicyError):
            policies.from_dict(given_policy)
