"""Plugins are run as rpcd runs them; the expected values were read off the original."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.lab.conftest import Gateway
from tests.lab.gateway.echo import ACL, ECHO, RunGateway


def test_answers_of_plugins_become_ubus_statuses(canned: Callable[[dict[str, bytes]], Gateway]) -> None:
    expected = {
        "good": (b'{"a":1}', [0, {"a": 1}]),
        "trailing": (b'{"a":1} more', [0, {"a": 1}]),
        "nothing": (b"", [5]),
        "null_line": (b"null\n", [5]),
        "blank": (b" \n", [2]),
        "number": (b"12\n", [2]),
        "array": (b"[1]", [2]),
        "partial": (b'{"a":1', [2]),
        "words": (b"hello", [2]),
        "empty_object": (b"{}", [0]),
    }
    gateway = canned({name: answer for name, (answer, _) in expected.items()})
    sid = gateway.login()
    assert {name: gateway.rpc(sid, "canned", name) for name in expected} == {
        name: result for name, (_, result) in expected.items()
    }
    assert gateway.rpc(sid, "canned", "unheard_of") == [3]


def test_an_answer_over_one_mebibyte_is_a_loud_fault(canned: Callable[[dict[str, bytes]], Gateway]) -> None:
    # 1,048,550 characters in a member named `a` still pass on a router, two more do not
    gateway = canned({"fits": b'{"a":"%s"}' % (b"x" * 1048550), "bursts": b'{"a":"%s"}' % (b"x" * 1048552)})
    sid = gateway.login()
    assert len(gateway.rpc(sid, "canned", "fits")[1]["a"]) == 1048550
    assert gateway.rpc(sid, "canned", "bursts") == [10]
    assert "drops rpcd" in (gateway.directory / "gateway.log").read_text()


def test_arguments_reach_the_plugin_as_one_object_without_a_newline(run_gateway: RunGateway) -> None:
    gateway = run_gateway({"echo": ECHO}, ACL)
    sid = gateway.login()
    given = gateway.rpc(sid, "echo", "echo", {"s": "é/<", "unknown": [1.5, None]})[1]["given"]
    assert given == {"s": "é/<", "unknown": [1.5, None], "ubus_rpc_session": sid}
    assert json.loads(gateway.ubus("call", "echo", "echo", '{"i":"wrong type"}').stdout) == {
        "given": {"i": "wrong type"}
    }
    assert gateway.rpc(sid, "echo", "argv")[1] == {"count": 3, "verb": "call"}
    assert json.loads(gateway.ubus("call", "echo", "size").stdout) == {"bytes": 2, "newline": False}
    long = json.dumps({"a": "x" * 70000})
    assert json.loads(gateway.ubus("call", "echo", "size", long).stdout) == {"bytes": 65536, "newline": False}


def test_a_plugin_that_leaves_a_child_behind_has_answered(run_gateway: RunGateway) -> None:
    gateway = run_gateway({"echo": ECHO}, ACL)
    try:
        assert gateway.rpc(gateway.login(), "echo", "linger") == [0, {"parent": True}]
    finally:
        (gateway.directory / "released").touch()  # so long the child lives


def test_odd_plugins_get_no_object_and_are_named(run_gateway: RunGateway) -> None:
    gateway = run_gateway(
        {
            "echo": ECHO,
            "rubbish": "#!/bin/sh\necho rubbish\n",
            "silent": "#!/bin/sh\n",
            "empty": "#!/bin/sh\necho '{}'\n",
            "array": "#!/bin/sh\necho '[1]'\n",
            "cut": "#!/bin/sh\nprintf '{\"m\":{}'\n",
            "no.interpreter": "#!/nowhere/sh\n",
            "text.after": "#!/bin/sh\necho '{\"m\":{}} text'\n",
            "method.without": '#!/bin/sh\necho \'{"m":{},"n":"no parameters"}\'\n',
        }
    )
    names = gateway.ubus("list").stdout.split()
    assert names == ["echo", "method.without", "session", "text.after"]
    assert sorted(line.split(":")[1].strip() for line in gateway.said) == [
        "array",
        "cut",
        "empty",
        "no.interpreter",
        "rubbish",
        "silent",
    ]
