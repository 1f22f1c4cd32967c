"""Installing: only what HAProxy accepts, whole, never over what is somebody else's; and the commands that do it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from dpi_dual.errors import QueryError
from dpi_dual.mitm import haproxy_install
from dpi_dual.mitm.haproxy import MARKER
from lab.certs import make_certificates
from tests.cli import programs

pytestmark = pytest.mark.skipif(
    shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None, reason="haproxy is not installed"
)

GOOD = f"""{MARKER}
defaults
    mode http
    timeout client 1s
    timeout server 1s
    timeout connect 1s
frontend f
    bind 127.0.0.1:1
"""
BAD = MARKER + "\nglobal\n    no-such-keyword\n"

Ctl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A place with a certificate and one backend, a service script that notes its calls, and no configuration yet."""
    make_certificates(tmp_path, ["www.example.org"])
    pem = tmp_path / "site.pem"
    pem.write_bytes((tmp_path / "www.example.org.crt").read_bytes() + (tmp_path / "site.key").read_bytes())
    script = tmp_path / "init"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    script.chmod(0o755)
    env = programs.place(tmp_path)
    env |= {"DPI_DUAL_HAPROXY_CFG": str(tmp_path / "haproxy.cfg"), "DPI_DUAL_HAPROXY_INIT": str(script)}
    configure(env, pem)
    return env


def configure(env: dict[str, str], pem: Path, more: str = "", enabled: int = 1) -> None:
    Path(env["DPI_DUAL_CONFIG_DIR"], "dpi-dual").write_text(
        f"config haproxy 'haproxy'\n\toption enabled '{enabled}'\n\toption certificate '{pem}'\n"
        "config backend 'web'\n\toption host 'www.example.org'\n\toption address '192.0.2.1:80'\n" + more
    )


@pytest.fixture
def ctl(env: dict[str, str]) -> Ctl:
    return lambda *argv: programs.run(env, "dpi-dualctl", "haproxy", *argv)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_refused_configuration_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "haproxy.cfg"
    haproxy_install.install(GOOD, target)
    with pytest.raises(QueryError, match="unknown keyword 'no-such-keyword'"):
        haproxy_install.install(BAD, target)
    assert target.read_text() == GOOD
    assert files(tmp_path) == {"haproxy.cfg"}


def test_the_file_before_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "haproxy.cfg"
    assert haproxy_install.install(GOOD, target)["changed"]
    assert not haproxy_install.install(GOOD, target)["changed"]
    assert files(tmp_path) == {"haproxy.cfg"}
    newer = GOOD + "    maxconn 2\n"
    assert haproxy_install.install(newer, target)["kept"] == f"{target}.bak"
    assert (target.read_text(), Path(f"{target}.bak").read_text()) == (newer, GOOD)
    assert target.stat().st_mode & 0o777 == 0o640


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "haproxy.cfg"
    target.write_text("# the owner's\n")
    with pytest.raises(QueryError, match="was not written by this command"):
        haproxy_install.install(GOOD, target)
    assert target.read_text() == "# the owner's\n"
    haproxy_install.install(GOOD, target, force=True)
    haproxy_install.install(GOOD + "    maxconn 2\n", target)
    # However often ours is renewed, the owner's own can be had back.
    assert Path(f"{target}.orig").read_text() == "# the owner's\n"
    assert Path(f"{target}.bak").read_text() == GOOD


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link.cfg"
    link.symlink_to(tmp_path / "real.cfg")
    haproxy_install.install(GOOD, link)
    assert link.is_symlink()
    assert (tmp_path / "real.cfg").read_text() == GOOD


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="cannot be written: No such file or directory"):
        haproxy_install.install(GOOD, tmp_path / "none" / "haproxy.cfg")


def test_apply_installs_and_reloads(ctl: Ctl, env: dict[str, str], tmp_path: Path) -> None:
    done = ctl("apply")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Installed {env['DPI_DUAL_HAPROXY_CFG']}.\nHAProxy reloaded.\n"
    assert (tmp_path / "haproxy.cfg").read_text() == ctl("render").stdout
    again = ctl("apply", "--json")
    assert json.loads(again.stdout)["changed"] is False
    assert (tmp_path / "calls").read_text() == "reload\nreload\n"
    status = ctl("status")
    assert status.returncode == 1
    assert status.stdout.startswith(f"{env['DPI_DUAL_HAPROXY_CFG']}: as the settings ask for\n")
    assert "is not reached" in status.stdout


def test_apply_elsewhere_does_not_reload(ctl: Ctl, tmp_path: Path) -> None:
    done = ctl("apply", "--output", str(tmp_path / "other.cfg"))
    assert done.returncode == 0
    assert "was not reloaded: its service reads" in done.stderr
    assert not (tmp_path / "calls").exists()


