"""`make package`: the packages read back, compared with `make install`, and installed into a scratch root."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from openwrt import ipk

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("secubox-dpi-dual", "luci-app-dpi-dual", "luci-i18n-dpi-dual-de", "luci-i18n-dpi-dual-fr")


class Package:
    """A reader of the format, written from its description and not with the writer's code."""

    def __init__(self, file: Path) -> None:
        outer = self._members(file.read_bytes())
        assert list(outer) == ["./debian-binary", "./data.tar.gz", "./control.tar.gz"]
        assert outer["./debian-binary"][1] == b"2.0\n"
        self.data = self._members(outer["./data.tar.gz"][1])
        self.control = {name: text.decode() for name, (_, text) in self._members(outer["./control.tar.gz"][1]).items()}
        self.infos = [info for info, _ in (*self.data.values(), *outer.values())]

    @staticmethod
    def _members(packed: bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
        found = {}
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
            for info in archive:
                content = archive.extractfile(info) if info.isfile() else None
                found[info.name] = (info, content.read() if content else b"")
        return found

    @property
    def fields(self) -> dict[str, str]:
        lines = self.control["./control"].replace("\n ", " ").splitlines()
        return dict(line.split(": ", 1) for line in lines)

    def install(self, root: Path) -> None:
        for name, (info, content) in self.data.items():
            target = root / name
            if info.isdir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.write_bytes(content)
            target.chmod(info.mode)


def _build(out: Path, umask: int = 0o022, **environment: str) -> dict[str, Path]:
    command = [sys.executable, "-m", "openwrt", "--out", str(out), "--python", sys.executable]
    given = {**os.environ, **environment}
    subprocess.run(command, cwd=ROOT, env=given, umask=umask, capture_output=True, check=True)
    return {file.name: file for file in sorted(out.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return _build(tmp_path_factory.mktemp("built"), SOURCE_DATE_EPOCH="1700000000")


def _package(built: dict[str, Path], name: str) -> Package:
    return Package(next(file for file in built.values() if file.name.startswith(f"{name}_")))


def test_two_builds_are_the_same_to_the_byte(built: dict[str, Path], tmp_path: Path) -> None:
    again = _build(tmp_path / "elsewhere", umask=0o077, SOURCE_DATE_EPOCH="1700000000", TZ="Asia/Tokyo")
    assert set(again) == set(built)
    for name, file in built.items():
        assert again[name].read_bytes() == file.read_bytes(), name


@pytest.mark.parametrize("name", NAMES)
def test_everybody_is_root_and_every_time_is_the_given_one(built: dict[str, Path], name: str) -> None:
    for info in _package(built, name).infos:
        assert (info.uid, info.gid, info.mtime) == (0, 0, 1700000000)
        assert info.isfile() or info.isdir()


def test_together_they_hold_what_make_install_lays_out(built: dict[str, Path], tmp_path: Path) -> None:
    environment = {**os.environ, "DESTDIR": str(tmp_path), "PYTHON": sys.executable, "BYTECODE_ONLY": "1"}
    subprocess.run([ROOT / "install.sh"], env=environment, capture_output=True, check=True)
    tree = {
        f"./{path.relative_to(tmp_path)}": (path.stat().st_mode & 0o777, path.read_bytes())
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    packed: dict[str, tuple[int, bytes]] = {}
    for name in NAMES:
        for path, (info, content) in _package(built, name).data.items():
            if info.isfile():
                assert path not in packed, f"{path} is in both packages"
                packed[path] = (info.mode, content)
    assert packed == tree


def test_the_control_file_says_what_opkg_asks(built: dict[str, Path]) -> None:
    fields = _package(built, "secubox-dpi-dual").fields
    assert (fields["Package"], fields["Architecture"]) == ("secubox-dpi-dual", "all")
    assert fields["Version"].endswith("-r1")
    depends = fields["Depends"].split(", ")
    minor = sys.version_info[1]
    assert {f"python3-light (>= 3.{minor})", f"python3-light (<< 3.{minor + 1})", "netifyd"} <= set(depends)
    data = _package(built, "secubox-dpi-dual").data.values()
    assert int(fields["Installed-Size"]) == sum(len(content) for _, content in data)
    assert _package(built, "luci-app-dpi-dual").fields["Depends"] == "libc, luci-base, secubox-dpi-dual"


def test_scripts_run_openwrt_s_defaults_around_ours(built: dict[str, Path]) -> None:
    control = _package(built, "secubox-dpi-dual").control
    assert "default_postinst $0 $@" in control["./postinst"]
    assert "default_prerm $0 $@" in control["./prerm"]
    assert "netifyd-setup.sh undo" in control["./prerm-pkg"]
    assert "rpcd reload" in control["./postinst-pkg"]
    assert "rpcd reload" in control["./postrm"]
    for name in ("./postinst", "./prerm", "./postinst-pkg", "./prerm-pkg", "./postrm"):
        subprocess.run(["sh", "-n"], input=control[name], text=True, check=True)


def test_the_owner_s_files_are_conffiles(built: dict[str, Path]) -> None:
    package = _package(built, "secubox-dpi-dual")
    listed = package.control["./conffiles"].splitlines()
    assert listed == ["/etc/config/dpi-dual", "/etc/config/dpi-dual-secrets"]
    assert package.data["./etc/config/dpi-dual-secrets"][0].mode == 0o600
    assert package.data["./lib/upgrade/keep.d/secubox-dpi-dual"][1] == b"/etc/dpi-dual/\n"


def test_only_bytecode_ships_of_the_library(built: dict[str, Path]) -> None:
    library = [name for name in _package(built, "secubox-dpi-dual").data if "/dpi_dual/" in name]
    assert any(name.endswith(".pyc") for name in library)
    assert not [name for name in library if name.endswith(".py")]


def test_installed_it_answers(built: dict[str, Path], tmp_path: Path) -> None:
    for name in NAMES:
        _package(built, name).install(tmp_path)
    plugin = tmp_path / "usr/libexec/rpcd/dpi.status"
    listed = subprocess.check_output([sys.executable, "-IS", plugin, "list"], stdin=subprocess.DEVNULL)
    assert "health" in json.loads(listed)
    said = subprocess.check_output([sys.executable, "-I", tmp_path / "usr/sbin/dpi-dualctl", "--version"], text=True)
    assert said.startswith("dpi-dualctl ")


def test_the_index_is_a_feed(built: dict[str, Path]) -> None:
    text = built["Packages"].read_text()
    assert gzip.decompress(built["Packages.gz"].read_bytes()).decode() == text
    for paragraph in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.replace("\n ", " ").splitlines())
        content = built[fields["Filename"]].read_bytes()
        assert int(fields["Size"]) == len(content)
        assert fields["SHA256sum"] == hashlib.sha256(content).hexdigest()
    assert text.count("Package: ") == len(NAMES)


# --- the writer itself


def test_conffiles_must_be_in_the_package() -> None:
    with pytest.raises(ValueError, match="/etc/config/other"):
        ipk.package({"Package": "x"}, [], {}, ["/etc/config/other"], 0)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="neither a file nor a directory"):
        ipk.tree(tmp_path)
