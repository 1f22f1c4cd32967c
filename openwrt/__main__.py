"""`make package`: the wheel and the packages, without OpenWrt's build system: `python -m openwrt [--out WHERE]`."""

from __future__ import annotations

import argparse
import gzip
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from openwrt import ipk, recipe, wheel

ROOT = Path(__file__).resolve().parent.parent
RECIPES = {
    "secubox-dpi-dual": ROOT / "Makefile",
    "luci-app-dpi-dual": ROOT / "luci-app-dpi-dual" / "Makefile",
}


def main(argv: list[str] | None = None) -> int:
    """Builds everything; prints what and where."""
    parser = argparse.ArgumentParser(prog="make package", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where to; default dist")
    parser.add_argument("--python", default="/usr/bin/python3", help="the version that the router has too")
    options = parser.parse_args(argv)
    epoch = source_date()
    python = python_version(options.python)
    feed = options.out / f"python{python}"
    feed.mkdir(parents=True, exist_ok=True)
    index = []
    for facts in packages():
        control, content = build(facts, options.python, python, epoch)
        file = feed / f"{facts.name}_{facts.full_version}_all.ipk"
        file.write_bytes(content)
        index.append(ipk.index_entry(control, file))
        print(file)
    (feed / "Packages").write_text("\n".join(index), encoding="utf-8")
    (feed / "Packages.gz").write_bytes(gzip.compress("\n".join(index).encode(), mtime=0))
    print(f"{feed}/Packages.gz")
    print(wheel.build(ROOT, options.out, recipe.read(RECIPES["secubox-dpi-dual"], "secubox-dpi-dual").version, epoch))
    print(f"secubox-dpi-dual is bytecode: it installs where python3-light is {python}, nowhere else.")
    return 0


def packages() -> list[recipe.Recipe]:
    """The two, and a translation of the pages for each language, as LuCI's build would make it."""
    found = [recipe.read(makefile, name) for name, makefile in RECIPES.items()]
    pages = found[-1]
    for language in sorted(path.parent.name for path in ROOT.glob("luci-app-dpi-dual/po/*/dpi-dual.po")):
        about = f"{pages.title}, in the language '{language}'"
        name = f"luci-i18n-dpi-dual-{language}"
        found.append(replace(pages, name=name, title=about, description=about, depends=(pages.name,), scripts={}))
    return found


def source_date() -> int:
    """The time that everything in the packages has: SOURCE_DATE_EPOCH, else that of the last commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else 0


def python_version(python: str) -> str:
    """`3.11`: bytecode of one is refused by another."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    found = subprocess.check_output([python, "-I", "-S", "-c", code], text=True).strip()
    if not re.fullmatch(r"3\.\d+", found):
        raise SystemExit(f"{python} is no Python 3")
    return found


def build(facts: recipe.Recipe, python: str, version: str, epoch: int) -> tuple[str, bytes]:
    """The package's control file and the whole `.ipk`."""
    with tempfile.TemporaryDirectory() as staged:
        environment = {
            **os.environ,
            "DESTDIR": staged,
            "PACKAGE": facts.name,
            "PYTHON": python,
            "BYTECODE_ONLY": "1",
        }
        subprocess.run([ROOT / "install.sh"], env=environment, stdout=subprocess.DEVNULL, check=True)
        data = ipk.tree(Path(staged))
    fields = {
        "Package": facts.name,
        "Version": facts.full_version,
        "Depends": ", ".join(["libc", *(_depend(name, version) for name in facts.depends)]),
        "License": facts.license,
        "Section": facts.section,
        "URL": facts.url,
        "SourceDateEpoch": str(epoch),
        "Maintainer": facts.maintainer,
        "Architecture": "all",
        "Description": f"{facts.title}\n {facts.description}",
    }
    content = ipk.package(fields, data, facts.scripts, facts.conffiles, epoch)
    return ipk.control_file(fields), content


def _depend(name: str, python: str) -> str:
    if name != "python3-light":
        return name
    major, minor = python.split(".")
    return f"{name} (>= {python}), {name} (<< {major}.{int(minor) + 1})"


if __name__ == "__main__":
    sys.exit(main())
