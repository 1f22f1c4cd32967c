"""Writes the wheel that is installed beside mitmproxy: `pip install 'dpi_dual-….whl[mitm]'`.

By hand, because neither setuptools nor the network need be there, and so that the same input gives the same bytes.
PEP 427 has the format, PEP 566 the metadata.
"""

from __future__ import annotations

import base64
import hashlib
import time
import tomllib
import zipfile
from pathlib import Path

TAG = "py3-none-any"


def _metadata(project: dict[str, object], version: str, readme: str) -> str:
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"License: {project['license']['text']}",  # type: ignore[index]
        f"Requires-Python: {project['requires-python']}",
        "Description-Content-Type: text/markdown",
    ]
    lines += [f"Requires-Dist: {need}" for need in project["dependencies"]]  # type: ignore[attr-defined]
    mitm = project["optional-dependencies"]["mitm"]  # type: ignore[index]
    lines += ["Provides-Extra: mitm", *(f'Requires-Dist: {need}; extra == "mitm"' for need in mitm)]
    return "\n".join(lines) + "\n\n" + readme


def _entry_points(scripts: dict[str, str]) -> str:
    return "[console_scripts]\n" + "".join(f"{name} = {target}\n" for name, target in sorted(scripts.items()))


def build(root: Path, target: Path, version: str, epoch: int) -> Path:
    """Writes the wheel of the checkout `root` into the directory `target`; returns its path."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stem = f"{project['name'].replace('-', '_')}-{version}"
    about = f"{stem}.dist-info"
    sources = [path for path in sorted((root / "lib/dpi_dual").rglob("*")) if path.suffix in (".py", ".json")]
    files = {path.relative_to(root / "lib").as_posix(): path.read_bytes() for path in sources}
    # `mitmdump -s PREFIX/share/dpi-dual/dpi_buffer.py`
    files[f"{stem}.data/data/share/dpi-dual/dpi_buffer.py"] = (root / "addons/dpi_buffer.py").read_bytes()
    files[f"{about}/METADATA"] = _metadata(project, version, (root / "README.md").read_text(encoding="utf-8")).encode()
    files[f"{about}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: dpi-dual\nRoot-Is-Purelib: true\nTag: {TAG}\n".encode()
    files[f"{about}/entry_points.txt"] = _entry_points(project["scripts"]).encode()
    files[f"{about}/LICENSE"] = (root / "LICENSE").read_bytes()
    files[f"{about}/RECORD"] = "".join(
        f"{name},{',' if name.endswith('/RECORD') else _digest(files[name])}\n" for name in [*files, f"{about}/RECORD"]
    ).encode()
    wheel = target / f"{stem}-{TAG}.whl"
    # zip knows no time before 1980.
    moment = time.gmtime(max(epoch, 315532800))[:6]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, moment)
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return wheel


def _digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(content)}"
