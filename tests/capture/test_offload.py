"""What hides packets: the firewall's flow tables from the kernel and from UCI, and an interface's own features."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from dpi_dual.capture import offload
from dpi_dual.capture.netlink import attribute
from dpi_dual.uci import read
from lab.netns import Namespace, veth

ROOT = Path(__file__).resolve().parents[2]
NESTED = 0x8000


def flow_table(flags: int) -> bytes:
    """NFT_MSG_NEWFLOWTABLE as in linux/netfilter/nf_tables.h, for fw4's own table."""
    devices = attribute(1, b"lan1\0") + attribute(1, b"wan\0")
    hook = attribute(1, struct.pack(">I", 0)) + attribute(2, struct.pack(">I", 0)) + attribute(3 | NESTED, devices)
    return (
        bytes((1, 0, 0, 0))
        + attribute(1, b"fw4\0")
        + attribute(2, b"ft\0")
        + attribute(4, struct.pack(">I", 1))
        + attribute(3 | NESTED, hook)
        + attribute(7, struct.pack(">I", flags))
    )


def test_a_flow_table_is_read_with_its_devices() -> None:
    assert offload.parse_flow_table(flow_table(0)) == offload.FlowTable("fw4", "ft", False, ("lan1", "wan"))
    assert offload.parse_flow_table(flow_table(3)).hardware


@given(st.binary(max_size=200))
def test_any_bytes_make_a_flow_table(body: bytes) -> None:
    offload.parse_flow_table(body)


@pytest.mark.parametrize(
    ("defaults", "tables", "codes"),
    [
        ("", [], []),
        ("\toption flow_offloading '0'\n", [], []),
        ("\toption flow_offloading '1'\n", [], ["flow_offload_software"]),
        ("\toption flow_offloading '1'\n\toption flow_offloading_hw '1'\n", [], ["flow_offload_hardware"]),
        ("\toption flow_offloading_hw '1'\n", [], []),
        ("", [0], ["flow_offload_software"]),
        ("", [0, 1], ["flow_offload_hardware"]),
    ],
)
def test_the_firewalls_offload_is_told_once(
    mocker: MockerFixture, tmp_path: Path, defaults: str, tables: list[int], codes: list[str]
) -> None:
    (tmp_path / "firewall").write_text(f"config defaults\n\toption input 'ACCEPT'\n{defaults}\nconfig zone\n")
    mocker.patch.object(offload.uci, "read", lambda package: read(package, str(tmp_path)))
    # This kernel may know no flow tables: what it would answer is made up here, and read for real below.
    answer = [offload.parse_flow_table(flow_table(flags)) for flags in tables]
    mocker.patch.object(offload, "flow_tables", lambda: answer)
    found = offload.problems([])
    assert [problem.code for problem in found] == codes
    assert all(problem.code in offload.CODES and problem.message and problem.hint for problem in found)


def test_a_kernel_that_refuses_is_told_as_unknown(mocker: MockerFixture, tmp_path: Path) -> None:
    mocker.patch.object(offload.uci, "read", lambda package: read(package, str(tmp_path)))
    mocker.patch.object(offload, "flow_tables", side_effect=PermissionError(1, "Operation not permitted"))
    (problem,) = offload.problems([])
    assert (problem.code, problem.severity) == ("flow_offload_unknown", "info")


def test_an_interface_that_is_not_there_is_no_problem_here() -> None:
    assert [problem for problem in offload.problems(["nope0"]) if "interface" in problem.details] == []


ASK = """
import json, sys
from dpi_dual.capture import offload
from dataclasses import asdict
print(json.dumps([[asdict(table) for table in offload.flow_tables()], sorted(offload.features("eth0")),
                  [problem.code for problem in offload.problems(["eth0"])]]))
"""


def ask(host: Namespace, tmp_path: Path) -> tuple[list[dict[str, object]], list[str], list[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib"), "DPI_DUAL_CONFIG_DIR": str(tmp_path)}
    tables, features, codes = json.loads(host.run(sys.executable, "-c", ASK, env=environment).stdout)
    return tables, features, codes


@pytest.mark.root
def test_features_are_those_that_ethtool_shows(make_host: Callable[[str], Namespace], tmp_path: Path) -> None:
    host, far = make_host("router"), make_host("far")
    veth(host, "eth0", far, "eth0")
    assert ask(host, tmp_path)[2] == []
    host.run("ethtool", "-K", "eth0", "gro", "on")
    tables, features, codes = ask(host, tmp_path)
    assert tables == [] and codes == ["receive_merging"]
    # ethtool says `generic-receive-offload` for the kernel's rx-gro and so on; those with one name are compared.
    shown = [line.strip().split(": ") for line in host.run("ethtool", "-k", "eth0").stdout.splitlines()[1:]]
    on = {name for name, value in shown if value.startswith("on")}
    off = {name for name, value in shown if value.startswith("off")}
    assert not off & set(features)
    assert {name for name in on if name.startswith("tx-") and name in features} == {
        name for name in features if name in on
    } - {name for name in features if not name.startswith("tx-")}
    assert "rx-gro" in features


@pytest.mark.root
def test_flow_tables_of_the_real_kernel(make_host: Callable[[str], Namespace], tmp_path: Path) -> None:
    host, far = make_host("router"), make_host("far")
    veth(host, "eth0", far, "eth0")
    host.run("nft", "add", "table", "inet", "fw4")
    assert ask(host, tmp_path)[0] == []
    try:
        host.run("nft", "add flowtable inet fw4 ft { hook ingress priority 0; devices = { eth0 }; }")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this kernel has no flow tables (CONFIG_NF_FLOW_TABLE): {error.stderr.strip().splitlines()[0]}")
    tables, _, codes = ask(host, tmp_path)
    assert tables == [{"table": "fw4", "name": "ft", "hardware": False, "devices": ["eth0"]}]
    assert codes == ["flow_offload_software"]
