"""What `make install` lays out, and that it works from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dpi_dual
from tests.cli import programs

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ("dpi", "dpi.correlator", "dpi.lan", "dpi.status", "luci.dpi-dual")
PROGRAMS = ("dpi-correlator", "dpi-dualctl", "dpi-duald", "dpi-flow-collector", "dpi-lan-collector")


def install(destdir: Path, umask: int = 0o022, **env: str) -> str:
    """Runs `make install` as a person would; its output."""
    command = ["make", "--no-print-directory", "install", f"DESTDIR={destdir}"]
    given = {**os.environ, "PYTHON": sys.executable, **env}
    done = subprocess.run(command, cwd=ROOT, env=given, umask=umask, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module", params=["", "1"], ids=["sources", "bytecode"])
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    destdir = tmp_path_factory.mktemp("router")
    install(destdir, BYTECODE_ONLY=request.param)
    return destdir


def _modes(destdir: Path) -> dict[str, str]:
    return {str(path.relative_to(destdir)): oct(path.stat().st_mode & 0o7777) for path in sorted(destdir.rglob("*"))}


def test_everything_is_where_a_router_looks(tree: Path) -> None:
    modes = _modes(tree)
    for name in PLUGINS:
        assert modes[f"usr/libexec/rpcd/{name}"] == "0o755"
    for name in PROGRAMS:
        assert modes[f"usr/sbin/{name}"] == "0o755"
    assert modes["usr/lib/dpi-dual/mirror-setup.sh"] == "0o755"
    assert modes["etc/config/dpi-dual"] == "0o644"
    assert modes["etc/config/dpi-dual-secrets"] == "0o600"
    assert modes["usr/lib/dpi-dual/dpi_dual/schema/ubus.json"] == "0o644"
    assert not [name for name in modes if name.endswith((".new", "~")) or ".new." in name]


def test_every_module_is_there(tree: Path) -> None:
    library = tree / "usr" / "lib" / "dpi-dual"
    sources = {path.relative_to(ROOT / "lib") for path in (ROOT / "lib" / "dpi_dual").rglob("*.py")}
    found = {path.relative_to(library) for path in library.rglob("*.py*") if "__pycache__" not in path.parts}
    if any(path.suffix == ".pyc" for path in found):
        assert found == {path.with_suffix(".pyc") for path in sources}
    else:
        assert found == sources


def test_bytecode_never_looks_at_a_source(tree: Path) -> None:
    compiled = list(tree.rglob("*.pyc"))
    assert compiled
    for path in compiled:
        # PEP 552: bit 0 says that the file is checked by hash, bit 1 that the source is read for it.
        assert int.from_bytes(path.read_bytes()[4:8], "little") == 0b01
        assert str(tree).encode() not in path.read_bytes()


@pytest.mark.parametrize("name", PLUGINS)
def test_plugins_answer_list_from_there(tree: Path, name: str) -> None:
    plugin = tree / "usr" / "libexec" / "rpcd" / name
    done = subprocess.run(
        [sys.executable, "-IS", plugin, "list"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    assert done.stderr == b""
    methods = json.loads(done.stdout)
    assert methods


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_run_from_there(tree: Path, tmp_path: Path, name: str) -> None:
    done = programs.run(programs.place(tmp_path), name, "--version", root=tree / "usr" / "sbin")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{name} {dpi_dual.__version__}\n", "")


def test_a_command_runs_from_there_whatever_the_folder_and_through_a_link(tree: Path, tmp_path: Path) -> None:
    link = tmp_path / "ctl"
    link.symlink_to(tree / "usr" / "sbin" / "dpi-dualctl")
    env = programs.place(tmp_path / "place")
    command = [sys.executable, "-I", link, "status", "--json"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["version"] == dpi_dual.__version__


def test_mirror_setup_finds_dualctl_from_there(tree: Path) -> None:
    script = tree / "usr" / "lib" / "dpi-dual" / "mirror-setup.sh"
    assert subprocess.check_output([script, "--version"], text=True) == f"dpi-dualctl {dpi_dual.__version__}\n"


def test_the_umask_does_not_matter_and_twice_is_once(tmp_path: Path) -> None:
    strict, usual = tmp_path / "strict", tmp_path / "usual"
    install(strict, umask=0o077)
    install(usual)
    assert _modes(strict) == _modes(usual)
    contents = {path: path.read_bytes() for path in usual.rglob("*") if path.is_file()}
    assert "(unchanged)" in install(usual)
    assert contents == {path: path.read_bytes() for path in usual.rglob("*") if path.is_file()}
    assert all(path.read_bytes() == (strict / path.relative_to(usual)).read_bytes() for path in contents)


def test_an_old_module_does_not_stay(tmp_path: Path) -> None:
    install(tmp_path)
    stale = tmp_path / "usr" / "lib" / "dpi-dual" / "dpi_dual" / "gone.py"
    stale.write_text("")
    install(tmp_path)
    assert not stale.exists()


def test_the_owners_configuration_is_kept(tmp_path: Path) -> None:
    config = tmp_path / "etc" / "config"
    config.mkdir(parents=True)
    (config / "dpi-dual").write_text("# mine\n")
    (config / "dpi-dual-secrets").write_text("# secret\n")
    (config / "dpi-dual-secrets").chmod(0o600)
    said = install(tmp_path)
    assert (config / "dpi-dual").read_text() == "# mine\n"
    assert (config / "dpi-dual-secrets").read_text() == "# secret\n"
    assert (config / "dpi-dual.new").read_bytes() == (ROOT / "config" / "dpi-dual").read_bytes()
    assert (config / "dpi-dual-secrets.new").stat().st_mode & 0o777 == 0o600
    assert "kept as it is" in said


def test_a_relative_destination_is_relative_to_the_caller(tmp_path: Path) -> None:
    env = {**os.environ, "DESTDIR": "here", "PYTHON": sys.executable}
    subprocess.run([ROOT / "install.sh"], cwd=tmp_path, env=env, capture_output=True, check=True)
    assert (tmp_path / "here" / "usr" / "sbin" / "dpi-dualctl").exists()


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    env = {**os.environ, "DESTDIR": str(tmp_path), "PYTHON": "/nowhere/python3"}
    done = subprocess.run([ROOT / "install.sh"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "/nowhere/python3" in done.stderr
    assert not list(tmp_path.iterdir())
