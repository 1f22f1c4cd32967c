"""The lab's MITM stream: what is configured is what the product takes without a word, what is missing is said."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from dpi_dual import config
from dpi_dual.mitm import haproxy
from lab import published
from lab.origin import HOSTS


@pytest.fixture
def place(tmp_path: Path) -> Path:
    config_dir = tmp_path / "config"
    config_dir.mkdir()
    shutil.copy(published.ROOT / "config" / "dpi-dual", config_dir)
    published.configure(tmp_path, str(config_dir))
    return tmp_path


def test_the_settings_publish_every_host_and_name_no_problem(place: Path) -> None:
    settings = config.load(str(place / "config"))
    assert settings.problems == ()
    assert {backend.host for backend in settings.backend} == set(HOSTS)
    assert settings.haproxy.enabled
    assert settings.mitm.block_threats
    assert settings.mitm.alert_threshold < settings.mitm.block_threshold < 100
    text = haproxy.render(settings, haproxy.Host())
    assert all(name in text for name in HOSTS)


def test_each_certificate_comes_with_its_key_for_root_alone(place: Path) -> None:
    files = sorted((place / "published").iterdir())
    assert [file.stem for file in files] == sorted(HOSTS)
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600
        content = file.read_text()
        assert "BEGIN CERTIFICATE" in content and "PRIVATE KEY" in content
        command = ["openssl", "verify", "-CAfile", str(place / "ca.crt"), str(file)]
        subprocess.run(command, check=True, capture_output=True)


def test_a_missing_mitmproxy_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert published.why_not() is None
    monkeypatch.setattr(published, "MITMDUMP", Path("/nonexistent/bin/mitmdump"))
    assert "/nonexistent/bin/pip install" in str(published.why_not())


def test_nothing_is_inspected_where_no_haproxy_runs(tmp_path: Path) -> None:
    assert not published.inspects(str(tmp_path / "run"))
