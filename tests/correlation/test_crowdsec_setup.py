"""`dpi-dualctl crowdsec setup` and `status`: with CrowdSec's own cscli, and where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dpi_dual import config
from dpi_dual.correlation import crowdsec_setup
from dpi_dual.correlation.crowdsec_setup import Cscli
from dpi_dual.errors import QueryError
from lab import crowdsec as lab
from lab.crowdsec import LocalApi, running_crowdsec

ROOT = Path(__file__).resolve().parents[2]
needs_crowdsec = pytest.mark.skipif(bool(lab.missing()), reason=lab.missing())


@dataclass
class Desk:
    """A router's configuration, the commands, and the CrowdSec beside it."""

    api: LocalApi
    directory: Path

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DPI_DUAL_CONFIG_DIR": str(self.directory)}
        program = [sys.executable, str(ROOT / "sbin" / "dpi-dualctl"), "crowdsec", *words]
        return subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def setup(self, *words: str) -> tuple[int, dict[str, Any]]:
        done = self.command("setup", "--config", str(self.api.config), "--json", *words)
        return done.returncode, json.loads(done.stdout)

    def status(self) -> tuple[int, dict[str, Any]]:
        done = self.command("status", "--json")
        return done.returncode, json.loads(done.stdout)

    def secrets(self) -> tuple[str, str]:
        kept = config.load(str(self.directory)).secrets.crowdsec
        return kept.password, kept.bouncer_key


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    directory = tmp_path / "config"
    directory.mkdir()
    for name in ("dpi-dual", "dpi-dual-secrets"):
        (directory / name).write_text((ROOT / "config" / name).read_text())
    with running_crowdsec() as api:
        yield Desk(api, directory)


@needs_crowdsec
def test_setup_makes_login_and_key_once_and_both_work(desk: Desk) -> None:
    code, done = desk.setup()
    assert code == 0, done
    assert (done["machine"], done["bouncer"], done["changed"], done["state"]) == ("made", "made", True, "connected")
    before = desk.secrets()
    assert all(before)
    settings = config.load(str(desk.directory))
    assert (settings.crowdsec.url, settings.crowdsec.machine_id) == (desk.api.url, done["name"])
    assert (desk.directory / "dpi-dual-secrets").stat().st_mode & 0o777 == 0o600
    assert before[0] not in (desk.directory / "dpi-dual").read_text()

    code, again = desk.setup()
    assert (code, again["machine"], again["bouncer"], again["changed"]) == (0, "kept", "kept", False)
    assert desk.secrets() == before

    code, anew = desk.setup("--force")
    assert (code, anew["machine"], anew["bouncer"]) == (0, "made", "made")
    assert desk.secrets()[0] != before[0] and desk.secrets()[1] != before[1]
    assert desk.status() == (0, {**desk.status()[1], "state": "connected", "bans": 0, "community": 0, "problems": []})


@needs_crowdsec
def test_setup_leaves_the_agents_own_login_alone(desk: Desk) -> None:
    agent = desk.api.directory / "agent.yaml"
    before = agent.read_bytes()
    desk.setup()
    assert agent.read_bytes() == before
    assert desk.api.cscli("decisions", "list", "-o", "json").strip() == "null"


@needs_crowdsec
def test_no_secret_is_shown(desk: Desk) -> None:
    shown = [desk.command("setup", "--config", str(desk.api.config)), desk.command("status")]
    password, key = desk.secrets()
    for done in shown:
        assert (done.returncode == 0 and "connected" in done.stdout) or "accepts both" in done.stdout
        assert password not in done.stdout + done.stderr and key not in done.stdout + done.stderr


@needs_crowdsec
def test_a_name_that_somebody_else_has_is_not_taken_over(desk: Desk) -> None:
    desk.api.add_machine("other", "x" * 20)
    code, refused = desk.setup("--name", "other")
    assert (code, refused["code"]) == (4, "exists") and "--force" in refused["error"]
    assert desk.secrets() == ("", "")
    code, taken = desk.setup("--name", "other", "--force")
    assert (code, taken["name"], taken["state"]) == (0, "other", "connected")


@needs_crowdsec
def test_status_says_what_is_wrong(desk: Desk) -> None:
    code, fresh = desk.status()
    assert (code, fresh["state"]) == (1, "not_set_up")
    desk.setup()
    desk.api.stop()
    code, down = desk.status()
    assert (code, down["state"], down["bans"]) == (1, "unreachable", None)
    desk.api.forget()
    desk.api.start()
    code, refused = desk.status()
    assert (code, refused["state"]) == (1, "refused")
    assert {problem["code"] for problem in refused["problems"]} == {
        "crowdsec_machine_refused",
        "crowdsec_bouncer_refused",
    }
    assert all("crowdsec setup --force" in problem["hint"] for problem in refused["problems"])
    code, anew = desk.setup()  # an empty CrowdSec knows neither name: nothing to take over
    assert (code, anew["machine"], anew["state"]) == (0, "made", "connected")


@needs_crowdsec
def test_setup_without_a_running_crowdsec_stores_the_keys_and_says_that_they_were_not_tried(desk: Desk) -> None:
    desk.api.stop()
    done = desk.command("setup", "--config", str(desk.api.config))
    assert done.returncode == 1 and "could not be asked: unreachable" in done.stdout
    desk.api.start()
    assert desk.status()[1]["state"] == "connected"


@needs_crowdsec
def test_errors_are_those_of_cscli(desk: Desk, tmp_path: Path) -> None:
    done = desk.command("setup", "--config", str(tmp_path / "none.yaml"))
    assert done.returncode == 4 and "none.yaml: no such file" in done.stderr
    code, refused = desk.setup("--name", "a b; reboot")
    assert (code, refused["code"]) == (4, "bad_name")
    code, refused = desk.setup("--url", "https://127.0.0.1:8080")
    assert (code, refused["code"]) == (4, "bad_url")


@needs_crowdsec
def test_nothing_is_made_that_could_not_be_kept(desk: Desk) -> None:
    cscli = Cscli.find(str(desk.api.config))
    with pytest.raises(QueryError) as refused:
        crowdsec_setup.setup(cscli, "router", desk.api.url, config_dir=str(desk.directory / "missing"))
    assert refused.value.code == "write_failed"
    assert "router" not in cscli.names("machines", "machineId")


def test_without_cscli_it_says_what_to_do_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowdsec_setup, "which", lambda *_, **__: None)
    with pytest.raises(QueryError, match="bouncers add") as missing:
        Cscli.find()
    assert missing.value.code == "cscli_missing"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "it says nothing"),
        ('echo \'time="x" level=fatal msg="no \\"rights\\""\' >&2; exit 1', "rights"),
        ('echo \'{"level":"fatal","msg":"no database"}\' >&2; exit 1', "failed: no database"),
        ("echo '<html>'", "does not answer in JSON"),
    ],
)
def test_a_cscli_that_fails_is_quoted(tmp_path: Path, script: str, said: str) -> None:
    program = tmp_path / "cscli"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(QueryError) as failed:
        Cscli(str(program)).names("machines", "machineId")
    assert said in failed.value.message and failed.value.code == "cscli_failed"
