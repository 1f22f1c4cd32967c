"""`dpi-dualctl waf-check` as a process: JSON lines in, JSON lines out, in order, without an engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = str(ROOT / "sbin" / "dpi-dualctl")


def check(text: str, *options: str, python: str = "/usr/bin/python3") -> subprocess.CompletedProcess[str]:
    command = [python, "-I", PROGRAM, "waf-check", *options]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=300)


def lines(**records: object) -> str:
    return "".join(json.dumps({"id": name, "path": path}) + "\n" for name, path in records.items())


def test_verdicts_in_order_with_the_systems_own_python():
    done = check(lines(a="/?q=1", b="/?id=1'+or+1=1--", c="/?q=2"), "--tier", "quick")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert [(answer["id"], answer["alert"]) for answer in answers] == [("a", False), ("b", True), ("c", False)]
    assert set(answers[1]) == {"id", "score", "categories", "rules", "alert", "block", "tier"}
    assert answers[1]["categories"] == ["sqli"]
    assert answers[1]["rules"][0]["place"] == "ARGS:id"
    assert answers[1]["tier"] == "quick"


def test_other_keys_are_ignored_and_headers_may_be_a_list():
    record = {"path": "/", "label": "attack", "headers": [["User-Agent", "sqlmap/1"]], "more": {"x": 1}}
    answer = json.loads(check(json.dumps(record), "--tier", "quick").stdout)
    assert (answer["id"], answer["categories"]) == (None, ["scanner"])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"id": 1}', "'path' is missing"),
        ('{"path": 5}', "'path' is not a string"),
        ('{"path": "/", "body": {}}', "'body' is not a string"),
        ('{"path": "/", "headers": "x"}', "'headers'"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_bad_line_is_answered_and_the_rest_goes_on(line: str, why: str):
    done = check(f'{{"id": 1, "path": "/"}}\n\n{line}\n{{"id": 2, "path": "/"}}\n', "--tier", "quick")
    first, error, second = [json.loads(answer) for answer in done.stdout.splitlines()]
    assert done.returncode == 1
    assert (first["id"], second["id"]) == (1, 2)
    assert error["line"] == 3
    assert error["error"].startswith("line 3: ") and why in error["error"]


def test_answers_come_while_the_writer_waits():
    command = ["/usr/bin/python3", "-I", PROGRAM, "waf-check", "--tier", "quick"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        for number in range(3):
            process.stdin.write(json.dumps({"id": number, "path": "/"}) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == number
        process.stdin.close()
    assert process.returncode == 0


def test_settings_are_those_of_the_directory(tmp_path: Path):
    (tmp_path / "dpi-dual").write_text(
        "config mitm 'mitm'\n\toption alert_threshold '99'\n"
        "config exclusion\n\toption rule 'sqli'\n\toption param 'id'\n"
    )
    attack = lines(a="/?id=1'+or+1=1--", b="/?other=1'+or+1=1--")
    done = check(attack, "--tier", "quick", "--config-dir", str(tmp_path))
    first, second = [json.loads(line) for line in done.stdout.splitlines()]
    assert (first["score"], first["rules"]) == (0, [])
    assert second["score"] > 0 and not second["alert"]


def test_paranoia():
    text = lines(a="/?d=aHR0cDovL2xvY2FsaG9zdDo4MDgwL3N0YXR1cw==")
    assert not json.loads(check(text, "--tier", "quick").stdout)["alert"]
    assert json.loads(check(text, "--tier", "quick", "--paranoia", "2").stdout)["alert"]


def test_deep_is_the_default_and_keeps_order_over_processes():
    pytest.importorskip("libmodsecurity", reason="the PyPI package libmodsecurity is not installed")
    if not Path("/usr/share/modsecurity-crs/rules").is_dir():
        pytest.skip("Debian's modsecurity-crs is not installed")
    text = "".join(json.dumps({"id": number, "path": f"/?id={number}'+or+1=1--"}) + "\n" for number in range(400))
    done = check(text, "--jobs", "2", python=sys.executable)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [answer["id"] for answer in answers] == list(range(400))
    assert all(answer["alert"] and answer["tier"] == "deep" for answer in answers)


def test_deep_finds_the_environment_of_its_checkout():
    if not (ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("there is no .venv in this checkout")
    pytest.importorskip("libmodsecurity", reason="the PyPI package libmodsecurity is not installed")
    if not Path("/usr/share/modsecurity-crs/rules").is_dir():
        pytest.skip("Debian's modsecurity-crs is not installed")
    done = check(lines(a="/?id=1'+or+1=1--"), python="/usr/bin/python3")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tier"] == "deep"


def test_deep_without_libmodsecurity_says_so(tmp_path: Path):
    (tmp_path / "libmodsecurity.py").write_text("raise ImportError('not here')\n")
    command = [sys.executable, PROGRAM, "waf-check"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, input=lines(a="/"), capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert done.returncode == 4
    assert done.stdout == ""
    assert "not installed" in done.stderr and "--tier quick" in done.stderr
