"""The owner's rules that change requests and responses."""

from __future__ import annotations

from dpi_dual.mitm.modify import Modifications, change_body, change_headers, rewrites_body
from dpi_dual.settings import Modify


def _rule(**given: str) -> Modify:
    empty = dict.fromkeys(("section", "host", "path", "name", "match", "value"), "")
    return Modify(**{**empty, "phase": "request", "action": "set_header", **given})


def test_modifications() -> None:
    rules = Modifications(
        [
            _rule(name="X-A", value="1\r\n2", host="*.example.org"),
            _rule(name="X-B", action="remove_header", path="/admin"),
            _rule(action="replace_body", match="a(b)", value=r"\1\g<0>"),
            _rule(action="replace_body", match="("),
            _rule(name="X-C", phase="response"),
        ],
        "request",
    )
    headers = {"X-B": "x"}
    here = rules.of("www.example.org", "/admin/x")
    change_headers(here, headers)
    assert headers == {"X-A": "1  2"}
    assert rewrites_body(here)
    assert change_body(here, b"-ab-\xff") == rb"-\1\g<0>-" + b"\xff"
    assert [rule.name for rule in rules.of("example.com", "/")] == [""]
    assert (
        change_body(Modifications([_rule(action="replace_body", value="all")], "request").of("h", "/"), b"x") == b"all"
    )