def test_without_a_service_apply_says_so(ctl: Ctl, env: dict[str, str]) -> None:
    Path(env["DPI_DUAL_HAPROXY_INIT"]).unlink()
    done = ctl("apply")
    assert done.returncode == 0
    assert "was not reloaded: there is no" in done.stderr


def test_a_failed_reload_is_told(ctl: Ctl, env: dict[str, str]) -> None:
    Path(env["DPI_DUAL_HAPROXY_INIT"]).write_text("#!/bin/sh\necho port in use; exit 3\n")
    done = ctl("apply")
    assert done.returncode == 4
    assert "reload' failed with 3: port in use" in done.stderr


def test_a_foreign_file_needs_force(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "haproxy.cfg").write_text("global\n")
    refused = ctl("apply")
    assert refused.returncode == 4
    assert "--force replaces it" in refused.stderr
    assert "not written by 'dpi-dualctl haproxy apply'" in ctl("status").stdout
    assert ctl("apply", "--force").returncode == 0


def test_disabled(ctl: Ctl, env: dict[str, str], tmp_path: Path) -> None:
    configure(env, tmp_path / "site.pem", enabled=0)
    assert ctl("apply").returncode == 4
    shown = ctl("render")
    assert shown.returncode == 0
    assert "enabled is 0" in shown.stderr
    assert shown.stdout.startswith(MARKER)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("config backend\n\toption host 'a b'\n\toption address 'x:1'\n", "dpi-dual.@backend[1].host: 'a b' is not"),
        ("config backend 'w'\n\toption host 'b.org'\n\toption address 'x:1\\n'\n", "dpi-dual.w.address: "),
        ("config backend 'w'\n\toption host 'b.org'\n", "dpi-dual.w.address: missing"),
        ("config haproxy 'haproxy'\n\toption bind ':443 ssl'\n", "dpi-dual.haproxy.bind: ':443 ssl' is not"),
        ("config mitm 'mitm'\n\toption listen 'x'\n", "dpi-dual.mitm.listen: 'x' is not"),
        ("config backend 'w'\n\toption host 'www.example.org'\n\toption address 'x:1'\n", "is the host of web already"),
        ("config haproxy 'haproxy'\n\toption certificate '/no.pem'\n", "there is no file /no.pem"),
    ],
)
def test_what_is_wrong_with_the_settings_is_named(
    ctl: Ctl, env: dict[str, str], tmp_path: Path, more: str, named: str
) -> None:
    configure(env, tmp_path / "site.pem", more)
    for command in ("check", "apply"):
        done = ctl(command)
        assert (done.returncode, done.stdout) == (4, "")
        assert named in done.stderr
    assert not (tmp_path / "haproxy.cfg").exists()


def test_without_a_certificate(ctl: Ctl, env: dict[str, str]) -> None:
    config = Path(env["DPI_DUAL_CONFIG_DIR"], "dpi-dual")
    config.write_text(config.read_text().replace("option certificate", "option certifcate"))
    done = ctl("check")
    assert done.returncode == 4
    assert "dpi-dual.haproxy.certificate: empty" in done.stderr


def test_other_bad_settings_do_not_stand_in_the_way(ctl: Ctl, env: dict[str, str], tmp_path: Path) -> None:
    configure(env, tmp_path / "site.pem", "config tap 'tap'\n\toption flow_retention 'abc'\n")
    done = ctl("check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "HAProxy accepts the configuration.\n", "")


def test_certificates(tmp_path: Path) -> None:
    make_certificates(tmp_path, ["a.example"])
    public = tmp_path / "a.example.crt"
    for path, complaint in (
        (tmp_path / "none.pem", "there is no file"),
        (public, "holds no private key"),
        (tmp_path / "site.key", "holds no certificate"),
    ):
        with pytest.raises(QueryError, match=complaint):
            haproxy_install.check_certificate(str(path))
    # HAProxy takes the key from beside the certificate.
    shutil.copy(tmp_path / "site.key", f"{public}.key")
    haproxy_install.check_certificate(str(public))
    # Several certificates: a directory.
    haproxy_install.check_certificate(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(QueryError, match="is empty"):
        haproxy_install.check_certificate(str(tmp_path / "empty"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.pem"
    secret.write_text("x")
    secret.chmod(0)
    with pytest.raises(QueryError, match="cannot be read: Permission denied"):
        haproxy_install.check_certificate(str(secret))


def test_without_haproxy(mocker: MockerFixture) -> None:
    mocker.patch.object(haproxy_install, "which", return_value=None)
    with pytest.raises(QueryError, match="HAProxy is not installed"):
        haproxy_install.check_text(GOOD)


def test_this_host() -> None:
    host = haproxy_install.this_host()
    assert host.user in ("haproxy", "nobody", "")
    assert bool(host.user) == bool(host.group)
