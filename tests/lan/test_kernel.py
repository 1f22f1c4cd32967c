"""What the kernel cannot tell is said, and is no error. (What it can: `tests/integration/test_lan_kernel.py`.)"""

from __future__ import annotations

import errno
from typing import Any

from pytest_mock import MockerFixture

from dpi_dual.capture.conntrack import Table
from dpi_dual.lan.ends import Neighbourhood
from dpi_dual.lan.kernel import Kernel


def refused(*_: Any, **__: Any) -> Any:
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_a_refused_neighbour_table(mocker: MockerFixture) -> None:
    mocker.patch("dpi_dual.lan.neighbours.neighbourhood", refused)
    kernel = Kernel()
    assert kernel.neighbourhood(("br-lan",)) is None
    (problem,) = kernel.problems(needed=False)
    assert problem.code == "lan_neighbours_unreadable" and "Operation not permitted" in problem.message


def test_the_same_neighbourhood_is_the_same_object(mocker: MockerFixture) -> None:
    mocker.patch("dpi_dual.lan.neighbours.neighbourhood", lambda interfaces: (Neighbourhood({"192.168.1.9": "x"}), 3))
    kernel = Kernel()
    first = kernel.neighbourhood(("br-lan",))
    assert first is not None and kernel.neighbourhood(("br-lan",)) is first
    assert kernel.counters()["lan_neighbours_left_out"] == 3 and kernel.problems(needed=True) == []


def test_a_refused_conntrack_matters_only_when_it_is_needed(mocker: MockerFixture) -> None:
    mocker.patch("dpi_dual.capture.conntrack.dump", refused)
    kernel = Kernel()
    assert kernel.connections() is None and not kernel.counts_bytes
    assert kernel.problems(needed=False) == []
    assert [problem.code for problem in kernel.problems(needed=True)] == ["lan_conntrack_unreadable"]


def test_a_kernel_that_does_not_count_bytes(mocker: MockerFixture) -> None:
    mocker.patch("dpi_dual.capture.conntrack.dump", lambda limit: Table([], 2, 1, True))
    accounting = mocker.patch("dpi_dual.capture.conntrack.accounting_enabled", return_value=False)
    kernel = Kernel()
    assert kernel.connections() is not None and not kernel.counts_bytes
    assert [problem.code for problem in kernel.problems(needed=True)] == ["lan_conntrack_accounting_off"]
    assert kernel.counters() == {
        "lan_neighbours_left_out": 0,
        "lan_connections_left_out": 2,
        "lan_connections_malformed": 1,
        "lan_dumps_interrupted": 1,
    }
    accounting.return_value = True
    kernel.connections()
    assert kernel.counts_bytes and kernel.problems(needed=True) == []
