"""The mirror's command where it needs no kernel; what it does there is in tests/integration/test_mirror_kernel.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dpi_dual.capture import mirror

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "argv",
    [[], ["ensure"], ["break", "--interface", "tap0"], ["ensure", "--interface", "tap0", "--mode", "magic"]],
)
def test_wrong_arguments_end_in_one_json_object(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert mirror.main(argv) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["code"] == "bad_arguments" and answer["error"]


def test_a_status_of_what_is_not_there_needs_no_rights(capsys: pytest.CaptureFixture[str]) -> None:
    assert mirror.main(["status", "--interface", "nope0", "--source", "nope1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert not answer["exists"] and not answer["complete"] and answer["packets_mirrored"] == 0
    codes = {problem["code"] for problem in answer["problems"]}
    assert {"capture_interface_missing", "mirror_source_missing"} <= codes


def test_perform_answers_as_the_command_does() -> None:
    assert mirror.perform("status", "nope0", ["nope1"], "hardware")["mode"] == "hardware"


def test_looking_loads_no_pyroute2() -> None:
    script = (
        "import sys\nfrom dpi_dual.capture import mirror, mirror_watch\nmirror.perform('status', 'tap0', ['nope'])\n"
        "print(sorted(name for name in sys.modules if 'pyroute2' in name))"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'lib')!r})\n{script}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_other_end_of_a_pair_has_a_name_that_fits() -> None:
    for name in ("tap0", "a" * 15):
        peer = mirror.peer_name(name)
        assert peer != name and len(peer) <= 15
