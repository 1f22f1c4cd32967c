"""The wheel for mitmproxy's side: pip takes it, and the addon can be imported from it."""

from __future__ import annotations

import base64
import csv
import hashlib
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import dpi_dual
from openwrt import wheel

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel.build(ROOT, tmp_path_factory.mktemp("wheel"), dpi_dual.__version__, 1700000000)


def test_the_record_is_true(built: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        rows = list(csv.reader(archive.read(record).decode().splitlines()))
        assert {row[0] for row in rows} == set(archive.namelist())
        for name, digest, size in rows:
            if name != record:
                content = archive.read(name)
                expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == (f"sha256={expected}", len(content))


def test_the_metadata_is_the_project_s(built: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    assert (metadata["Name"], metadata["Version"]) == ("dpi-dual", dpi_dual.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    needs = metadata.get_all("Requires-Dist") or []
    assert any(need.startswith("mitmproxy") and need.endswith('; extra == "mitm"') for need in needs)
    assert any(need.startswith("jsonschema") and "extra" not in need for need in needs)


def test_pip_installs_it_and_the_addon_loads(built: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), str(built)], check=True, capture_output=True)
    code = "import dpi_dual.waf.quick, dpi_dual, sys; print(dpi_dual.__file__)"
    place = subprocess.check_output([sys.executable, "-c", code], text=True, env={"PYTHONPATH": str(target)})
    assert place.startswith(str(target))
    assert (target / "share/dpi-dual/dpi_buffer.py").is_file()
    assert (target / "bin/dpi-dualctl").is_file()


def test_every_module_and_every_schema_is_in_it(built: Path) -> None:
    sources = {path.relative_to(ROOT / "lib").as_posix() for path in (ROOT / "lib/dpi_dual").rglob("*.py")}
    data = {path.relative_to(ROOT / "lib").as_posix() for path in (ROOT / "lib/dpi_dual").rglob("*.json")}
    with zipfile.ZipFile(built) as archive:
        assert sources | data <= set(archive.namelist())
